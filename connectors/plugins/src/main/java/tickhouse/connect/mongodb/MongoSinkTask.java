package tickhouse.connect.mongodb;

import com.mongodb.MongoException;
import com.mongodb.MongoSecurityException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Collection;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.sink.ErrantRecordReporter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.apache.kafka.connect.sink.SinkTaskContext;
import tickhouse.connect.Outcome;

/**
 * MongoDB's sink task behind a reporter that looks at the error first.
 *
 * <p>With {@code errors.tolerance=all} that task hands every record of a batch to the dead letters when the connection
 * breaks. Here the reporter tells an outage from a refusal, and {@link Outcome} draws the conclusion after {@code put}.
 */
public final class MongoSinkTask extends SinkTask {
  private static final long BACKOFF_MS = 2_000;
  private static final int UNAUTHORIZED = 13;

  private final com.mongodb.kafka.connect.sink.MongoSinkTask task = new com.mongodb.kafka.connect.sink.MongoSinkTask();
  private Outcome outcome = new Outcome();
  private ErrantRecordReporter deadLetters;

  @Override
  public void start(Map<String, String> properties) {
    deadLetters = context.errantRecordReporter();
    task.initialize(deadLetters == null ? context : judging(context));
    task.start(properties);
  }

  @Override
  public void put(Collection<SinkRecord> records) {
    outcome = new Outcome();
    task.put(records);
    outcome.conclude(context, deadLetters, "MongoDB", BACKOFF_MS);
  }

  @Override
  public void flush(Map<TopicPartition, OffsetAndMetadata> offsets) {
    task.flush(offsets);
  }

  @Override
  public void stop() {
    task.stop();
  }

  @Override
  public String version() {
    return task.version();
  }

  private Future<Void> judge(SinkRecord record, Throwable error) {
    sort(record, error, outcome);
    return CompletableFuture.completedFuture(null);
  }

  /** Sort one error: what the server says of one record is a {@code WriteException}, no {@link MongoException}. */
  static void sort(SinkRecord record, Throwable error, Outcome outcome) {
    MongoException found = null;
    for (Throwable cause = error; cause != null && found == null; cause = cause.getCause()) {
      found = cause instanceof MongoException mongo ? mongo : null;
    }
    if (found == null) {
      outcome.refused(record, error);
    } else if (found instanceof MongoSecurityException || found.getCode() == UNAUTHORIZED) {
      outcome.misconfigured(found);
    } else {
      outcome.away(found);
    }
  }

  private SinkTaskContext judging(SinkTaskContext real) {
    ErrantRecordReporter reporter = this::judge;
    return (SinkTaskContext)
        Proxy.newProxyInstance(
            getClass().getClassLoader(),
            new Class<?>[] {SinkTaskContext.class},
            (proxy, method, arguments) -> {
              if (method.getName().equals("errantRecordReporter")) {
                return reporter;
              }
              try {
                return method.invoke(real, arguments);
              } catch (InvocationTargetException wrapped) {
                throw wrapped.getCause();
              }
            });
  }
}
