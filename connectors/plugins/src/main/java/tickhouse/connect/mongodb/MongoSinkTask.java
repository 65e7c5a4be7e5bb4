package tickhouse.connect.mongodb;

import com.mongodb.MongoException;
import com.mongodb.MongoSecurityException;
import com.mongodb.kafka.connect.sink.dlq.WriteConcernException;
import com.mongodb.kafka.connect.sink.dlq.WriteException;
import com.mongodb.kafka.connect.sink.dlq.WriteSkippedException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.sink.ErrantRecordReporter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;
import org.apache.kafka.connect.sink.SinkTaskContext;
import tickhouse.connect.Outcome;

/**
 * MongoDB's sink task with a reporter that classifies errors.
 *
 * <p>With {@code errors.tolerance=all} MongoDB's task sends every record of a batch to the dead letters when the connection
 * breaks. Here the reporter separates outages from refused records, and {@link Outcome} decides after {@code put}.
 */
public final class MongoSinkTask extends SinkTask {
  private static final long BACKOFF_MS = 2_000;
  private static final int UNAUTHORIZED = 13;

  /** The connector gives the code only in the message: {@code v=1, code=121, message=...}. */
  private static final Pattern CODE = Pattern.compile("\\bcode=(-?[0-9]{1,9})\\b");

  /**
   * Codes of MongoDB's error_codes.yml that concern one document: BadValue, TypeMismatch, InvalidBSON,
   * DollarPrefixedFieldName, EmptyFieldName, DottedFieldName, ImmutableField, DocumentValidationFailure, BSONObjectTooLarge,
   * and a key that is too long for an index.
   */
  private static final Set<Integer> OF_A_DOCUMENT = Set.of(2, 14, 22, 52, 56, 57, 66, 121, 10334, 17280);

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

  /**
   * Classify one error. The error of a single record is a {@link WriteException} and no {@link MongoException}. The record is
   * refused only for a code that concerns a document. Any other code (a full disk, a primary that steps down, a quota, a race
   * of two upserts) is temporary, or an operator repairs it, and the batch is delivered again.
   */
  static void sort(SinkRecord record, Throwable error, Outcome outcome) {
    MongoException found = null;
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (cause instanceof WriteException refusal) {
        sortWrite(record, refusal, outcome);
        return;
      }
      if (cause instanceof WriteConcernException || cause instanceof WriteSkippedException) {
        outcome.away(cause);
        return;
      }
      found = found == null && cause instanceof MongoException mongo ? mongo : found;
    }
    if (found == null) {
      outcome.refused(record, error); // a converter or a strategy could not make a document
    } else if (isOfTheConfiguration(found)) {
      outcome.misconfigured(found);
    } else {
      outcome.away(found);
    }
  }

  private static void sortWrite(SinkRecord record, WriteException error, Outcome outcome) {
    Matcher code = CODE.matcher(String.valueOf(error.getMessage()));
    int number = code.find() ? Integer.parseInt(code.group(1)) : 0;
    if (OF_A_DOCUMENT.contains(number)) {
      outcome.refused(record, error);
    } else if (number == UNAUTHORIZED) {
      outcome.misconfigured(error);
    } else {
      outcome.away(error);
    }
  }

  private static boolean isOfTheConfiguration(MongoException error) {
    return error instanceof MongoSecurityException || error.getCode() == UNAUTHORIZED;
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
