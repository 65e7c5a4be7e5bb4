import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.AbstractCursor;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.Cursor;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.List;
import org.h2.mvstore.MVMap;

/** A collection that is read from end to end batch by batch; the backend's own gathers all of it before the first. */
final class Scanned extends H2Collection {
  private final MVMap<Object, Document> documents;
  private final CursorRegistry cursors;

  Scanned(
      MongoDatabase database,
      String name,
      CollectionOptions options,
      MVMap<Object, Document> documents,
      MVMap<String, Object> meta,
      CursorRegistry cursors) {
    super(database, name, options, documents, meta, cursors);
    this.documents = documents;
    this.cursors = cursors;
  }

  @Override
  protected QueryResult matchDocuments(
      Document query, Document order, int skip, int limit, int batchSize, Document fields) {
    boolean isScan = isNone(query) && isNone(order) && isNone(fields) && skip == 0 && limit == 0 && batchSize > 0;
    if (!isScan) {
      return super.matchDocuments(query, order, skip, limit, batchSize, fields);
    }
    Cursor scan = new Scan(cursors.generateCursorId());
    List<Document> first = scan.takeDocuments(batchSize);
    if (scan.isEmpty()) {
      return new QueryResult(first);
    }
    cursors.add(scan);
    return new QueryResult(first, scan);
  }

  private static boolean isNone(Document document) {
    return document == null || document.isEmpty();
  }

  /** Goes on behind the last key it gave, so that it holds no old version of the map. */
  private final class Scan extends AbstractCursor {
    private Object last;

    Scan(long id) {
      super(id);
    }

    @Override
    public boolean isEmpty() {
      return documents.isEmpty() || (last != null && documents.higherKey(last) == null);
    }

    @Override
    public List<Document> takeDocuments(int count) {
      List<Document> taken = new ArrayList<>();
      var cursor = documents.cursor(last == null ? documents.firstKey() : documents.higherKey(last));
      while (taken.size() < count && cursor.hasNext()) {
        last = cursor.next();
        taken.add(cursor.getValue());
      }
      return taken;
    }
  }
}
