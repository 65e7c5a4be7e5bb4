package tickhouse.connect;

/** The version that every plugin of this module reports. */
public final class Version {
  public static final String TEXT = "0.1.0";

  private Version() {}
}
