"""`tickhouse sql`: exact answers, nothing that writes; and the comments that psql shows."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from typer.testing import CliRunner

from common.clients.postgres import read_only
from common.errors import ConfigurationError
from common.settings import Settings
from tests.conftest import Stack
from tests.e2e.lakehouse import TICKHOUSE
from tickhouse.cli import app

pytestmark = pytest.mark.integration

_WITHOUT_COMMENT = """
SELECT n.nspname || '.' || c.relname, a.attname
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname IN ('market', 'gold')
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
"""


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("postgres")


def sql(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["sql", *arguments])


def test_digits_and_times_stay_as_they_are(settings: Settings) -> None:
    query = "SELECT 0.10::numeric AS price, timestamptz '2024-08-09 00:00+00' AS at, NULL AS nothing, 3 AS trades"

    result = sql(query, "--json")

    assert json.loads(result.stdout) == [
        {"price": "0.10", "at": "2024-08-09T00:00:00+00:00", "nothing": None, "trades": 3}
    ]
    assert "0.10" in sql(query).stdout


@pytest.mark.parametrize(
    "query", ["SELECT x", "CREATE TABLE gold.mine ()", "DELETE FROM market.candles_1m", "SELECT 1/0"]
)
def test_a_query_that_is_wrong_or_writes_is_refused(settings: Settings, query: str) -> None:
    result = sql(query, "--json")

    assert result.exit_code == ConfigurationError.exit_code
    assert json.loads(result.stdout)["error"]["message"].startswith("PostgreSQL refuses the query: ")


def test_psql_starts_with_the_readers_login(settings: Settings) -> None:
    asked = "\\t on\nSELECT current_user, current_setting('default_transaction_read_only');\n"

    done = subprocess.run([TICKHOUSE, "sql"], input=asked, capture_output=True, text=True, check=True)

    assert [word.strip() for word in done.stdout.splitlines()[-2].split("|")] == ["tickhouse_reader", "on"]


def test_every_table_and_column_of_an_analyst_has_a_comment(settings: Settings) -> None:
    with read_only(settings.database_dsn("reader")) as connection:
        assert connection.execute(_WITHOUT_COMMENT).fetchall() == []
        (meaning,) = connection.execute(
            "SELECT col_description('market.candles'::regclass, attnum) FROM pg_attribute "
            "WHERE attrelid = 'market.candles'::regclass AND attname = 'open_time'"
        ).fetchone() or ("",)
    assert meaning == "start of the minute, UTC"
