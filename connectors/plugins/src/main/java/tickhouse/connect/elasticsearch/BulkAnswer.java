package tickhouse.connect.elasticsearch;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.List;
import java.util.Set;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import tickhouse.connect.Outcome;

/**
 * Reads Elasticsearch's response to a bulk request.
 *
 * <p>A status alone does not say whether a document is wrong: 400 is also the response when the cluster has no shard left for
 * a new index, when an index is closed, or when a shard is full. So only error types that concern a document refuse a
 * document. All other errors concern the store. 401, 403 of security and 404 are errors of its configuration, which fail the
 * task. The rest is temporary, or an operator repairs it, and the batch is delivered again. An unknown type stalls the
 * connector, which {@code tickhouse connectors ls} shows; a good record among the dead letters would not be noticed.
 */
final class BulkAnswer {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Error types, of the error or of its cause, that concern one document. */
  private static final Set<String> OF_A_DOCUMENT =
      Set.of(
          "document_parsing_exception",
          "mapper_parsing_exception",
          "strict_dynamic_mapping_exception",
          "x_content_parse_exception",
          "json_parse_exception",
          "number_format_exception",
          "date_time_parse_exception",
          "max_bytes_length_exceeded_exception");

  private static final List<Integer> OF_THE_CONFIGURATION = List.of(401, 403, 404);
  private static final int TOO_LARGE = 413;

  private BulkAnswer() {}

  /** Return whether the whole request was refused because of one record, which smaller requests can find. */
  static boolean asksForLess(int status, byte[] body) {
    return status == TOO_LARGE || (status == 400 && "action_request_validation_exception".equals(type(error(body))));
  }

  /** Classify the response to a request with {@code records}, in this order. */
  static void sort(int status, byte[] body, List<SinkRecord> records, Outcome outcome) {
    if (passes(status)) {
      outcome.away(new IOException("_bulk answered " + status));
    } else if (asksForLess(status, body) && records.size() == 1) {
      outcome.refused(records.get(0), new DataException("Elasticsearch answered " + status + ": " + reason(error(body))));
    } else {
      sortAnswer(status, body, records, outcome);
    }
  }

  private static void sortAnswer(int status, byte[] body, List<SinkRecord> records, Outcome outcome) {
    try {
      JsonNode answer = JSON.readTree(body);
      if (status != 200) {
        sortError(status, answer.path("error"), true, outcome);
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
      JsonNode error = item.path("error");
      if (status == 400 && isOfADocument(error)) {
        outcome.refused(records.get(number), new DataException("Elasticsearch answered 400: " + reason(error)));
      } else if (status >= 300) {
        sortError(status, error, OF_THE_CONFIGURATION.contains(status), outcome);
      }
    }
  }

  private static void sortError(int status, JsonNode error, boolean isOfTheConfiguration, Outcome outcome) {
    Exception found = new DataException("Elasticsearch answered " + status + ": " + reason(error));
    // 403 is also the response while writes are blocked, by hand or by Elasticsearch on a full disk.
    if (isOfTheConfiguration && !type(error).equals("cluster_block_exception")) {
      outcome.misconfigured(found);
    } else {
      outcome.away(found);
    }
  }

  private static boolean isOfADocument(JsonNode error) {
    for (JsonNode cause = error; cause.isObject(); cause = cause.path("caused_by")) {
      if (OF_A_DOCUMENT.contains(type(cause))) {
        return true;
      }
    }
    return false;
  }

  private static boolean passes(int status) {
    return status == 429 || status >= 500;
  }

  private static JsonNode error(byte[] body) {
    try {
      return JSON.readTree(body).path("error");
    } catch (IOException noJson) {
      return JSON.missingNode();
    }
  }

  private static String type(JsonNode error) {
    return error.path("type").asText("?");
  }

  private static String reason(JsonNode error) {
    String cause = error.path("caused_by").path("reason").asText("");
    String text = type(error) + ": " + error.path("reason").asText("?");
    return cause.isEmpty() ? text : text + " (" + cause + ")";
  }
}
