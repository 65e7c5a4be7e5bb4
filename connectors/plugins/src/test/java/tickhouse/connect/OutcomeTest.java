package tickhouse.connect;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.util.List;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.junit.jupiter.api.Test;

class OutcomeTest {
  private final Task task = new Task();
  private final Outcome outcome = new Outcome();

  @Test
  void refusedRecordsGoToTheDeadLetters() {
    SinkRecord bad = Records.of("bad");
    outcome.refused(bad, new DataException("no"));
    outcome.conclude(task.context(), task.reporter(), "A store", 7);
    assertEquals(List.of(bad), task.reported);
  }

  @Test
  void nothingIsReportedWhileTheStoreIsAway() {
    outcome.refused(Records.of("bad"), new DataException("no"));
    outcome.away(new IOException("down"));
    assertThrows(RetriableException.class, () -> outcome.conclude(task.context(), task.reporter(), "A store", 7));
    assertEquals(List.of(), task.reported);
    assertEquals(7, task.timeoutMs);
  }

  @Test
  void aWrongConfigurationFailsTheTaskAndBlamesNoRecord() {
    outcome.away(new IOException("down"));
    outcome.misconfigured(new IOException("401"));
    ConnectException failure =
        assertThrows(ConnectException.class, () -> outcome.conclude(task.context(), task.reporter(), "A store", 7));
    assertEquals(false, failure instanceof RetriableException);
    assertEquals(List.of(), task.reported);
  }

  @Test
  void withoutDeadLettersARefusalFailsTheTask() {
    outcome.refused(Records.of("bad"), new DataException("no"));
    assertThrows(ConnectException.class, () -> outcome.conclude(task.context(), null, "A store", 7));
  }
}
