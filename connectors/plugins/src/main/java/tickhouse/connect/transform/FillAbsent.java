package tickhouse.connect.transform;

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
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.transforms.Transformation;
import tickhouse.connect.Version;

/**
 * Adds a text field to records whose schema is too old to have it; other records are not changed.
 *
 * <p>A record reaches Connect in the schema that it was written with, so the default of a newer schema does not apply, and
 * the Cassandra connector refuses a record without a field of its mapping.
 */
public final class FillAbsent<R extends ConnectRecord<R>> implements Transformation<R>, Versioned {
  private static final String FIELD = "field";
  private static final String VALUE = "value";
  private static final ConfigDef DEFINITION =
      new ConfigDef()
          .define(FIELD, ConfigDef.Type.STRING, ConfigDef.NO_DEFAULT_VALUE, ConfigDef.Importance.HIGH, "The field.")
          .define(VALUE, ConfigDef.Type.STRING, ConfigDef.NO_DEFAULT_VALUE, ConfigDef.Importance.HIGH, "Its text where it is absent.");

  private final Map<Schema, Schema> schemas = new ConcurrentHashMap<>();
  private String name = "";
  private String text = "";

  @Override
  public void configure(Map<String, ?> configs) {
    AbstractConfig config = new AbstractConfig(DEFINITION, configs, false);
    name = config.getString(FIELD);
    text = config.getString(VALUE);
  }

  @Override
  public R apply(R record) {
    if (record.value() == null) {
      return record;
    }
    if (!(record.value() instanceof Struct value)) {
      throw new DataException("Expected a record with a schema, was " + record.value().getClass().getName());
    }
    if (value.schema().field(name) != null) {
      return record;
    }
    Schema schema = schemas.computeIfAbsent(value.schema(), this::widened);
    Struct copy = new Struct(schema);
    for (Field field : value.schema().fields()) {
      copy.put(field.name(), value.get(field));
    }
    copy.put(name, text);
    return record.newRecord(
        record.topic(), record.kafkaPartition(), record.keySchema(), record.key(), schema, copy, record.timestamp());
  }

  private Schema widened(Schema schema) {
    SchemaBuilder builder = SchemaBuilder.struct().name(schema.name()).version(schema.version());
    for (Field field : schema.fields()) {
      builder.field(field.name(), field.schema());
    }
    return builder.field(name, Schema.STRING_SCHEMA).build();
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
