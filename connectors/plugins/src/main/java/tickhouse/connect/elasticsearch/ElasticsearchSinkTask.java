package tickhouse.connect.elasticsearch;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import tickhouse.connect.Outcome;
import tickhouse.connect.Version;

/**
 * Sends records by {@code _bulk}, over the JDK's HTTP client (docs/adr/0010: the official bulk ingester hangs in an outage).
 *
 * <p>Delivery: at least once. {@code put} returns when Elasticsearch has every document in its translog; a repeat has the
 * same id in the same index (of the event's day) and replaces itself.
 */
public final class ElasticsearchSinkTask extends SinkTask {
  /** Of the answer, only what tells a refusal from a success: its size falls to a tenth. */
  private static final String BULK = "/_bulk?filter_path=errors,error,items.*.status,items.*.error";

  private final HttpClient http =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(5)).build();
  private Documents documents;
  private HttpRequest.Builder request;
  private int batchSize;
  private long backoffMs;

  @Override
  public void start(Map<String, String> properties) {
    ElasticsearchSinkConfig config = new ElasticsearchSinkConfig(properties);
    documents =
        new Documents(
            config.getString(ElasticsearchSinkConfig.INDEX_PREFIX),
            config.getString(ElasticsearchSinkConfig.INDEX_TIME),
            config.getString(ElasticsearchSinkConfig.ID_FIELD),
            Set.copyOf(config.getList(ElasticsearchSinkConfig.MICROS)));
    request = request(config);
    batchSize = config.getInt(ElasticsearchSinkConfig.BATCH_SIZE);
    backoffMs = config.getLong(ElasticsearchSinkConfig.BACKOFF_MS);
  }

  private static HttpRequest.Builder request(ElasticsearchSinkConfig config) {
    String url = config.getString(ElasticsearchSinkConfig.URL).replaceAll("/+$", "");
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create(url + BULK))
            .timeout(Duration.ofMillis(config.getInt(ElasticsearchSinkConfig.TIMEOUT_MS)))
            .header("Content-Type", "application/x-ndjson");
    String user = config.getString(ElasticsearchSinkConfig.USERNAME);
    if (!user.isEmpty()) {
      String login = user + ":" + config.getPassword(ElasticsearchSinkConfig.PASSWORD).value();
      String basic = Base64.getEncoder().encodeToString(login.getBytes(StandardCharsets.UTF_8));
      request.header("Authorization", "Basic " + basic);
    }
    return request;
  }

  @Override
  public void put(Collection<SinkRecord> records) {
    Outcome outcome = new Outcome();
    List<SinkRecord> batch = new ArrayList<>();
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    for (SinkRecord record : records) {
      if (record.value() != null && append(record, body, outcome)) {
        batch.add(record);
      }
      if (batch.size() == batchSize) {
        send(batch, body, outcome);
      }
    }
    send(batch, body, outcome);
    outcome.conclude(context, context.errantRecordReporter(), "Elasticsearch", backoffMs);
  }

  private boolean append(SinkRecord record, ByteArrayOutputStream body, Outcome outcome) {
    try {
      body.writeBytes(documents.lines(record));
      return true;
    } catch (DataException error) {
      outcome.refused(record, error);
      return false;
    }
  }

  private void send(List<SinkRecord> batch, ByteArrayOutputStream body, Outcome outcome) {
    if (batch.isEmpty()) {
      return;
    }
    try {
      HttpRequest full = request.POST(HttpRequest.BodyPublishers.ofByteArray(body.toByteArray())).build();
      HttpResponse<byte[]> answer = http.send(full, HttpResponse.BodyHandlers.ofByteArray());
      BulkAnswer.sort(answer.statusCode(), answer.body(), batch, outcome);
    } catch (IOException error) {
      outcome.away(error);
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new RetriableException("Interrupted while sending", error);
    }
    batch.clear();
    body.reset();
  }

  @Override
  public void stop() {}

  @Override
  public String version() {
    return Version.TEXT;
  }
}
