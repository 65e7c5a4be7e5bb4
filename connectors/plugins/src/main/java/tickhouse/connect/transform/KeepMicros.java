package tickhouse.connect.transform;

import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.components.Versioned;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.data.Timestamp;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.transforms.Transformation;
import tickhouse.connect.Version;

/**
 * Turns times in microseconds into timestamps of the store, and keeps the exact value in a second field.
 *
 * <p>Avro's timestamp-micros reaches Connect as a plain int64. The timestamps of Connect, MongoDB and Cassandra have only
 * milliseconds. So {@code trade_time} becomes a timestamp (rounded down), and {@code trade_time_us} has all digits.
 */
public final class KeepMicros<R extends ConnectRecord<R>> implements Transformation<R>, Versioned {
  private static final String FIELDS = "fields";
  private static final ConfigDef DEFINITION =
      new ConfigDef()
          .define(FIELDS, ConfigDef.Type.LIST, ConfigDef.NO_DEFAULT_VALUE, ConfigDef.Importance.HIGH, "Fields with microseconds.");

  private final Map<Schema, Schema> schemas = new ConcurrentHashMap<>();
  private List<String> fields = List.of();

  @Override
  public void configure(Map<String, ?> configs) {
    fields = new AbstractConfig(DEFINITION, configs, false).getList(FIELDS);
  }

  @Override
  public R apply(R record) {
    if (record.value() == null) {
      return record;
    }
    if (!(record.value() instanceof Struct value)) {
      throw new DataException("Expected a record with a schema, was " + record.value().getClass().getName());
    }
    Schema schema = schemas.computeIfAbsent(value.schema(), this::widened);
    return record.newRecord(
        record.topic(), record.kafkaPartition(), record.keySchema(), record.key(), schema, copy(value, schema), record.timestamp());
  }

  private Struct copy(Struct value, Schema schema) {
    Struct copy = new Struct(schema);
    for (Field field : value.schema().fields()) {
      Object found = value.get(field);
      if (!fields.contains(field.name())) {
        copy.put(field.name(), found);
      } else if (found instanceof Long micros) {
        copy.put(field.name(), new Date(Math.floorDiv(micros, 1000L)));
        copy.put(exact(field), micros);
      }
    }
    return copy;
  }

  private Schema widened(Schema schema) {
    SchemaBuilder builder = SchemaBuilder.struct().name(schema.name()).version(schema.version());
    List<String> missing = new ArrayList<>(fields);
    for (Field field : schema.fields()) {
      if (missing.remove(field.name())) {
        boolean optional = field.schema().isOptional();
        builder.field(field.name(), optional ? Timestamp.builder().optional().build() : Timestamp.SCHEMA);
        builder.field(exact(field), optional ? Schema.OPTIONAL_INT64_SCHEMA : Schema.INT64_SCHEMA);
      } else {
        builder.field(field.name(), field.schema());
      }
    }
    if (!missing.isEmpty()) {
      throw new DataException("Expected fields " + missing + " in " + schema.name() + ", were not there");
    }
    return builder.build();
  }

  private static String exact(Field field) {
    return field.name() + "_us";
  }

  @Override
  public ConfigDef config() {
    return DEFINITION;
  }

  @Override
  public String version() {
    return Version.TEXT;
  }

  @Override
  public void close() {
    schemas.clear();
  }
}
