package tickhouse.connect.elasticsearch;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.List;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import tickhouse.connect.Outcome;

/**
 * Reads what Elasticsearch says to a bulk request.
 *
 * <p>400, 409 and 413 are the record's fault. 429 and 5xx pass. Anything else (401, 403, 404) is the configuration's: it
 * would hit every record, so none is called bad for it.
 */
final class BulkAnswer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final List<Integer> REFUSED = List.of(400, 409, 413);

  private BulkAnswer() {}

  /** Sort the answer to a request that held {@code records}, in this order. */
  static void sort(int status, byte[] body, List<SinkRecord> records, Outcome outcome) {
    if (passes(status)) {
      outcome.away(new IOException("_bulk answered " + status));
      return;
    }
    try {
      JsonNode answer = JSON.readTree(body);
      if (status != 200) {
        outcome.misconfigured(new IOException("_bulk answered " + status + ": " + reason(answer.path("error"))));
      } else if (answer.path("errors").asBoolean()) {
        sortItems(answer.path("items"), records, outcome);
      }
    } catch (IOException error) {
      outcome.away(error);
    }
  }

  private static void sortItems(JsonNode items, List<SinkRecord> records, Outcome outcome) {
    for (int number = 0; number < records.size(); number++) {
      JsonNode item = items.path(number).path("index");
      int status = item.path("status").asInt();
      Exception error = new DataException("Elasticsearch answered " + status + ": " + reason(item.path("error")));
      if (REFUSED.contains(status)) {
        outcome.refused(records.get(number), error);
      } else if (passes(status)) {
        outcome.away(error);
      } else if (status >= 300) {
        outcome.misconfigured(error);
      }
    }
  }

  private static boolean passes(int status) {
    return status == 429 || status >= 500;
  }

  private static String reason(JsonNode error) {
    String cause = error.path("caused_by").path("reason").asText("");
    String text = error.path("type").asText("?") + ": " + error.path("reason").asText("?");
    return cause.isEmpty() ? text : text + " (" + cause + ")";
  }
}
