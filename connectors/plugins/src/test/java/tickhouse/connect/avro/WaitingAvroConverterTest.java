package tickhouse.connect.avro;

import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.EOFException;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.http.HttpTimeoutException;
import java.util.Map;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.junit.jupiter.api.Test;

class WaitingAvroConverterTest {
  @Test
  void aRegistryThatIsAwayIsWaitedFor() {
    assertInstanceOf(RetriableException.class, judged(new ConnectException("refused")));
    assertInstanceOf(RetriableException.class, judged(new HttpTimeoutException("slow")));
  }

  @Test
  void bytesThatDoNotDecodeStayAnError() {
    RuntimeException truncated = new UncheckedIOException(new EOFException());
    assertSame(truncated, WaitingAvroConverter.judged(truncated));
    RuntimeException unknown = new DataException("no such id");
    assertSame(unknown, WaitingAvroConverter.judged(unknown));
  }

  @Test
  void aClosedPortIsARegistryThatIsAway() {
    try (WaitingAvroConverter converter = new WaitingAvroConverter()) {
      converter.configure(
          Map.of(
              "apicurio.registry.url", "http://127.0.0.1:1/apis/registry/v2",
              "apicurio.registry.as-confluent", "true",
              "apicurio.registry.use-id", "contentId",
              "apicurio.registry.retry-count", "1",
              "apicurio.registry.retry-backoff-ms", "1"),
          false);
      byte[] value = {0, 0, 0, 0, 1, 2};
      assertThrows(RetriableException.class, () -> converter.toConnectData("topic", value));
    }
  }

  private static RuntimeException judged(Exception cause) {
    return WaitingAvroConverter.judged(new DataException("outer", new IllegalStateException(cause)));
  }
}
