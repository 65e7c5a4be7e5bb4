package tickhouse.connect.elasticsearch;

import co.elastic.clients.elasticsearch.ElasticsearchAsyncClient;
import co.elastic.clients.elasticsearch._helpers.bulk.BulkIngester;
import co.elastic.clients.elasticsearch.core.bulk.BulkOperation;
import co.elastic.clients.json.SimpleJsonpMapper;
import co.elastic.clients.transport.rest_client.RestClientTransport;
import co.elastic.clients.util.BinaryData;
import co.elastic.clients.util.ContentType;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import org.apache.http.Header;
import org.apache.http.HttpHost;
import org.apache.http.message.BasicHeader;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.elasticsearch.client.RestClient;
import org.elasticsearch.client.RestClientBuilder;
import tickhouse.connect.Outcome;
import tickhouse.connect.Version;

/**
 * Sends records through the official client's bulk ingester.
 *
 * <p>Delivery: at least once. {@code put} returns when Elasticsearch has every document in its translog; a repeat has the
 * same id in the same index (of the event's day) and replaces itself.
 */
public final class ElasticsearchSinkTask extends SinkTask {
  private static final int CONNECT_MS = 5_000;

  private final BulkOutcome answers = new BulkOutcome();
  private Documents documents;
  private RestClientTransport transport;
  private BulkIngester<SinkRecord> ingester;
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
    backoffMs = config.getLong(ElasticsearchSinkConfig.BACKOFF_MS);
    transport = new RestClientTransport(client(config), new SimpleJsonpMapper());
    ingester =
        BulkIngester.of(
            builder ->
                builder
                    .client(new ElasticsearchAsyncClient(transport))
                    .maxOperations(config.getInt(ElasticsearchSinkConfig.BATCH_SIZE))
                    .maxConcurrentRequests(2)
                    .listener(answers));
  }

  private static RestClient client(ElasticsearchSinkConfig config) {
    int timeoutMs = config.getInt(ElasticsearchSinkConfig.TIMEOUT_MS);
    RestClientBuilder builder =
        RestClient.builder(HttpHost.create(config.getString(ElasticsearchSinkConfig.URL)))
            .setRequestConfigCallback(one -> one.setConnectTimeout(CONNECT_MS).setSocketTimeout(timeoutMs));
    String user = config.getString(ElasticsearchSinkConfig.USERNAME);
    if (!user.isEmpty()) {
      String login = user + ":" + config.getPassword(ElasticsearchSinkConfig.PASSWORD).value();
      String basic = Base64.getEncoder().encodeToString(login.getBytes(StandardCharsets.UTF_8));
      builder.setDefaultHeaders(new Header[] {new BasicHeader("Authorization", "Basic " + basic)});
    }
    return builder.build();
  }

  @Override
  public void put(Collection<SinkRecord> records) {
    Outcome outcome = answers.begin();
    for (SinkRecord record : records) {
      if (record.value() != null) {
        add(record, outcome);
      }
    }
    try {
      ingester.flush();
      answers.await();
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new RetriableException("Interrupted while sending", error);
    }
    outcome.conclude(context, context.errantRecordReporter(), "Elasticsearch", backoffMs);
  }

  private void add(SinkRecord record, Outcome outcome) {
    BulkOperation operation;
    try {
      Struct value = Documents.struct(record);
      BinaryData json = BinaryData.of(documents.document(value), ContentType.APPLICATION_JSON);
      String index = documents.index(value);
      String id = documents.id(value);
      operation = BulkOperation.of(one -> one.index(target -> target.index(index).id(id).document(json)));
    } catch (DataException error) {
      outcome.refused(record, error);
      return;
    }
    answers.handedOver();
    ingester.add(operation, record);
  }

  @Override
  public void stop() {
    if (ingester == null) {
      return;
    }
    ingester.close();
    try {
      transport.close();
    } catch (IOException error) {
      throw new ConnectException("The client does not close", error);
    }
  }

  @Override
  public String version() {
    return Version.TEXT;
  }
}
