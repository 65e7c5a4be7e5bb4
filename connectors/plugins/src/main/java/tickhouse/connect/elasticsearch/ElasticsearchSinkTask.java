package tickhouse.connect.elasticsearch;

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
 * Sends records with {@code _bulk} over the JDK's HTTP client (docs/adr/0010: the official bulk ingester hangs in an outage).
 *
 * <p>Delivery: at least once. {@code put} returns when Elasticsearch has every document in its translog. A repeated record
 * has the same id in the same index (of the event's month), so it replaces itself.
 */
public final class ElasticsearchSinkTask extends SinkTask {
  /** Request only the fields that tell success from failure; the response has a tenth of its size. */
  private static final String BULK = "/_bulk?filter_path=errors,error,items.*.status,items.*.error";

  private record Action(SinkRecord record, byte[] lines) {}

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
            config.getString(ElasticsearchSinkConfig.INDEX_PERIOD),
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
    List<Action> batch = new ArrayList<>();
    for (SinkRecord record : records) {
      if (record.value() != null) {
        append(record, batch, outcome);
      }
      if (batch.size() == batchSize) {
        send(batch, outcome);
        batch.clear();
      }
    }
    if (!batch.isEmpty()) {
      send(batch, outcome);
    }
    outcome.conclude(context, context.errantRecordReporter(), "Elasticsearch", backoffMs);
  }

  private void append(SinkRecord record, List<Action> batch, Outcome outcome) {
    try {
      batch.add(new Action(record, documents.lines(record)));
    } catch (DataException error) {
      outcome.refused(record, error);
    }
  }

  /** Send a batch; when one record makes the whole batch fail, send halves until that record is alone. */
  private void send(List<Action> batch, Outcome outcome) {
    try {
      HttpRequest full = request.POST(HttpRequest.BodyPublishers.ofByteArrays(lines(batch))).build();
      HttpResponse<byte[]> answer = http.send(full, HttpResponse.BodyHandlers.ofByteArray());
      if (batch.size() > 1 && BulkAnswer.asksForLess(answer.statusCode(), answer.body())) {
        int half = batch.size() / 2;
        send(batch.subList(0, half), outcome);
        send(batch.subList(half, batch.size()), outcome);
      } else {
        List<SinkRecord> records = batch.stream().map(Action::record).toList();
        BulkAnswer.sort(answer.statusCode(), answer.body(), records, outcome);
      }
    } catch (IOException error) {
      outcome.away(error);
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new RetriableException("Interrupted while sending", error);
    }
  }

  private static List<byte[]> lines(List<Action> batch) {
    return batch.stream().map(Action::lines).toList();
  }

  @Override
  public void stop() {}

  @Override
  public String version() {
    return Version.TEXT;
  }
}
