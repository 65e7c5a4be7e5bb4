package tickhouse.connect.cassandra;

import com.datastax.oss.common.sink.AbstractField;
import com.datastax.oss.common.sink.AbstractSchema;
import com.datastax.oss.common.sink.AbstractSinkRecord;
import com.datastax.oss.common.sink.AbstractSinkRecordHeader;
import com.datastax.oss.common.sink.AbstractStruct;
import java.math.BigDecimal;
import java.time.ZoneOffset;
import java.util.Date;
import java.util.List;
import org.apache.kafka.connect.data.Decimal;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.data.Time;
import org.apache.kafka.connect.sink.SinkRecord;

/** Adapts Connect's records to the engine: decimals and dates as text, which it parses exactly; timestamps in ms. */
final class Adapters {
  private Adapters() {}

  static AbstractSinkRecord of(SinkRecord record) {
    return new Row(record);
  }

  static SinkRecord recordOf(AbstractSinkRecord row) {
    return ((Row) row).record;
  }

  private static Object adapted(Object value) {
    return value instanceof Struct struct ? new Fields(struct) : value;
  }

  private record Row(SinkRecord record) implements AbstractSinkRecord {
    @Override
    public Iterable<AbstractSinkRecordHeader> headers() {
      return List.of();
    }

    @Override
    public Object key() {
      return adapted(record.key());
    }

    @Override
    public Object value() {
      return adapted(record.value());
    }

    @Override
    public Long timestamp() {
      return record.timestamp();
    }

    @Override
    public String topic() {
      return record.topic();
    }
  }

  private record Fields(Struct struct) implements AbstractStruct {
    @Override
    public Object get(String name) {
      Object value = struct.get(name);
      if (value instanceof BigDecimal decimal) {
        return decimal.toPlainString();
      }
      return value instanceof Date date ? time(struct.schema().field(name).schema(), date) : adapted(value);
    }

    @Override
    public AbstractSchema schema() {
      return new Types(struct.schema());
    }
  }

  private static Object time(Schema schema, Date date) {
    if (org.apache.kafka.connect.data.Date.LOGICAL_NAME.equals(schema.name())) {
      return date.toInstant().atZone(ZoneOffset.UTC).toLocalDate().toString();
    }
    if (Time.LOGICAL_NAME.equals(schema.name())) {
      return date.toInstant().atZone(ZoneOffset.UTC).toLocalTime().toString();
    }
    return date.getTime();
  }

  private record Types(Schema schema) implements AbstractSchema {
    private static final List<String> AS_TEXT =
        List.of(Decimal.LOGICAL_NAME, org.apache.kafka.connect.data.Date.LOGICAL_NAME, Time.LOGICAL_NAME);

    @Override
    public AbstractSchema valueSchema() {
      return new Types(schema.valueSchema());
    }

    @Override
    public AbstractSchema keySchema() {
      return new Types(schema.keySchema());
    }

    @Override
    public Type type() {
      boolean isText = schema.name() != null && AS_TEXT.contains(schema.name());
      return isText ? Type.STRING : Type.valueOf(schema.type().name());
    }

    @Override
    public List<? extends AbstractField> fields() {
      return schema.fields().stream().map(Column::new).toList();
    }

    @Override
    public AbstractField field(String name) {
      Field field = schema.field(name);
      return field == null ? null : new Column(field);
    }
  }

  private record Column(Field field) implements AbstractField {
    @Override
    public String name() {
      return field.name();
    }

    @Override
    public AbstractSchema schema() {
      return new Types(field.schema());
    }
  }
}
