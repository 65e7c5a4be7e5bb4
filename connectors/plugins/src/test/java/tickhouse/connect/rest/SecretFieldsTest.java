package tickhouse.connect.rest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class SecretFieldsTest {
  private static final Map<String, String> OWN =
      Map.of("connector.class", "Sink", "url", "${secrets:s:url}", "password", "${secrets:s:password}");
  private static final SecretFields FIELDS = new SecretFields(Map.of("trades", OWN));

  @Test
  void theDeclaredConfigurationIsTaken() {
    assertEquals(Optional.empty(), FIELDS.faultOfWhole("trades", with("batch.size", "7")));
  }

  @Test
  void aSecretInAnotherFieldIsRefused() {
    assertTrue(FIELDS.faultOfWhole("trades", with("index.prefix", "${secrets:s:password}")).isPresent());
    assertTrue(FIELDS.faultOfWhole("trades", with("url", "http://elsewhere/${secrets:s:password}")).isPresent());
  }

  @Test
  void aSecretInAnotherConnectorIsRefused() {
    assertTrue(FIELDS.faultOfWhole("other", OWN).isPresent());
  }

  @Test
  void aPasswordGoesToNoOtherServer() {
    assertTrue(FIELDS.faultOfWhole("trades", with("url", "http://elsewhere")).isPresent());
    assertTrue(FIELDS.fault("trades", Map.of("url", "http://elsewhere")).isPresent());
    assertTrue(FIELDS.faultOfWhole("trades", with("connector.class", "Spy")).isPresent());
    Map<String, String> without = with("batch.size", "7");
    without.remove("url");
    assertTrue(FIELDS.faultOfWhole("trades", without).isPresent());
  }

  @Test
  void aConnectorWithoutSecretsIsNobodysBusiness() {
    assertEquals(Optional.empty(), FIELDS.faultOfWhole("file", Map.of("connector.class", "File", "file", "/tmp/x")));
  }

  @Test
  void aPatchMayChangeWhatIsNotDeclared() {
    assertEquals(Optional.empty(), FIELDS.fault("trades", Map.of("batch.size", "9")));
    Map<String, String> removal = new HashMap<>();
    removal.put("url", null);
    assertTrue(FIELDS.fault("trades", removal).isPresent());
  }

  private static Map<String, String> with(String field, String value) {
    Map<String, String> config = new HashMap<>(OWN);
    config.put(field, value);
    return config;
  }
}
