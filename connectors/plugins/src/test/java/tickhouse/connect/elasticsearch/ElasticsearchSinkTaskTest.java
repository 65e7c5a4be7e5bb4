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
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tickhouse.connect.Records;
import tickhouse.connect.Task;

/** The task against a server of the JDK that answers as Elasticsearch does. */
class ElasticsearchSinkTaskTest {
  private static final String ERROR = ",\"error\":{\"type\":\"t\",\"reason\":\"r\",\"caused_by\":{\"reason\":\"c\"}}";

  private final Task worker = new Task();
  private final ElasticsearchSinkTask task = new ElasticsearchSinkTask();
  private final List<String> bodies = new ArrayList<>();
  private HttpServer server;
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
          exchange.sendResponseHeaders(status, bytes.length);
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
