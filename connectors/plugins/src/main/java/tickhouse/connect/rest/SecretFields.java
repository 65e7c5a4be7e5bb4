package tickhouse.connect.rest;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * Which connector may use which secret in which field: connector to field to the required value.
 *
 * <p>A config provider does not know which connector asks for a secret. So Connect would put any secret into any field of any
 * connector, and its validation returns the value of fields that are not passwords. Therefore a value with a reference must
 * be exactly the one that is declared for that connector and field. A connector that uses secrets must also keep all its
 * declared fields, including the address of its server, so that no password goes to another server.
 */
final class SecretFields {
  private static final String REFERENCE = "${";
  private static final TypeReference<Map<String, Map<String, String>>> DECLARED = new TypeReference<>() {};

  private final Map<String, Map<String, String>> declared;

  SecretFields(Map<String, Map<String, String>> declared) {
    this.declared = declared;
  }

  static SecretFields read(Path file) throws IOException {
    return new SecretFields(new ObjectMapper().readValue(file.toFile(), DECLARED));
  }

  /**
   * Returns what is wrong with a configuration.
   *
   * @param connector the name under which it would run
   * @param config the fields; of a patch only those that change
   */
  Optional<String> fault(String connector, Map<String, String> config) {
    Map<String, String> own = declared.getOrDefault(connector, Map.of());
    for (Map.Entry<String, String> field : config.entrySet()) {
      String wanted = own.get(field.getKey());
      boolean isReference = field.getValue() != null && field.getValue().contains(REFERENCE);
      if ((isReference || wanted != null) && !Objects.equals(field.getValue(), wanted)) {
        return Optional.of(
            wanted == null
                ? "Connector " + connector + " may not use a secret in " + field.getKey() + "."
                : "Expected " + field.getKey() + " of " + connector + " as its file declares it.");
      }
    }
    return Optional.empty();
  }

  /** Returns what is wrong with a whole configuration: as {@link #fault}, and no declared field may be left out. */
  Optional<String> faultOfWhole(String connector, Map<String, String> config) {
    boolean usesSecrets = config.values().stream().anyMatch(value -> value != null && value.contains(REFERENCE));
    if (usesSecrets) {
      for (String field : declared.getOrDefault(connector, Map.of()).keySet()) {
        if (!config.containsKey(field)) {
          return Optional.of("Expected " + field + " of " + connector + " as its file declares it, was nothing.");
        }
      }
    }
    return fault(connector, config);
  }
}
