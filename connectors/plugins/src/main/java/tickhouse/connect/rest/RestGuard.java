package tickhouse.connect.rest;

import jakarta.ws.rs.Priorities;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.rest.ConnectRestExtension;
import org.apache.kafka.connect.rest.ConnectRestExtensionContext;
import tickhouse.connect.Version;

/**
 * Protects the REST API: it needs the login and one of the worker's own host names, and it allows secrets only where the
 * connector files use them (see {@link SecretFields}).
 *
 * <p>Worker settings: {@code rest.guard.login.file} (properties {@code username} and {@code password}), {@code
 * rest.guard.hosts} (comma separated {@code host:port}), {@code rest.guard.secrets.file} (JSON: connector, field, value).
 */
public final class RestGuard implements ConnectRestExtension {
  static final String LOGIN_FILE = "rest.guard.login.file";
  static final String HOSTS = "rest.guard.hosts";
  static final String SECRETS_FILE = "rest.guard.secrets.file";

  private GuardFilter filter;

  @Override
  public void configure(Map<String, ?> configs) {
    Set<String> hosts = Set.of(required(configs, HOSTS).trim().split("\\s*,\\s*"));
    filter = new GuardFilter(login(Path.of(required(configs, LOGIN_FILE))), hosts, Path.of(required(configs, SECRETS_FILE)));
  }

  @Override
  public void register(ConnectRestExtensionContext context) {
    context.configurable().register(filter, Priorities.AUTHENTICATION);
  }

  @Override
  public String version() {
    return Version.TEXT;
  }

  @Override
  public void close() {}

  private static String required(Map<String, ?> configs, String name) {
    Object value = configs.get(name);
    if (value == null) {
      throw new ConfigException(name, null, "Expected a value: without it the REST API would be open.");
    }
    return value.toString();
  }

  private static Login login(Path file) {
    Properties values = new Properties();
    try (InputStream stream = Files.newInputStream(file)) {
      values.load(stream);
    } catch (IOException error) {
      throw new ConfigException(LOGIN_FILE, file, "Expected a readable file, was " + error);
    }
    String user = values.getProperty("username", "");
    String password = values.getProperty("password", "");
    if (user.isEmpty() || password.isEmpty()) {
      throw new ConfigException(LOGIN_FILE, file, "Expected username and password.");
    }
    return new Login(user, password);
  }
}
