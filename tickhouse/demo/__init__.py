"""The demo: a synthetic market through the whole lakehouse, on real servers."""
