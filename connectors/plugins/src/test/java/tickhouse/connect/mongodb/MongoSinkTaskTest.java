package tickhouse.connect.mongodb;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.mongodb.MongoCommandException;
import com.mongodb.MongoSocketReadException;
import com.mongodb.MongoTimeoutException;
import com.mongodb.ServerAddress;
import java.util.List;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.bson.BsonDocument;
import org.junit.jupiter.api.Test;
import tickhouse.connect.Outcome;
import tickhouse.connect.Records;
import tickhouse.connect.Task;

class MongoSinkTaskTest {
  private final Task task = new Task();
  private final SinkRecord record = Records.of("a");

  @Test
  void anOutageIsNoFaultOfTheRecord() {
    for (Exception error :
        List.of(new MongoTimeoutException("30 s"), new MongoSocketReadException("reset", new ServerAddress("localhost", 1)))) {
      assertThrows(RetriableException.class, () -> concluded(error));
      assertThrows(RetriableException.class, () -> concluded(new DataException(error)));
    }
    assertEquals(List.of(), task.reported);
  }

  @Test
  void whatTheServerSaysOfOneRecordIsItsFault() {
    concluded(new DataException("v=1, code=11000, message=E11000"));
    assertEquals(List.of(record), task.reported);
  }

  @Test
  void aMissingRightFailsTheTask() {
    BsonDocument answer = BsonDocument.parse("{ok: 0, code: 13, errmsg: 'not authorized'}");
    ConnectException failure =
        assertThrows(
            ConnectException.class, () -> concluded(new MongoCommandException(answer, new ServerAddress("localhost", 1))));
    assertEquals(false, failure instanceof RetriableException);
  }

  private void concluded(Throwable error) {
    Outcome outcome = new Outcome();
    MongoSinkTask.sort(record, error, outcome);
    outcome.conclude(task.context(), task.reporter(), "MongoDB", 1);
  }
}
