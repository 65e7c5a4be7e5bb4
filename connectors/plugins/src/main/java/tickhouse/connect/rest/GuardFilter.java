package tickhouse.connect.rest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import jakarta.ws.rs.container.ContainerRequestContext;
import jakarta.ws.rs.container.ContainerRequestFilter;
import jakarta.ws.rs.core.HttpHeaders;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/** Checks each request before Connect sees it: host names, login, then the secrets that a configuration refers to. */
final class GuardFilter implements ContainerRequestFilter {
  /** Limit of a body; the configuration of a connector has a few KB. */
  static final int MAX_BODY_BYTES = 1 << 20;

  /** Requests between the workers of a group; Connect itself checks their signature (KIP-507). */
  private static final Pattern BETWEEN_WORKERS = Pattern.compile("(POST connectors/[^/]+/tasks|PUT connectors/[^/]+/fence)/?");

  private static final Pattern WHOLE = Pattern.compile("(PUT connectors/[^/]+/config|PUT connector-plugins/[^/]+/config/validate)/?");
  private static final Pattern PATCH = Pattern.compile("PATCH connectors/[^/]+/config/?");
  private static final Pattern CREATE = Pattern.compile("POST connectors/?");

  private final Login login;
  private final Set<String> hosts;
  private final Path secretsFile;
  private final ObjectMapper json = new ObjectMapper();

  GuardFilter(Login login, Set<String> hosts, Path secretsFile) {
    this.login = login;
    this.hosts = hosts;
    this.secretsFile = secretsFile;
  }

  @Override
  public void filter(ContainerRequestContext request) throws IOException {
    String call = request.getMethod() + " " + request.getUriInfo().getPath(false).replaceFirst("^/+", "");
    if (!isOwnName(request)) {
      request.abortWith(refusal(Response.Status.FORBIDDEN, "Expected one of the worker's own names as Host and Origin."));
    } else if (!BETWEEN_WORKERS.matcher(call).matches()) {
      if (login.accepts(request.getHeaderString(HttpHeaders.AUTHORIZATION))) {
        checkSecrets(request, call);
      } else {
        request.abortWith(unauthorized());
      }
    }
  }

  /** Another name in Host or Origin means a web page in the browser of a person with the login (DNS rebinding). */
  private boolean isOwnName(ContainerRequestContext request) {
    String origin = request.getHeaderString("Origin");
    return hosts.contains(request.getHeaderString(HttpHeaders.HOST)) && (origin == null || hosts.contains(authority(origin)));
  }

  private static String authority(String origin) {
    try {
      return String.valueOf(URI.create(origin).getAuthority());
    } catch (IllegalArgumentException notAnAddress) {
      return "";
    }
  }

  private void checkSecrets(ContainerRequestContext request, String call) throws IOException {
    boolean isCreate = CREATE.matcher(call).matches();
    boolean isPatch = PATCH.matcher(call).matches();
    if (!isCreate && !isPatch && !WHOLE.matcher(call).matches()) {
      return;
    }
    byte[] body = request.getEntityStream().readNBytes(MAX_BODY_BYTES + 1);
    if (body.length > MAX_BODY_BYTES) {
      request.abortWith(refusal(Response.Status.REQUEST_ENTITY_TOO_LARGE, "Expected at most " + MAX_BODY_BYTES + " bytes."));
      return;
    }
    request.setEntityStream(new ByteArrayInputStream(body));
    fault(request, body, isCreate, isPatch)
        .ifPresent(message -> request.abortWith(refusal(Response.Status.FORBIDDEN, message)));
  }

  private Optional<String> fault(ContainerRequestContext request, byte[] body, boolean isCreate, boolean isPatch) throws IOException {
    JsonNode document = tree(body);
    if (!document.isObject()) {
      return Optional.of("Expected a JSON object.");
    }
    Map<String, String> config = fields(isCreate ? document.path("config") : document);
    String named = request.getUriInfo().getPathParameters().getFirst("connector");
    String name = isCreate ? document.path("name").asText() : named != null ? named : config.getOrDefault("name", "");
    SecretFields secrets = SecretFields.read(secretsFile); // read at each request: a connector file may have been added since the start
    return isPatch ? secrets.fault(name, config) : secrets.faultOfWhole(name, config);
  }

  private JsonNode tree(byte[] body) throws IOException {
    try {
      return json.readTree(body);
    } catch (com.fasterxml.jackson.core.JsonProcessingException notJson) {
      return json.missingNode();
    }
  }

  private static Map<String, String> fields(JsonNode config) {
    Map<String, String> found = new HashMap<>();
    config.fields().forEachRemaining(field -> found.put(field.getKey(), text(field.getValue())));
    return found;
  }

  private static String text(JsonNode value) {
    return value.isNull() ? null : value.isValueNode() ? value.asText() : value.toString();
  }

  private static Response unauthorized() {
    return Response.fromResponse(refusal(Response.Status.UNAUTHORIZED, "Expected the login of Connect's REST API."))
        .header(HttpHeaders.WWW_AUTHENTICATE, "Basic realm=\"Kafka Connect\"")
        .build();
  }

  private static Response refusal(Response.Status status, String message) {
    return Response.status(status)
        .type(MediaType.APPLICATION_JSON_TYPE)
        .entity(Map.of("error_code", status.getStatusCode(), "message", message))
        .build();
  }
}
