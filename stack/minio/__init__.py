"""How MinIO is started; it can be the block store of the lake."""
