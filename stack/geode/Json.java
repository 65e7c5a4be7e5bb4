import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Collection;
import java.util.stream.Collectors;
import org.apache.geode.cache.query.Struct;
import org.apache.geode.pdx.JSONFormatter;
import org.apache.geode.pdx.JSONFormatterException;
import org.apache.geode.pdx.PdxInstance;

/** Values of regions as JSON; in a region, a JSON object is a PDX instance. */
final class Json {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private Json() {}

  static JsonNode parsed(String text) {
    try {
      return MAPPER.readTree(text);
    } catch (JsonProcessingException error) {
      throw new RestApi.Refused(400, "JSON document specified in the request is incorrect");
    }
  }

  static PdxInstance value(JsonNode object) {
    if (!object.isObject()) {
      throw new RestApi.Refused(400, "A value is a JSON object");
    }
    try {
      return JSONFormatter.fromJSON(object.toString());
    } catch (JSONFormatterException error) {
      throw new RestApi.Refused(400, "Json doc specified is either not supported or invalid!");
    }
  }

  static String of(Object value) {
    if (value instanceof PdxInstance instance) {
      return JSONFormatter.toJSON(instance);
    }
    if (value instanceof Struct row) { // a query that selects several fields
      ObjectNode object = MAPPER.createObjectNode();
      String[] names = row.getStructType().getFieldNames();
      for (int index = 0; index < names.length; index++) {
        object.set(names[index], parsed(of(row.getFieldValues()[index])));
      }
      return object.toString();
    }
    return MAPPER.valueToTree(value).toString();
  }

  static String array(Collection<?> values) {
    return values.stream().map(Json::of).collect(Collectors.joining(",", "[", "]"));
  }

  static String object(String name, Object value) {
    return MAPPER.createObjectNode().set(name, MAPPER.valueToTree(value)).toString();
  }

  static String cause(String message) {
    return object("cause", message);
  }
}
