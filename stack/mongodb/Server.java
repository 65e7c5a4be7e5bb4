import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.util.List;

/**
 * A MongoDB-compatible server on an H2 file. Arguments: host, port, file.
 *
 * <p>What it answers to is on the file: H2 is committed after every message, because a Connect sink takes an answer for a
 * promise and would not send again what a killed server had only in memory.
 */
public final class Server {
  /** Drivers of today ask for wire version 9 (MongoDB 4.4) or later; the server's own list ends at 8. */
  private record Version() implements MongoVersion {
    @Override
    public List<Integer> getVersionArray() {
      return List.of(5, 0, 0);
    }

    @Override
    public int getWireVersion() {
      return 13;
    }
  }

  public static void main(String[] arguments) {
    H2Backend backend = new Durable(arguments[2]);
    backend.version(new Version());
    MongoServer server = new MongoServer(backend);
    server.bind(arguments[0], Integer.parseInt(arguments[1]));
    Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
    System.out.println("READY " + server.getConnectionString());
  }
}
