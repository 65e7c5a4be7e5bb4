"""Exchange to Avro to Kafka: live WebSocket, REST polling, archive replay, gap filling."""
