package tickhouse.connect;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.ErrantRecordReporter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTaskContext;

/**
 * The results of the records of one {@code put}. Thread-safe, because stores respond on their own threads.
 *
 * <p>The first of these rules that applies decides:
 *
 * <ol>
 *   <li>A wrong configuration fails the task.
 *   <li>An unavailable store makes Connect deliver the whole batch again (writes are upserts). No record is refused then.
 *   <li>When the store accepted or refused every record, the refused records go to the dead letter topic.
 * </ol>
 *
 * <p>So each refused record becomes a dead letter once, and no record becomes one because a store was down.
 */
public final class Outcome {
  private record Refusal(SinkRecord record, Throwable reason) {}

  private final Queue<Refusal> refusals = new ConcurrentLinkedQueue<>();
  private volatile Throwable away;
  private volatile Throwable misconfigured;

  /** The store refused this record and will always refuse it. */
  public void refused(SinkRecord record, Throwable reason) {
    refusals.add(new Refusal(record, reason));
  }

  /** The store did not respond, or asked for a later retry. */
  public void away(Throwable reason) {
    away = reason;
  }

  /** A login, a permission, a table or an index is missing: no record is wrong, and waiting does not help. */
  public void misconfigured(Throwable reason) {
    misconfigured = reason;
  }

  /** Apply the rules; {@code reporter} is null when the connector tolerates no errors. */
  public void conclude(SinkTaskContext context, ErrantRecordReporter reporter, String store, long backoffMs) {
    if (misconfigured != null) {
      throw new ConnectException(store + " refuses the connector, not the record: " + misconfigured.getMessage(), misconfigured);
    }
    if (away != null) {
      context.timeout(backoffMs);
      throw new RetriableException(store + " is away, the batch comes again: " + away.getMessage(), away);
    }
    for (Refusal one : refusals) {
      if (reporter == null) {
        throw new ConnectException(store + " refuses a record: " + one.reason.getMessage(), one.reason);
      }
      reporter.report(one.record, one.reason);
    }
  }
}
