package tickhouse.connect.transform;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Date;
import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tickhouse.connect.Records;

class KeepMicrosTest {
  private final KeepMicros<SinkRecord> transform = new KeepMicros<>();

  @BeforeEach
  void configure() {
    transform.configure(Map.of("fields", "trade_time"));
  }

  @Test
  void aTimestampAndTheExactValueStandBesideEachOther() {
    Struct value = (Struct) transform.apply(Records.of("a")).value();
    assertEquals(new Date(Records.TIME_US / 1000), value.get("trade_time"));
    assertEquals(Records.TIME_US, value.get("trade_time_us"));
    assertEquals(Records.trade("a").get("price"), value.get("price"));
  }

  @Test
  void timesBefore1970AreFlooredToo() {
    Struct value = (Struct) transform.apply(Records.of(Records.TRADE, Records.trade("a").put("trade_time", -1L))).value();
    assertEquals(new Date(-1), value.get("trade_time"));
  }

  @Test
  void anAbsentTimeStaysAbsent() {
    Schema schema = SchemaBuilder.struct().field("trade_time", Schema.OPTIONAL_INT64_SCHEMA).build();
    Struct value = (Struct) transform.apply(Records.of(schema, new Struct(schema))).value();
    assertNull(value.get("trade_time"));
    assertNull(value.get("trade_time_us"));
  }

  @Test
  void aRecordOfAnotherKindIsRefused() {
    Schema other = SchemaBuilder.struct().field("x", Schema.STRING_SCHEMA).build();
    SinkRecord record = Records.of(other, new Struct(other).put("x", "y"));
    assertThrows(DataException.class, () -> transform.apply(record));
    assertThrows(DataException.class, () -> transform.apply(Records.of(null, "text")));
    assertNull(transform.apply(Records.of(null, null)).value());
  }
}
