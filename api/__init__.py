"""The read API: what the commands answer, over HTTP, and the live page.

    python -m api --listen 127.0.0.1:21091

One process serves many clients. It reads every store as a role that cannot write, and it answers
whichever store is down (docs/reference/api.md, docs/adr/0032-read-api.md).
"""
