package tickhouse.connect;

import java.math.BigDecimal;
import org.apache.kafka.connect.data.Decimal;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.sink.SinkRecord;

/** Records in the form that the Avro converter produces. */
public final class Records {
  /** 2024-08-08T23:54:00.987654Z. */
  public static final long TIME_US = 1_723_161_240_987_654L;

  public static final Schema TRADE =
      SchemaBuilder.struct()
          .name("tickhouse.EnrichedTrade")
          .field("event_id", Schema.STRING_SCHEMA)
          .field("price", Decimal.schema(8))
          .field("is_sentinel", Schema.BOOLEAN_SCHEMA)
          .field("trade_id", Schema.INT64_SCHEMA)
          .field("trade_time", Schema.INT64_SCHEMA)
          .field("note", Schema.OPTIONAL_STRING_SCHEMA)
          .build();

  private Records() {}

  public static Struct trade(String id) {
    return new Struct(TRADE)
        .put("event_id", id)
        .put("price", new BigDecimal("9876543210.12345678"))
        .put("is_sentinel", false)
        .put("trade_id", 7L)
        .put("trade_time", TIME_US);
  }

  public static SinkRecord of(String id) {
    return of(TRADE, trade(id));
  }

  public static SinkRecord of(Schema schema, Object value) {
    return new SinkRecord("crypto.trades.enriched", 0, null, "key", schema, value, 42);
  }
}
