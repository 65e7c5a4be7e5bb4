import de.bwaldvogel.mongo.backend.KeyValue;
import de.bwaldvogel.mongo.backend.ValueComparator;
import java.nio.ByteBuffer;
import java.util.Comparator;
import org.h2.mvstore.WriteBuffer;
import org.h2.mvstore.type.BasicDataType;
import org.h2.mvstore.type.ObjectDataType;
import org.h2.mvstore.type.StringDataType;

/**
 * Index keys that are compared directly. The backend's type serializes both keys for each comparison, a dozen times per
 * write; with 100,000 documents that took four fifths of the server's time.
 */
final class Keys extends BasicDataType<KeyValue> {
  private static final byte TEXT = 0;
  private static final byte OTHER = 1;
  private static final Comparator<Object> ORDER = ValueComparator.asc();

  private final ObjectDataType objects = new ObjectDataType();

  @Override
  public int compare(KeyValue one, KeyValue other) {
    if (isText(one) && isText(other)) {
      return ((String) one.get(0)).compareTo((String) other.get(0));
    }
    for (int at = 0; at < Math.min(one.size(), other.size()); at++) {
      int order = ORDER.compare(one.get(at), other.get(at));
      if (order != 0) {
        return order;
      }
    }
    return Integer.compare(one.size(), other.size());
  }

  @Override
  public int getMemory(KeyValue key) {
    return isText(key) ? 80 + 2 * ((String) key.get(0)).length() : 200;
  }

  @Override
  public void write(WriteBuffer buffer, KeyValue key) {
    if (isText(key)) {
      buffer.put(TEXT);
      StringDataType.INSTANCE.write(buffer, (String) key.get(0));
    } else {
      buffer.put(OTHER);
      objects.write(buffer, key);
    }
  }

  @Override
  public KeyValue read(ByteBuffer buffer) {
    return buffer.get() == TEXT ? new KeyValue(StringDataType.INSTANCE.read(buffer)) : (KeyValue) objects.read(buffer);
  }

  @Override
  public KeyValue[] createStorage(int size) {
    return new KeyValue[size];
  }

  private static boolean isText(KeyValue key) {
    return key.size() == 1 && key.get(0) instanceof String;
  }
}
