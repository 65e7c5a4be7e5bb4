package tickhouse.connect.transform;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Map;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tickhouse.connect.Records;

class FillAbsentTest {
  private final FillAbsent<SinkRecord> transform = new FillAbsent<>();

  @BeforeEach
  void configure() {
    transform.configure(Map.of("field", "source", "value", "EXCHANGE"));
  }

  @Test
  void anOlderRecordGetsTheField() {
    Struct value = (Struct) transform.apply(Records.of("a")).value();
    assertEquals("EXCHANGE", value.get("source"));
    assertEquals(Records.trade("a").get("price"), value.get("price"));
    assertEquals("a", value.get("event_id"));
  }

  @Test
  void aRecordThatHasTheFieldPassesAsItIs() {
    Schema schema = SchemaBuilder.struct().field("source", Schema.STRING_SCHEMA).build();
    SinkRecord record = Records.of(schema, new Struct(schema).put("source", "SIMULATED"));
    assertSame(record, transform.apply(record));
  }

  @Test
  void aRecordOfAnotherKindIsRefused() {
    assertThrows(DataException.class, () -> transform.apply(Records.of(null, "text")));
    assertNull(transform.apply(Records.of(null, null)).value());
  }
}
