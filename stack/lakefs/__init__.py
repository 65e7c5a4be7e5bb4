"""How the lakeFS stand-in is started and its repository created.

The server is in standins/lakefs.
"""
