"""MinIO: an S3 store, the block store of the lake."""
