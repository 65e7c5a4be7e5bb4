import de.bwaldvogel.mongo.MongoDatabase;
import de.bwaldvogel.mongo.backend.AbstractCursor;
import de.bwaldvogel.mongo.backend.CollectionOptions;
import de.bwaldvogel.mongo.backend.Cursor;
import de.bwaldvogel.mongo.backend.CursorRegistry;
import de.bwaldvogel.mongo.backend.DocumentComparator;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Collection;
import de.bwaldvogel.mongo.bson.Document;
import java.util.ArrayList;
import java.util.List;
import java.util.PriorityQueue;
import java.util.stream.Stream;
import org.h2.mvstore.MVMap;

/**
 * A collection that is scanned in batches, and that finds the first documents by an order without holding all of them. The
 * backend's collection holds everything that a query finds.
 */
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
    if (isNone(query) && !isNone(order) && skip == 0 && limit > 0) {
      return super.matchDocumentsFromStream(first(order, limit), query, order, 0, limit, batchSize, fields);
    }
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

  /** Return the first documents by an order; hold only that many in memory. */
  private Stream<Document> first(Document order, int limit) {
    PriorityQueue<Document> last = new PriorityQueue<>(new DocumentComparator(order).reversed());
    for (Document document : documents.values()) {
      last.add(document);
      if (last.size() > limit) {
        last.poll();
      }
    }
    return last.stream();
  }

  private static boolean isNone(Document document) {
    return document == null || document.isEmpty();
  }

  /** Continues after the last key that it returned, so that it holds no old version of the map. */
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
