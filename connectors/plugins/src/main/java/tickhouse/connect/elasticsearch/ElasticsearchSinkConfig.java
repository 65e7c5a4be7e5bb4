package tickhouse.connect.elasticsearch;

import java.util.Map;
import org.apache.kafka.common.config.AbstractConfig;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.config.ConfigDef.Importance;
import org.apache.kafka.common.config.ConfigDef.NonEmptyString;
import org.apache.kafka.common.config.ConfigDef.Range;
import org.apache.kafka.common.config.ConfigDef.Type;
import org.apache.kafka.common.config.ConfigDef.ValidString;

/** The options of the Elasticsearch sink, which the worker uses to validate a connector file. */
final class ElasticsearchSinkConfig extends AbstractConfig {
  static final String URL = "connection.url";
  static final String USERNAME = "connection.username";
  static final String PASSWORD = "connection.password";
  static final String INDEX_PREFIX = "index.prefix";
  static final String INDEX_PERIOD = "index.period";
  static final String INDEX_TIME = "index.time.field";
  static final String ID_FIELD = "id.field";
  static final String MICROS = "micros.fields";
  static final String BATCH_SIZE = "batch.size";
  static final String TIMEOUT_MS = "request.timeout.ms";
  static final String BACKOFF_MS = "retry.backoff.ms";

  static final ConfigDef DEFINITION =
      new ConfigDef()
          .define(URL, Type.STRING, ConfigDef.NO_DEFAULT_VALUE, new NonEmptyString(), Importance.HIGH, "http://host:port")
          .define(USERNAME, Type.STRING, "", Importance.HIGH, "User name; empty when the server needs no login.")
          .define(PASSWORD, Type.PASSWORD, "", Importance.HIGH, "Password of the user.")
          .define(INDEX_PREFIX, Type.STRING, ConfigDef.NO_DEFAULT_VALUE, new NonEmptyString(), Importance.HIGH,
              "Start of the index names; the period of the time field follows.")
          .define(INDEX_PERIOD, Type.STRING, "yyyy.MM", ValidString.in("yyyy.MM", "yyyy"), Importance.HIGH,
              "Period of one index in UTC: a month or a year. A node holds 1,000 shards, too few for daily indices.")
          .define(INDEX_TIME, Type.STRING, ConfigDef.NO_DEFAULT_VALUE, new NonEmptyString(), Importance.HIGH,
              "Field with the event time in microseconds since 1970; it chooses the index, so a repeat replaces itself.")
          .define(ID_FIELD, Type.STRING, ConfigDef.NO_DEFAULT_VALUE, new NonEmptyString(), Importance.HIGH,
              "Field whose value is the document's _id.")
          .define(MICROS, Type.LIST, "", Importance.MEDIUM,
              "Fields with microseconds since 1970, written as ISO 8601 with six decimals (for date_nanos); all are required.")
          .define(BATCH_SIZE, Type.INT, 1000, Range.between(1, 10_000), Importance.LOW, "Documents per bulk request.")
          .define(TIMEOUT_MS, Type.INT, 30_000, Range.atLeast(1), Importance.LOW, "Timeout of one bulk request.")
          .define(BACKOFF_MS, Type.LONG, 2_000L, Range.atLeast(0), Importance.LOW, "Pause before a batch is delivered again.");

  ElasticsearchSinkConfig(Map<String, String> properties) {
    super(DEFINITION, properties, false);
  }
}
