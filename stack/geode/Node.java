import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.geode.cache.Cache;
import org.apache.geode.cache.CacheFactory;
import org.apache.geode.cache.server.CacheServer;
import org.apache.geode.examples.security.ExampleSecurityManager;
import org.apache.geode.security.SecurityManager;

/**
 * One Geode member with an embedded locator. Arguments: file of properties, host, port of the REST API, port of the
 * native protocol.
 *
 * <p>Regions and disk stores are declared in cache.xml, users and rights in security.json; the official image reads the
 * same two files. One object decides about logins, both of the native protocol and of the REST API.
 */
public final class Node {
  public static void main(String[] arguments) throws IOException, InterruptedException {
    Properties properties = new Properties();
    try (InputStream file = Files.newInputStream(Path.of(arguments[0]))) {
      properties.load(file);
    }
    SecurityManager security = new ExampleSecurityManager();
    security.init(properties);
    // Geode closes the cache when the JVM is asked to stop.
    Cache cache = new CacheFactory(properties).setSecurityManager(security).create();
    CacheServer server = cache.addCacheServer();
    server.setBindAddress(arguments[1]);
    server.setPort(Integer.parseInt(arguments[3]));
    server.start();
    InetSocketAddress address = new InetSocketAddress(arguments[1], Integer.parseInt(arguments[2]));
    new RestApi(cache, security).serve(address);
    System.out.println("READY " + address);
    Thread.currentThread().join();
  }
}
