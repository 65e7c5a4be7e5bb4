"""The contract suite of lakeFS, for the stand-in or the real server (LAKEFS_ENDPOINT)."""
