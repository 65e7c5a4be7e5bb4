import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Executors;
import java.util.stream.Stream;
import org.apache.geode.cache.Cache;
import org.apache.geode.cache.Region;
import org.apache.geode.security.AuthenticationFailedException;
import org.apache.geode.security.ResourcePermission;
import org.apache.geode.security.ResourcePermission.Operation;
import org.apache.geode.security.ResourcePermission.Resource;
import org.apache.geode.security.SecurityManager;

/**
 * The part of Geode's developer REST API that we use, with the same paths, status codes and rights.
 *
 * <p>docs/reference/geode.md lists what it serves, and what differs from the API of the official image.
 */
final class RestApi {
  private static final String ROOT = "/geode/v1/";
  private static final int THREADS = 8;
  /** Several times the largest request of our client. */
  private static final int MOST_BODY_BYTES = 16 << 20;

  private final Cache cache;
  private final SecurityManager security;

  RestApi(Cache cache, SecurityManager security) {
    this.cache = cache;
    this.security = security;
  }

  void serve(InetSocketAddress address) throws IOException {
    HttpServer server = HttpServer.create(address, 0);
    server.createContext(ROOT, this::handle);
    server.setExecutor(Executors.newFixedThreadPool(THREADS));
    server.start();
  }

  /** The decoded parts of a request. */
  record Request(String method, List<String> path, Map<String, String> query, String body) {
    /** Returns the keys of parameter `keys`; the official API also decodes each key once more. */
    List<String> keys() {
      String keys = query.getOrDefault("keys", "");
      return keys.isEmpty() ? List.of() : Stream.of(keys.split(",")).map(RestApi::decoded).toList();
    }

    boolean isRead() {
      return method.equals("GET") || method.equals("HEAD");
    }
  }

  /** Body and headers of an answer; an empty body is sent without one. */
  record Answer(int status, String body, Map<String, String> headers) {
    Answer(int status, String body) {
      this(status, body, Map.of());
    }
  }

  /** A refusal, with the status that the official API gives. */
  static final class Refused extends RuntimeException {
    final int status;

    Refused(int status, String message) {
      super(message);
      this.status = status;
    }
  }

  private void handle(HttpExchange exchange) throws IOException {
    Answer answer;
    try {
      answer = answer(exchange);
    } catch (Refused refused) {
      answer = new Answer(refused.status, Json.cause(refused.getMessage()));
    } catch (RuntimeException error) {
      answer = new Answer(500, Json.cause(error.toString()));
    }
    answer.headers.forEach(exchange.getResponseHeaders()::set);
    exchange.getResponseHeaders().set("Content-Type", "application/json;charset=UTF-8");
    if (answer.status == 401) {
      exchange.getResponseHeaders().set("WWW-Authenticate", "Basic realm=\"GEODE\"");
    }
    byte[] body = answer.body.getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(answer.status, body.length == 0 ? -1 : body.length);
    // Closed without a body as well, so that the client may keep its connection.
    try (var stream = exchange.getResponseBody()) {
      stream.write(body);
    }
  }

  private Answer answer(HttpExchange exchange) throws IOException {
    String path = exchange.getRequestURI().getRawPath().substring(ROOT.length());
    if (path.equals("ping")) {
      return new Answer(200, ""); // as in the official API, it tells nothing about logins
    }
    Object user = login(exchange.getRequestHeaders().getFirst("Authorization"));
    byte[] body = exchange.getRequestBody().readNBytes(MOST_BODY_BYTES + 1);
    if (body.length > MOST_BODY_BYTES) {
      throw new Refused(413, "The body has more than " + MOST_BODY_BYTES + " bytes");
    }
    Request request =
        new Request(
            exchange.getRequestMethod(),
            Stream.of(path.split("/")).map(RestApi::decoded).toList(),
            parameters(exchange.getRequestURI().getRawQuery()),
            new String(body, StandardCharsets.UTF_8));
    if (path.equals("queries/adhoc")) {
      require(user, Operation.READ, ResourcePermission.ALL);
      return Entries.query(cache, request.query.getOrDefault("q", ""));
    }
    String name = request.path.get(0);
    require(user, request.isRead() ? Operation.READ : Operation.WRITE, name);
    Region<Object, Object> region = cache.getRegion(name);
    if (region == null) {
      throw new Refused(404, "The Region identified by name (" + name + ") could not be found!");
    }
    return new Entries(region).answer(request);
  }

  private Object login(String header) {
    try {
      byte[] text = Base64.getDecoder().decode(header.substring("Basic ".length()));
      String[] login = new String(text, StandardCharsets.UTF_8).split(":", 2);
      Properties given = new Properties();
      given.setProperty(SecurityManager.USER_NAME, login[0]);
      given.setProperty(SecurityManager.PASSWORD, login[1]);
      return security.authenticate(given);
    } catch (NullPointerException | IndexOutOfBoundsException | IllegalArgumentException error) {
      throw new Refused(401, "Full authentication is required to access this resource");
    } catch (AuthenticationFailedException error) {
      throw new Refused(401, "Invalid username or password");
    }
  }

  private void require(Object user, Operation operation, String region) {
    ResourcePermission wanted = new ResourcePermission(Resource.DATA, operation, region);
    if (!security.authorize(user, wanted)) {
      throw new Refused(403, user + " not authorized for " + wanted);
    }
  }

  private static Map<String, String> parameters(String query) {
    Map<String, String> found = new HashMap<>();
    for (String pair : query == null ? new String[0] : query.split("&")) {
      String[] parts = pair.split("=", 2);
      found.put(decoded(parts[0]), parts.length == 2 ? decoded(parts[1]) : "");
    }
    return found;
  }

  private static String decoded(String text) {
    try {
      return URLDecoder.decode(text, StandardCharsets.UTF_8);
    } catch (IllegalArgumentException error) {
      throw new Refused(400, "The address has a wrong percent sign");
    }
  }
}
