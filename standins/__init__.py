"""Our servers in place of external ones: the local exchange and the lakeFS stand-in."""
