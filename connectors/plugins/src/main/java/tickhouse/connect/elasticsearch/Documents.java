package tickhouse.connect.elasticsearch;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.Date;
import java.util.Locale;
import java.util.Set;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;

/**
 * Converts records to the two lines of a bulk request: the action, then the document.
 *
 * <p>Decimals are written as text in plain digits, so that {@code _source} is exact; the mapping turns them into numbers.
 * Null fields are left out.
 */
final class Documents {
  private static final JsonFactory JSON = new JsonFactory();
  private static final DateTimeFormatter MICROS =
      DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);

  private final String prefix;
  private final DateTimeFormatter period;
  private final String timeField;
  private final String idField;
  private final Set<String> micros;

  /** {@code period} is the {@link DateTimeFormatter} pattern of the time in an index name. */
  Documents(String prefix, String period, String timeField, String idField, Set<String> micros) {
    this.prefix = prefix;
    this.period = DateTimeFormatter.ofPattern(period, Locale.ROOT).withZone(ZoneOffset.UTC);
    this.timeField = timeField;
    this.idField = idField;
    this.micros = micros;
  }

  /** Return both lines, each with a line feed at the end. */
  byte[] lines(SinkRecord record) {
    if (!(record.value() instanceof Struct value)) {
      throw new DataException("Expected a record with a schema, was " + record.value().getClass().getName());
    }
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(640);
    try (JsonGenerator json = JSON.createGenerator(bytes)) {
      json.setRootValueSeparator(null);
      action(json, value);
      json.writeRaw('\n');
      document(json, value);
      json.writeRaw('\n');
    } catch (IOException error) {
      throw new DataException("The record is no JSON: " + error.getMessage(), error);
    }
    return bytes.toByteArray();
  }

  private void action(JsonGenerator json, Struct value) throws IOException {
    json.writeStartObject();
    json.writeObjectFieldStart("index");
    json.writeStringField("_index", prefix + period.format(instant(number(value, timeField))));
    json.writeStringField("_id", text(value, idField));
    json.writeEndObject();
    json.writeEndObject();
  }

  private void document(JsonGenerator json, Struct value) throws IOException {
    for (String field : micros) {
      known(value, field); // a record of another kind must not replace a document with the same id
    }
    json.writeStartObject();
    for (Field field : value.schema().fields()) {
      Object found = value.get(field);
      if (found != null) {
        json.writeFieldName(field.name());
        if (micros.contains(field.name())) {
          json.writeString(MICROS.format(instant(number(value, field.name()))));
        } else {
          write(json, found);
        }
      }
    }
    json.writeEndObject();
  }

  private static void write(JsonGenerator json, Object value) throws IOException {
    if (value instanceof BigDecimal decimal) {
      json.writeString(decimal.toPlainString());
    } else if (value instanceof String text) {
      json.writeString(text);
    } else if (value instanceof Boolean flag) {
      json.writeBoolean(flag);
    } else if (value instanceof Long || value instanceof Integer || value instanceof Short || value instanceof Byte) {
      json.writeNumber(((Number) value).longValue());
    } else if (value instanceof Double || value instanceof Float) {
      json.writeNumber(((Number) value).doubleValue());
    } else if (value instanceof Date date) {
      json.writeString(date.toInstant().toString());
    } else if (value instanceof ByteBuffer || value instanceof byte[]) {
      json.writeBinary(value instanceof byte[] array ? array : ((ByteBuffer) value).array());
    } else {
      throw new DataException("Expected a plain value, was " + value.getClass().getName());
    }
  }

  private static Instant instant(long micros) {
    return Instant.EPOCH.plus(micros, ChronoUnit.MICROS);
  }

  private static long number(Struct value, String field) {
    if (known(value, field) instanceof Long number) {
      return number;
    }
    throw new DataException("Expected microseconds in " + field + ", was " + value.get(field));
  }

  private static String text(Struct value, String field) {
    if (known(value, field) instanceof String text && !text.isEmpty()) {
      return text;
    }
    throw new DataException("Expected an id in " + field + ", was " + value.get(field));
  }

  private static Object known(Struct value, String field) {
    Schema schema = value.schema();
    if (schema.field(field) == null) {
      throw new DataException("Expected a field " + field + " in " + schema.name() + ", was not there");
    }
    return value.get(field);
  }
}
