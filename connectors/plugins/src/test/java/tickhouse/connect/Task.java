package tickhouse.connect;

import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.connect.sink.ErrantRecordReporter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTaskContext;

/** A test double of the worker that records its calls. */
public final class Task {
  public final List<SinkRecord> reported = new ArrayList<>();
  public long timeoutMs;

  public ErrantRecordReporter reporter() {
    return (record, error) -> {
      reported.add(record);
      return CompletableFuture.completedFuture(null);
    };
  }

  public SinkTaskContext context() {
    return (SinkTaskContext)
        Proxy.newProxyInstance(
            getClass().getClassLoader(),
            new Class<?>[] {SinkTaskContext.class},
            (proxy, method, arguments) -> {
              if (method.getName().equals("timeout")) {
                timeoutMs = (long) arguments[0];
              }
              return method.getName().equals("errantRecordReporter") ? reporter() : null;
            });
  }
}
