"""Contract of the lake server: the same cases for the stand-in and, by LAKEFS_ENDPOINT, for real lakeFS."""
