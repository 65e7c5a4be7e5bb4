"""The lakeFS stand-in: a small server for the part of the lakeFS API and S3 gateway that Tickhouse uses.

It is not lakeFS and shares no code with it. `docs/reference/lakefs-standin.md` says what it covers and what not.
"""
