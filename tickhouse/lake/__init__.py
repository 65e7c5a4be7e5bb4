"""The lake through the official lakeFS client: manifests, commits."""
