package tickhouse.connect.elasticsearch;

import tickhouse.connect.PlainSinkConnector;

/** Sink for Elasticsearch: documents into dated indices, upsert by id. */
public final class ElasticsearchSinkConnector extends PlainSinkConnector {
  public ElasticsearchSinkConnector() {
    super(ElasticsearchSinkTask.class, ElasticsearchSinkConfig.DEFINITION);
  }
}
