package tickhouse.connect.elasticsearch;

import co.elastic.clients.elasticsearch._helpers.bulk.BulkListener;
import co.elastic.clients.elasticsearch._types.ElasticsearchException;
import co.elastic.clients.elasticsearch._types.ErrorCause;
import co.elastic.clients.elasticsearch.core.BulkRequest;
import co.elastic.clients.elasticsearch.core.BulkResponse;
import co.elastic.clients.elasticsearch.core.bulk.BulkResponseItem;
import co.elastic.clients.transport.TransportException;
import java.util.List;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import tickhouse.connect.Outcome;

/**
 * Sorts the answers to the bulk requests of one {@code put} and knows when all are there.
 *
 * <p>400, 409 and 413 are the record's fault. 429, 5xx and silence pass. Anything else (401, 403, 404) is the
 * configuration's: it would hit every record, so none is called bad for it.
 */
final class BulkOutcome implements BulkListener<SinkRecord> {
  private static final List<Integer> REFUSED = List.of(400, 409, 413);

  private Outcome outcome = new Outcome();
  private int pending;

  /** Begin with the records of a new {@code put}; none of an earlier one may be on its way. */
  synchronized Outcome begin() {
    outcome = new Outcome();
    return outcome;
  }

  /** Count a document that is handed over. */
  synchronized void handedOver() {
    pending++;
  }

  /** Wait until every document handed over has its answer. */
  synchronized void await() throws InterruptedException {
    while (pending > 0) {
      wait();
    }
  }

  @Override
  public void beforeBulk(long number, BulkRequest request, List<SinkRecord> records) {}

  @Override
  public void afterBulk(long number, BulkRequest request, List<SinkRecord> records, BulkResponse answer) {
    if (answer.errors()) {
      for (int item = 0; item < records.size(); item++) {
        sort(records.get(item), answer.items().get(item));
      }
    }
    answered(records.size());
  }

  @Override
  public void afterBulk(long number, BulkRequest request, List<SinkRecord> records, Throwable failure) {
    int status = status(failure);
    if (status == 0 || passes(status)) {
      outcome.away(failure);
    } else if (records.size() == 1 && REFUSED.contains(status)) {
      outcome.refused(records.get(0), failure);
    } else {
      outcome.misconfigured(failure);
    }
    answered(records.size());
  }

  private synchronized void answered(int count) {
    pending -= count;
    notifyAll();
  }

  private void sort(SinkRecord record, BulkResponseItem item) {
    if (item.error() == null) {
      return;
    }
    Exception error = new DataException("Elasticsearch answered " + item.status() + ": " + reason(item.error()));
    if (REFUSED.contains(item.status())) {
      outcome.refused(record, error);
    } else if (passes(item.status())) {
      outcome.away(error);
    } else {
      outcome.misconfigured(error);
    }
  }

  private static boolean passes(int status) {
    return status == 429 || status >= 500;
  }

  /** Return the HTTP status of a request that failed as a whole; 0 when there was no answer. */
  private static int status(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof ElasticsearchException known) {
        return known.status();
      }
      if (cause instanceof TransportException transport && transport.response() != null) {
        return transport.statusCode();
      }
    }
    return 0;
  }

  private static String reason(ErrorCause error) {
    String cause = error.causedBy() == null ? "" : " (" + error.causedBy().reason() + ")";
    return error.type() + ": " + error.reason() + cause;
  }
}
