package tickhouse.connect.rest;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;

/** The only login of the REST API. */
record Login(String user, String password) {
  private static final String BASIC = "Basic ";

  /** Returns whether an Authorization header contains this login. */
  boolean accepts(String header) {
    if (header == null || !header.regionMatches(true, 0, BASIC, 0, BASIC.length())) {
      return false;
    }
    byte[] expected = (user + ":" + password).getBytes(StandardCharsets.UTF_8);
    try {
      // Compares in constant time, so that the duration reveals nothing about the password.
      return MessageDigest.isEqual(expected, Base64.getDecoder().decode(header.substring(BASIC.length()).trim()));
    } catch (IllegalArgumentException notBase64) {
      return false;
    }
  }
}
