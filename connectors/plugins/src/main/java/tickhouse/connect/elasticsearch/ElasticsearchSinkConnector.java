package tickhouse.connect.elasticsearch;

import tickhouse.connect.PlainSinkConnector;

/** Sink for Elasticsearch: writes documents into monthly or yearly indices, as upserts by id. */
public final class ElasticsearchSinkConnector extends PlainSinkConnector {
  public ElasticsearchSinkConnector() {
    super(ElasticsearchSinkTask.class, ElasticsearchSinkConfig.DEFINITION);
  }
}
