package tickhouse.connect;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;

/** A connector that passes its configuration unchanged to each of its tasks. */
public abstract class PlainSinkConnector extends SinkConnector {
  private final Class<? extends Task> task;
  private final ConfigDef definition;
  private Map<String, String> properties = Map.of();

  protected PlainSinkConnector(Class<? extends Task> task, ConfigDef definition) {
    this.task = task;
    this.definition = definition;
  }

  @Override
  public void start(Map<String, String> given) {
    properties = given;
  }

  @Override
  public void stop() {}

  @Override
  public Class<? extends Task> taskClass() {
    return task;
  }

  @Override
  public List<Map<String, String>> taskConfigs(int maxTasks) {
    return Collections.nCopies(maxTasks, properties);
  }

  @Override
  public ConfigDef config() {
    return definition;
  }

  @Override
  public String version() {
    return Version.TEXT;
  }
}
