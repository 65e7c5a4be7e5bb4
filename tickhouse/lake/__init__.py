"""The lake through the official lakeFS client: branches, publication, queries, export."""
