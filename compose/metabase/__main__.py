"""Set Metabase up: `python -m compose.metabase`. It runs at every start and is idempotent.

It reads METABASE_URL and METABASE_ADMIN_PASSWORD of its environment, and the login of the role
`tickhouse_reader` of PostgreSQL from the settings.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import unquote, urlsplit

from common.errors import TickhouseError
from common.settings import load_settings
from compose.metabase.client import MetabaseClient
from compose.metabase.files import read_dashboards
from compose.metabase.setup import make_dashboards, make_database


def main() -> int:
    """Make everything and return the exit code."""
    client = MetabaseClient(os.environ["METABASE_URL"], os.environ["METABASE_ADMIN_PASSWORD"])
    try:
        is_first = client.sign_in()
        database = make_database(client, _login())
        counts = make_dashboards(client, database, read_dashboards())
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    finally:
        client.close()
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    sys.stderr.write(f"Metabase: {'first-run set-up done; ' if is_first else ''}cards and dashboards: {words}\n")
    return 0


def _login() -> dict[str, str | int]:
    """Return the login of the role that may only read."""
    parts = urlsplit(load_settings().database_dsn("reader"))
    return {
        "host": parts.hostname or "",
        "port": parts.port or 5432,
        "dbname": parts.path.removeprefix("/"),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }


if __name__ == "__main__":
    sys.exit(main())
