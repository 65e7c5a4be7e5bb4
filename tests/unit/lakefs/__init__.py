"""Pure parts of the lakeFS stand-in."""
