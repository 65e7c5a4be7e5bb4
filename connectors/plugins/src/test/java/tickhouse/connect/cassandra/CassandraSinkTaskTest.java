package tickhouse.connect.cassandra;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.datastax.oss.common.sink.AbstractSchema;
import com.datastax.oss.common.sink.AbstractSinkRecord;
import com.datastax.oss.common.sink.AbstractStruct;
import com.datastax.oss.driver.api.core.DriverTimeoutException;
import com.datastax.oss.driver.api.core.NoNodeAvailableException;
import com.datastax.oss.driver.api.core.servererrors.InvalidQueryException;
import com.datastax.oss.driver.api.core.servererrors.UnauthorizedException;
import java.util.List;
import java.util.concurrent.CompletionException;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;
import tickhouse.connect.Outcome;
import tickhouse.connect.Records;
import tickhouse.connect.Task;

class CassandraSinkTaskTest {
  private final Task task = new Task();
  private final SinkRecord record = Records.of("a");

  @Test
  void anOutageIsNoFaultOfTheRecord() {
    for (Exception error : List.of(new DriverTimeoutException("slow"), new NoNodeAvailableException())) {
      assertThrows(RetriableException.class, () -> concluded(new CompletionException(error)));
    }
    assertEquals(List.of(), task.reported);
  }

  @Test
  void whatCassandraRefusesIsTheRecordsFault() {
    concluded(new CompletionException(new InvalidQueryException(null, "Key may not be empty")));
    concluded(new IllegalArgumentException("no number"));
    assertEquals(List.of(record, record), task.reported);
  }

  @Test
  void aMissingRightOrTableFailsTheTask() {
    for (Exception error :
        List.of(new UnauthorizedException(null, "no MODIFY"), new InvalidQueryException(null, "unconfigured table trades"))) {
      ConnectException failure = assertThrows(ConnectException.class, () -> concluded(error));
      assertEquals(false, failure instanceof RetriableException);
    }
  }

  @Test
  void aFullNodeIsNoFaultOfTheRecord() {
    String full = "Guardrail diskUsage violated: Write request failed because disk usage exceeds failure threshold";
    assertThrows(RetriableException.class, () -> concluded(new InvalidQueryException(null, full)));
    assertEquals(List.of(), task.reported);
  }

  @Test
  void anotherTableThanTheFileSaysFailsTheTask() {
    for (String text : List.of("Undefined column name qty in table market.trades", "keyspace market does not exist")) {
      ConnectException failure =
          assertThrows(ConnectException.class, () -> concluded(new InvalidQueryException(null, text)));
      assertEquals(false, failure instanceof RetriableException);
    }
  }

  @Test
  void decimalsGoAsTextWithAllDigits() {
    AbstractSinkRecord row = Adapters.of(record);
    AbstractStruct value = (AbstractStruct) row.value();
    assertEquals("9876543210.12345678", value.get("price"));
    assertEquals(AbstractSchema.Type.STRING, value.schema().field("price").schema().type());
    assertEquals(Records.TIME_US, value.get("trade_time"));
    assertEquals(record, Adapters.recordOf(row));
  }

  private void concluded(Throwable error) {
    Outcome outcome = new Outcome();
    CassandraSinkTask.sort(record, error, outcome);
    outcome.conclude(task.context(), task.reporter(), "Cassandra", 1);
  }
}
