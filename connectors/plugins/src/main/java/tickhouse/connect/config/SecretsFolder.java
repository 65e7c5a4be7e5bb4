package tickhouse.connect.config;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.config.ConfigData;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.config.provider.ConfigProvider;
import org.apache.kafka.common.config.provider.FileConfigProvider;

/**
 * Kafka's {@link FileConfigProvider} for one folder, with relative paths: {@code ${secrets:sinks.properties:mongodb.uri}}.
 *
 * <p>Kafka's provider needs absolute paths, which differ between machines, while connector files are the same everywhere. Its
 * check of {@code allowed.paths} still applies, so nothing outside the folder can be read.
 */
public final class SecretsFolder implements ConfigProvider {
  public static final String FOLDER = "folder";

  private final FileConfigProvider files = new FileConfigProvider();
  private Path folder;

  @Override
  public void configure(Map<String, ?> configs) {
    Object given = configs.get(FOLDER);
    if (given == null) {
      throw new ConfigException(FOLDER, null, "Expected the folder of secrets.");
    }
    folder = Path.of(given.toString()).toAbsolutePath().normalize();
    files.configure(Map.of("allowed.paths", folder.toString()));
  }

  @Override
  public ConfigData get(String path) {
    return files.get(resolved(path));
  }

  @Override
  public ConfigData get(String path, Set<String> keys) {
    return files.get(resolved(path), keys);
  }

  @Override
  public void close() throws IOException {
    files.close();
  }

  private String resolved(String path) {
    return folder.resolve(path).normalize().toString();
  }
}
