package tickhouse.connect;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.ErrantRecordReporter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTaskContext;

/**
 * What became of the records of one {@code put}, and what follows from it. Thread-safe: stores answer on their own threads.
 *
 * <p>In this order: a wrong configuration fails the task; a store that is away makes Connect deliver the whole batch again
 * (writes are upserts), and nothing is called bad then; only when the store took or refused every record does what it
 * refused go to the dead letters. So each refused record is there once, and none is because a store was down.
 */
public final class Outcome {
  private record Refusal(SinkRecord record, Throwable reason) {}

  private final Queue<Refusal> refusals = new ConcurrentLinkedQueue<>();
  private volatile Throwable away;
  private volatile Throwable misconfigured;

  /** The store looked at this record and will never take it. */
  public void refused(SinkRecord record, Throwable reason) {
    refusals.add(new Refusal(record, reason));
  }

  /** The store did not answer, or asked to come again. */
  public void away(Throwable reason) {
    away = reason;
  }

  /** No record is at fault and waiting does not help: a login, a right, a table or an index is missing. */
  public void misconfigured(Throwable reason) {
    misconfigured = reason;
  }

  /** Draw the conclusion; {@code reporter} is null when the connector tolerates no errors. */
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
