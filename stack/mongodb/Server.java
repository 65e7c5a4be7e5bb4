import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.util.List;

/**
 * A MongoDB-compatible server on an H2 file. Arguments: host, port, file.
 *
 * <p>A confirmed write is in the file: H2 is committed after every message, because a Connect sink does not send a
 * confirmed record again when the server is killed.
 */
public final class Server {
  /** Current drivers need wire version 9 (MongoDB 4.4) or later; the server's own list ends at 8. */
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
