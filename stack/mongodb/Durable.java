import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.Index;
import de.bwaldvogel.mongo.backend.IndexKey;
import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.h2.H2Database;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import org.h2.mvstore.MVMap;
import org.h2.mvstore.MVStore;

/**
 * The H2 backend, committed only before each response, with {@link Keys} in its indexes.
 *
 * <p>A document and its index entry are in two maps. A commit between the two writes, by the store's timer or for another
 * message, would leave after kill -9 a document that cannot be found and cannot be written again. So the timer is off, and
 * messages that write run one after the other.
 */
final class Durable extends H2Backend {
  private static final Set<String> READS =
      Set.of("find", "getMore", "killCursors", "count", "aggregate", "distinct", "ping", "isMaster", "ismaster", "hello", "buildInfo");

  private final Object writing = new Object();

  Durable(String file) {
    super(new MVStore.Builder().fileName(file).autoCommitDisabled().open());
  }

  @Override
  public Document handleMessage(MongoMessage message) {
    return READS.contains(message.getDocument().keySet().iterator().next())
        ? super.handleMessage(message)
        : committed(() -> super.handleMessage(message));
  }

  @Override
  public Document handleCommand(Channel channel, String database, String command, Document query) {
    return READS.contains(command)
        ? super.handleCommand(channel, database, command, query)
        : committed(() -> super.handleCommand(channel, database, command, query));
  }

  private Document committed(Supplier<Document> work) {
    synchronized (writing) { // reentrant: a message is handled as a command by the same thread
      Document response = work.get();
      commit();
      return response;
    }
  }

  @Override
  protected MongoDatabase openOrCreateDatabase(String name) {
    MVStore store = getMvStore();
    CursorRegistry cursors = getCursorRegistry();
    // A map keeps the type with which it was first opened, so we open ours before the database opens its maps.
    store.getMapNames().stream().filter(map -> isOurs(name, map)).forEach(map -> open(store, map));
    return new H2Database(name, store, cursors) {
      @Override
      protected Index<Object> openOrCreateUniqueIndex(
          String collection, String index, List<IndexKey> keys, boolean isSparse) {
        String map = name + "." + collection + "._index_" + index;
        if (isOurs(name, map)) {
          open(store, map);
        }
        return super.openOrCreateUniqueIndex(collection, index, keys, isSparse);
      }

      @Override
      protected MongoCollection<Object> openOrCreateCollection(String collection, CollectionOptions options) {
        String full = name + "." + collection;
        return new Scanned(
            this, collection, options, store.openMap("databases." + full), store.openMap("meta." + full), cursors);
      }
    };
  }

  private static boolean isOurs(String database, String map) {
    return map.startsWith(database + ".") && !map.startsWith(database + ".system.") && map.contains("._index_");
  }

  private static void open(MVStore store, String map) {
    store.openMap(map, new MVMap.Builder<KeyValue, Object>().keyType(new Keys()));
  }
}
