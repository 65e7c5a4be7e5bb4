package tickhouse.connect.rest;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.junit.jupiter.api.Test;

class LoginTest {
  private static final Login LOGIN = new Login("operator", "pw:with colon");

  @Test
  void theLoginIsAccepted() {
    assertTrue(LOGIN.accepts(basic("operator:pw:with colon")));
    assertTrue(LOGIN.accepts(basic("operator:pw:with colon").replace("Basic", "basic")));
  }

  @Test
  void anythingElseIsNot() {
    assertFalse(LOGIN.accepts(null));
    assertFalse(LOGIN.accepts(""));
    assertFalse(LOGIN.accepts("Basic"));
    assertFalse(LOGIN.accepts("Basic !!"));
    assertFalse(LOGIN.accepts("Bearer x"));
    assertFalse(LOGIN.accepts(basic("operator:")));
    assertFalse(LOGIN.accepts(basic("operator:pw:with colon ")));
  }

  private static String basic(String text) {
    return "Basic " + Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }
}
