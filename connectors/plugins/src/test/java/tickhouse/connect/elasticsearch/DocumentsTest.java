package tickhouse.connect.elasticsearch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.charset.StandardCharsets;
import java.util.Set;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.junit.jupiter.api.Test;
import tickhouse.connect.Records;

class DocumentsTest {
  private final Documents documents = documents("yyyy.MM");

  private static Documents documents(String period) {
    return new Documents("crypto-trades-", period, "trade_time", "event_id", Set.of("trade_time"));
  }

  @Test
  void aRecordIsAnActionAndADocument() {
    String lines = new String(documents.lines(Records.of("binance:a")), StandardCharsets.UTF_8);
    assertEquals(
        """
        {"index":{"_index":"crypto-trades-2024.08","_id":"binance:a"}}
        {"event_id":"binance:a","price":"9876543210.12345678","is_sentinel":false,"trade_id":7,"trade_time":"2024-08-08T23:54:00.987654Z"}
        """,
        lines);
  }

  @Test
  void thePeriodIsOfTheEvent() {
    long september = 1_725_148_800_000_000L;
    assertEquals(true, text(documents, september - 1).contains("\"crypto-trades-2024.08\""));
    assertEquals(true, text(documents, september).contains("\"crypto-trades-2024.09\""));
    assertEquals(true, text(documents, september).contains("2024-09-01T00:00:00.000000Z"));
    assertEquals(true, text(documents("yyyy"), september).contains("\"crypto-trades-2024\""));
  }

  @Test
  void aRecordWithoutIdOrTimeIsRefused() {
    assertThrows(DataException.class, () -> documents.lines(Records.of(Records.TRADE, Records.trade(""))));
    Schema other = SchemaBuilder.struct().field("event_id", Schema.STRING_SCHEMA).build();
    assertThrows(DataException.class, () -> documents.lines(Records.of(other, new Struct(other).put("event_id", "a"))));
    assertThrows(DataException.class, () -> documents.lines(Records.of(null, "text")));
  }

  private static String text(Documents documents, long timeUs) {
    Struct value = Records.trade("a").put("trade_time", timeUs);
    return new String(documents.lines(Records.of(Records.TRADE, value)), StandardCharsets.UTF_8);
  }
}
