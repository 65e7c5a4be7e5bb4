package tickhouse.connect.cassandra;

import com.datastax.oss.common.sink.config.CassandraSinkConfig;
import tickhouse.connect.PlainSinkConnector;

/** Sink for Cassandra over the engine of DataStax's Kafka connector; its options are that connector's. */
public final class CassandraSinkConnector extends PlainSinkConnector {
  public CassandraSinkConnector() {
    super(CassandraSinkTask.class, CassandraSinkConfig.GLOBAL_CONFIG_DEF);
  }
}
