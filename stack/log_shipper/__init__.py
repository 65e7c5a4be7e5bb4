"""Ships the logs of this home to Elasticsearch: a private rsyslog."""
