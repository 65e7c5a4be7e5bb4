"""The lakeFS stand-in: a server for the part of lakeFS's API and S3 gateway that Tickhouse uses.

It is not lakeFS and shares no code with it. `docs/reference/lakefs-standin.md` lists what it covers
and what it does not.
"""
