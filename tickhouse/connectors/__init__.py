"""Deploy the files of `connectors/` to the Connect worker, and watch the connectors."""
