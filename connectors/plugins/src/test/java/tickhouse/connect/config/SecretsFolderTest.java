package tickhouse.connect.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.common.config.ConfigException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SecretsFolderTest {
  @Test
  void aFileInTheFolderIsReadAndNoOther(@TempDir Path folder) throws IOException {
    Path inside = Files.createDirectory(folder.resolve("secrets"));
    Files.writeString(inside.resolve("sinks.properties"), "uri=mongodb://user:pw@host/?a=b\nother=x\n");
    Files.writeString(folder.resolve("outside.properties"), "uri=stolen\n");
    try (SecretsFolder secrets = new SecretsFolder()) {
      secrets.configure(Map.of("folder", inside.toString()));
      assertEquals(Map.of("uri", "mongodb://user:pw@host/?a=b"), secrets.get("sinks.properties", Set.of("uri")).data());
      assertEquals(2, secrets.get("sinks.properties").data().size());
      assertEquals(Map.of(), secrets.get("../outside.properties", Set.of("uri")).data());
      assertEquals(Map.of(), secrets.get(folder.resolve("outside.properties").toString()).data());
    }
  }

  @Test
  void withoutAFolderItDoesNotStart() throws IOException {
    try (SecretsFolder secrets = new SecretsFolder()) {
      assertThrows(ConfigException.class, () -> secrets.configure(Map.of()));
    }
  }
}
