package tickhouse.connect.mongodb;

import org.apache.kafka.connect.connector.Task;

/** MongoDB's sink connector with a task that sends no good record to the dead letters while the store is down. */
public final class MongoSinkConnector extends com.mongodb.kafka.connect.MongoSinkConnector {
  @Override
  public Class<? extends Task> taskClass() {
    return MongoSinkTask.class;
  }
}
