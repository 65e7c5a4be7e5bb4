package tickhouse.connect.mongodb;

import org.apache.kafka.connect.connector.Task;

/** MongoDB's own sink connector with a task that keeps good records out of the dead letters while the store is away. */
public final class MongoSinkConnector extends com.mongodb.kafka.connect.MongoSinkConnector {
  @Override
  public Class<? extends Task> taskClass() {
    return MongoSinkTask.class;
  }
}
