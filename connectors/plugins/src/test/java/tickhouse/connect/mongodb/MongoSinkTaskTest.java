package tickhouse.connect.mongodb;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.mongodb.MongoCommandException;
import com.mongodb.MongoSocketReadException;
import com.mongodb.MongoTimeoutException;
import com.mongodb.ServerAddress;
import com.mongodb.WriteError;
import com.mongodb.bulk.WriteConcernError;
import com.mongodb.kafka.connect.sink.dlq.WriteConcernException;
import com.mongodb.kafka.connect.sink.dlq.WriteException;
import com.mongodb.kafka.connect.sink.dlq.WriteSkippedException;
import java.util.List;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.sink.SinkRecord;
import org.bson.BsonDocument;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
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
  void whatTheServerSaysOfOneDocumentIsItsFault() {
    concluded(refusal(121, "Document failed validation"));
    concluded(refusal(10334, "BSONObj size is invalid"));
    concluded(new DataException("no id in the value"));
    assertEquals(List.of(record, record, record), task.reported);
  }

  @ParameterizedTest
  @ValueSource(ints = {14031, 91, 189, 10107, 112, 50, 8000, 11000, 987_654})
  void whatTheServerSaysOfItselfIsNoFaultOfTheRecord(int code) {
    assertThrows(RetriableException.class, () -> concluded(refusal(code, "not now")));
    assertEquals(List.of(), task.reported);
  }

  @Test
  void aWriteThatWasSkippedOrNotConfirmedComesAgain() {
    WriteConcernError unconfirmed = new WriteConcernError(64, "WriteConcernTimeout", "late", new BsonDocument());
    for (Exception error : List.of(new WriteSkippedException(), new WriteConcernException(unconfirmed))) {
      assertThrows(RetriableException.class, () -> concluded(error));
    }
    assertEquals(List.of(), task.reported);
  }

  @Test
  void aWriteWithoutTheRightFailsTheTask() {
    ConnectException failure = assertThrows(ConnectException.class, () -> concluded(refusal(13, "not authorized")));
    assertEquals(false, failure instanceof RetriableException);
  }

  private static DataException refusal(int code, String message) {
    return new DataException(new WriteException(new WriteError(code, message, new BsonDocument())));
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
