import java.util.Properties;
import org.apache.geode.cache.client.ClientCache;
import org.apache.geode.cache.client.ClientCacheFactory;
import org.apache.geode.cache.client.ClientRegionShortcut;
import org.apache.geode.distributed.DistributedMember;
import org.apache.geode.security.AuthInitialize;

/** Writes one entry over the native protocol. Arguments: locator's port, user, password, region, key, value. */
public final class NativeClient {
  public static final class Login implements AuthInitialize {
    @Override
    public Properties getCredentials(Properties given, DistributedMember server, boolean isPeer) {
      Properties login = new Properties();
      login.setProperty("security-username", given.getProperty("security-username"));
      login.setProperty("security-password", given.getProperty("security-password"));
      return login;
    }
  }

  public static void main(String[] arguments) {
    ClientCacheFactory factory = new ClientCacheFactory().set("log-level", "none");
    if (!arguments[1].isEmpty()) {
      factory
          .set("security-client-auth-init", Login.class.getName())
          .set("security-username", arguments[1])
          .set("security-password", arguments[2]);
    }
    try (ClientCache cache = factory.addPoolLocator("127.0.0.1", Integer.parseInt(arguments[0])).create()) {
      cache
          .<String, String>createClientRegionFactory(ClientRegionShortcut.PROXY)
          .create(arguments[3])
          .put(arguments[4], arguments[5]);
      System.out.println("WRITTEN");
    } catch (RuntimeException error) {
      Throwable cause = error.getCause() == null ? error : error.getCause();
      System.out.println("REFUSED " + error.getClass().getSimpleName() + " " + cause.getClass().getSimpleName());
    }
  }
}
