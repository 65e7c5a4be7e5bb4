import com.fasterxml.jackson.databind.JsonNode;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.geode.cache.Cache;
import org.apache.geode.cache.Region;
import org.apache.geode.cache.query.QueryException;
import org.apache.geode.cache.query.QueryInvalidException;
import org.apache.geode.pdx.PdxInstance;

/** The entries of one region: read, written and compared as the official REST API does it. */
record Entries(Region<Object, Object> region) {
  /** The official API gives this many values unless it is asked for more. */
  private static final long FIRST_VALUES = 50;

  RestApi.Answer answer(RestApi.Request request) {
    String last = request.path().size() == 2 ? request.path().get(1) : "";
    return switch (request.method()) {
      case "HEAD" -> new RestApi.Answer(200, "", Map.of("Resource-Count", String.valueOf(region.size())));
      case "GET" -> last.equals("keys") ? keys() : read(request, last);
      case "PUT" -> write(request, last);
      case "DELETE" -> delete(List.of(last.split(",")));
      default -> throw new RestApi.Refused(405, "Request method '" + request.method() + "' not supported");
    };
  }

  private RestApi.Answer keys() {
    return new RestApi.Answer(200, Json.object("keys", region.keySet()));
  }

  private RestApi.Answer read(RestApi.Request request, String inPath) {
    List<String> keys = inPath.isEmpty() ? request.keys() : List.of(inPath.split(","));
    if (keys.isEmpty()) {
      return values(region.getAll(region.keySet()).values().stream().limit(limit(request)).toList());
    }
    Map<Object, Object> found = region.getAll(keys);
    List<String> missing = keys.stream().filter(key -> found.get(key) == null).toList();
    if (!missing.isEmpty() && keys.size() == 1) {
      throw new RestApi.Refused(404, "Key " + missing + " does not exist for region in cache!");
    }
    if (!missing.isEmpty() && !"true".equalsIgnoreCase(request.query().get("ignoreMissingKey"))) {
      throw new RestApi.Refused(400, "Requested keys " + missing + " do not exist in region");
    }
    if (keys.size() == 1) {
      return new RestApi.Answer(200, Json.of(found.get(keys.get(0))));
    }
    return values(keys.stream().map(key -> found.get((Object) key)).toList());
  }

  private static long limit(RestApi.Request request) {
    String limit = request.query().getOrDefault("limit", String.valueOf(FIRST_VALUES));
    try {
      return limit.equalsIgnoreCase("ALL") ? Long.MAX_VALUE : Long.parseUnsignedLong(limit);
    } catch (NumberFormatException error) {
      throw new RestApi.Refused(400, "limit param (" + limit + ") is not valid!");
    }
  }

  private RestApi.Answer values(List<Object> values) {
    return new RestApi.Answer(200, "{\"" + region.getName() + "\":" + Json.array(values) + "}");
  }

  private RestApi.Answer write(RestApi.Request request, String inPath) {
    List<String> keys = inPath.isEmpty() ? request.keys() : List.of(inPath.split(","));
    if (keys.isEmpty()) {
      throw new RestApi.Refused(400, "Required parameter 'keys' is not present.");
    }
    JsonNode body = Json.parsed(request.body());
    if (keys.size() > 1) {
      return putAll(keys, body);
    }
    String operation = request.query().getOrDefault("op", "PUT").toUpperCase();
    return switch (operation) {
      case "PUT" -> put(keys.get(0), Json.value(body));
      case "CREATE" -> create(keys.get(0), Json.value(body));
      case "REPLACE" -> replace(keys.get(0), Json.value(body));
      case "CAS" -> compareAndSet(keys.get(0), body.get("@old"), body.get("@new"));
      default -> throw new RestApi.Refused(400, "The op parameter (" + operation + ") is not valid.");
    };
  }

  private RestApi.Answer putAll(List<String> keys, JsonNode body) {
    if (!body.isArray() || body.size() != keys.size()) {
      throw new RestApi.Refused(400, "Each key must have corresponding value specified in the request");
    }
    Map<Object, Object> entries = new HashMap<>();
    for (int index = 0; index < keys.size(); index++) {
      entries.put(keys.get(index), Json.value(body.get(index)));
    }
    region.putAll(entries);
    return new RestApi.Answer(200, "");
  }

  private RestApi.Answer put(String key, PdxInstance value) {
    region.put(key, value);
    return new RestApi.Answer(200, "");
  }

  private RestApi.Answer create(String key, PdxInstance value) {
    Object existing = region.putIfAbsent(key, value);
    return existing == null ? new RestApi.Answer(201, "") : new RestApi.Answer(409, Json.of(existing));
  }

  private RestApi.Answer replace(String key, PdxInstance value) {
    if (region.replace(key, value) == null) {
      throw new RestApi.Refused(404, "No resource at (" + key + ") exists!");
    }
    return new RestApi.Answer(200, "");
  }

  private RestApi.Answer compareAndSet(String key, JsonNode before, JsonNode after) {
    if (before == null || after == null) {
      throw new RestApi.Refused(400, "Json doc specified in request body is invalid!");
    }
    if (region.replace(key, Json.value(before), Json.value(after))) {
      return new RestApi.Answer(200, "");
    }
    Object existing = region.get(key);
    if (existing == null) {
      throw new RestApi.Refused(404, "No resource at (" + key + ") exists!");
    }
    return new RestApi.Answer(409, Json.of(existing));
  }

  private RestApi.Answer delete(List<String> keys) {
    for (String key : keys) {
      if (!region.containsKey(key)) {
        throw new RestApi.Refused(404, "Key (" + key + ") does not exist for region in cache!");
      }
    }
    keys.forEach(region::remove);
    return new RestApi.Answer(200, "");
  }

  static RestApi.Answer query(Cache cache, String text) {
    try {
      Object result = cache.getQueryService().newQuery(text).execute();
      return new RestApi.Answer(200, Json.array(result instanceof Collection<?> rows ? rows : List.of(result)));
    } catch (QueryException | QueryInvalidException error) {
      throw new RestApi.Refused(500, error.getMessage());
    }
  }
}
