package tickhouse.connect.cassandra;

import com.datastax.oss.common.sink.AbstractSinkRecord;
import com.datastax.oss.common.sink.AbstractSinkTask;
import com.datastax.oss.driver.api.core.DriverException;
import com.datastax.oss.driver.api.core.auth.AuthenticationException;
import com.datastax.oss.driver.api.core.servererrors.QueryValidationException;
import com.datastax.oss.driver.api.core.servererrors.UnauthorizedException;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import tickhouse.connect.Outcome;
import tickhouse.connect.Version;

/**
 * Passes records from Connect to the engine and classifies the errors.
 *
 * <p>Delivery: at least once. {@code put} returns when Cassandra has acknowledged every row; an INSERT of the same primary
 * key is an upsert. The first {@code put} opens the session, so that a task can start while Cassandra is down.
 */
public final class CassandraSinkTask extends SinkTask {
  private static final long BACKOFF_MS = 2_000;

  /** Errors of a table or keyspace that is missing or differs from the connector's file; waiting does not help. */
  private static final List<String> OF_THE_TABLE =
      List.of("unconfigured table", "does not exist", "undefined column", "unknown identifier", "undefined name");

  /** Errors of the node: its guardrails for disk usage and for kinds of requests. */
  private static final List<String> OF_THE_NODE = List.of("disk usage", "guardrail", "read-only");

  private final AbstractSinkTask engine = new Engine();
  private Map<String, String> properties = Map.of();
  private boolean isStarted;
  private volatile Outcome outcome = new Outcome();

  @Override
  public void start(Map<String, String> given) {
    properties = given;
  }

  @Override
  public void put(Collection<SinkRecord> records) {
    if (records.isEmpty()) {
      return;
    }
    outcome = new Outcome();
    if (connect()) {
      List<AbstractSinkRecord> rows = records.stream().filter(one -> one.value() != null).map(Adapters::of).toList();
      engine.put(rows);
    }
    outcome.conclude(context, context.errantRecordReporter(), "Cassandra", BACKOFF_MS);
  }

  private boolean connect() {
    if (!isStarted) {
      try {
        engine.start(properties);
        isStarted = true;
      } catch (RuntimeException error) {
        sortStart(error, outcome);
      }
    }
    return isStarted;
  }

  @Override
  public void stop() {
    if (isStarted) {
      engine.stop();
    }
  }

  @Override
  public String version() {
    return Version.TEXT;
  }

  /** Classify an error of opening the session: a wrong configuration is permanent, an unavailable server is not. */
  static void sortStart(Throwable error, Outcome outcome) {
    DriverException driver = driverError(error);
    if (driver == null || isForbidden(error)) {
      throw error instanceof ConnectException known ? known : new ConnectException(error);
    }
    outcome.away(error);
  }

  /**
   * Classify an error of one row. Cassandra has one error, "invalid query", for a row that it cannot accept, a table that
   * differs from the connector's file, and a guardrail of the node such as a full disk; only the text tells them apart.
   */
  static void sort(SinkRecord record, Throwable error, Outcome outcome) {
    Throwable cause = unwrapped(error);
    String text = String.valueOf(cause.getMessage()).toLowerCase(Locale.ROOT);
    if (isForbidden(cause) || (cause instanceof QueryValidationException && OF_THE_TABLE.stream().anyMatch(text::contains))) {
      outcome.misconfigured(cause);
    } else if (cause instanceof DriverException && !(cause instanceof QueryValidationException)) {
      outcome.away(cause);
    } else if (cause instanceof QueryValidationException && OF_THE_NODE.stream().anyMatch(text::contains)) {
      outcome.away(cause);
    } else {
      outcome.refused(record, cause);
    }
  }

  private static boolean isForbidden(Throwable error) {
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (cause instanceof UnauthorizedException || cause instanceof AuthenticationException) {
        return true;
      }
    }
    return false;
  }

  private static DriverException driverError(Throwable error) {
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (cause instanceof DriverException found) {
        return found;
      }
    }
    return null;
  }

  private static Throwable unwrapped(Throwable error) {
    Throwable cause = error;
    while ((cause instanceof CompletionException || cause instanceof ExecutionException) && cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause;
  }

  private final class Engine extends AbstractSinkTask {
    @Override
    protected void handleFailure(AbstractSinkRecord row, Throwable error, String statement, Runnable countFailure) {
      countFailure.run();
      sort(Adapters.recordOf(row), error, outcome);
    }

    @Override
    public String version() {
      return Version.TEXT;
    }

    @Override
    public String applicationName() {
      return "tickhouse-connect";
    }
  }
}
