package tickhouse.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tickhouse.connect.Records;
import tickhouse.connect.Task;

/** The task against a JDK HTTP server that responds like Elasticsearch. */
class ElasticsearchSinkTaskTest {
  private static final String ERROR = error("document_parsing_exception");

  private final Task worker = new Task();
  private final ElasticsearchSinkTask task = new ElasticsearchSinkTask();
  private final List<String> bodies = new ArrayList<>();
  private HttpServer server;
  private final List<String> accepted = new ArrayList<>();
  private long largest = Long.MAX_VALUE;
  private int status = 200;
  private String answer = "{\"errors\":false}";
  private String login;

  @BeforeEach
  void start() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext(
        "/_bulk",
        exchange -> {
          bodies.add(new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8));
          login = exchange.getRequestHeaders().getFirst("Authorization");
          byte[] bytes = answer.getBytes(StandardCharsets.UTF_8);
          exchange.sendResponseHeaders(isTooLarge(bodies.get(bodies.size() - 1)) ? 413 : status, bytes.length);
          exchange.getResponseBody().write(bytes);
          exchange.close();
        });
    server.start();
    task.initialize(worker.context());
    task.start(
        Map.of(
            "connection.url", "http://127.0.0.1:" + server.getAddress().getPort() + "/",
            "connection.username", "writer",
            "connection.password", "secret",
            "index.prefix", "crypto-trades-",
            "index.time.field", "trade_time",
            "id.field", "event_id",
            "micros.fields", "trade_time",
            "batch.size", "2",
            "retry.backoff.ms", "11"));
  }

  /** Return whether a body has too many documents for a small server, or a long one; record the others. */
  private boolean isTooLarge(String body) {
    boolean isTooLarge = body.lines().count() / 2 > largest || body.length() > 2000;
    if (!isTooLarge) {
      Matcher id = Pattern.compile("\"_id\":\"([^\"]*)\"").matcher(body);
      while (id.find()) {
        accepted.add(id.group(1));
      }
    }
    return isTooLarge;
  }

  private static String error(String type) {
    return ",\"error\":{\"type\":\"" + type + "\",\"reason\":\"r\",\"caused_by\":{\"type\":\"t\",\"reason\":\"c\"}}";
  }

  @AfterEach
  void stop() {
    server.stop(0);
  }

  @Test
  void recordsAreSentInBatchesWithTheLogin() {
    task.put(List.of(Records.of("a"), Records.of("b"), Records.of("c")));
    assertEquals(List.of(4L, 2L), bodies.stream().map(body -> body.lines().count()).toList());
    assertEquals("Basic d3JpdGVyOnNlY3JldA==", login);
  }

  @Test
  void whatIsRefusedIsReportedOnceAndTheRestIsDone() {
    SinkRecord bad = Records.of("bad");
    answer = "{\"errors\":true,\"items\":[{\"index\":{\"status\":201}},{\"index\":{\"status\":400" + ERROR + "}}]}";
    task.put(List.of(Records.of("a"), bad));
    assertEquals(List.of(bad), worker.reported);
  }

  @Test
  void aRecordThatIsNoDocumentIsReportedAndNotSent() {
    SinkRecord bad = Records.of(null, "text");
    task.put(List.of(bad, Records.of("a")));
    assertEquals(List.of(bad), worker.reported);
    assertEquals(1, bodies.size());
  }

  @Test
  void aBusyServerIsAskedAgainWithAllOfTheBatch() {
    answer = "{\"errors\":true,\"items\":[{\"index\":{\"status\":400" + ERROR + "}},{\"index\":{\"status\":429" + ERROR + "}}]}";
    assertThrows(RetriableException.class, () -> task.put(List.of(Records.of("a"), Records.of("b"))));
    status = 503;
    assertThrows(RetriableException.class, () -> task.put(List.of(Records.of("a"))));
    assertEquals(List.of(), worker.reported);
    assertEquals(11, worker.timeoutMs);
  }

  @ParameterizedTest
  @CsvSource({
    "400, validation_exception", // no shard left for a new index, Elasticsearch 8
    "400, illegal_argument_exception", // the same in earlier versions, and a shard with 2^31 documents
    "400, index_closed_exception",
    "400, an_exception_of_a_later_version",
    "403, cluster_block_exception", // read-only, set by hand or by a full disk
    "409, version_conflict_engine_exception",
    "429, cluster_block_exception",
    "503, unavailable_shards_exception"
  })
  void whatTheStoreSaysOfItselfMakesNoDeadLetter(int itemStatus, String type) {
    SinkRecord bad = Records.of("bad");
    answer =
        "{\"errors\":true,\"items\":[{\"index\":{\"status\":400" + ERROR + "}},{\"index\":{\"status\":"
            + itemStatus + error(type) + "}}]}";
    assertThrows(RetriableException.class, () -> task.put(List.of(bad, Records.of("good"))));
    assertEquals(List.of(), worker.reported);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"type\":\"strict_dynamic_mapping_exception\",\"reason\":\"r\"}",
        "{\"type\":\"illegal_argument_exception\",\"reason\":\"immense term\","
            + "\"caused_by\":{\"type\":\"max_bytes_length_exceeded_exception\",\"reason\":\"c\"}}"
      })
  void whatTheStoreSaysOfADocumentIsItsFault(String error) {
    SinkRecord bad = Records.of("bad");
    answer = "{\"errors\":true,\"items\":[{\"index\":{\"status\":201}},{\"index\":{\"status\":400,\"error\":" + error + "}}]}";
    task.put(List.of(Records.of("a"), bad));
    assertEquals(List.of(bad), worker.reported);
  }

  @Test
  void aRequestThatIsTooLargeIsSentInHalves() {
    largest = 1;
    SinkRecord huge = Records.of("huge".repeat(1000));
    task.put(List.of(Records.of("a"), huge, Records.of("b")));
    assertEquals(List.of(huge), worker.reported);
    assertEquals(List.of("a", "b"), accepted);
  }

  @Test
  void aServerThatIsAwayIsAskedAgain() {
    server.stop(0);
    assertThrows(RetriableException.class, () -> task.put(List.of(Records.of("a"))));
    assertEquals(List.of(), worker.reported);
  }

  @Test
  void aWrongLoginOrAMissingRightFailsTheTask() {
    status = 401;
    assertFails();
    status = 200;
    answer = "{\"errors\":true,\"items\":[{\"index\":{\"status\":403" + ERROR + "}}]}";
    assertFails();
    assertEquals(List.of(), worker.reported);
  }

  private void assertFails() {
    ConnectException failure = assertThrows(ConnectException.class, () -> task.put(List.of(Records.of("a"))));
    assertEquals(false, failure instanceof RetriableException);
  }
}
