package tickhouse.connect.cassandra;

import com.datastax.oss.common.sink.config.CassandraSinkConfig;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;
import tickhouse.connect.Version;

/** Sink for Cassandra over the engine of DataStax's Kafka connector; its options are that connector's. */
public final class CassandraSinkConnector extends SinkConnector {
  private Map<String, String> properties = Map.of();

  @Override
  public void start(Map<String, String> given) {
    properties = given;
  }

  @Override
  public void stop() {}

  @Override
  public Class<? extends Task> taskClass() {
    return CassandraSinkTask.class;
  }

  @Override
  public List<Map<String, String>> taskConfigs(int maxTasks) {
    return Collections.nCopies(maxTasks, properties);
  }

  @Override
  public ConfigDef config() {
    return CassandraSinkConfig.GLOBAL_CONFIG_DEF;
  }

  @Override
  public String version() {
    return Version.TEXT;
  }
}
