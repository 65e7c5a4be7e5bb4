"""Unit tests of the lakeFS stand-in."""
