"""Metabase's own database on a real server, and the token for Grafana."""

from __future__ import annotations

import stat
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from common.settings import Settings
from compose.boards import TOKEN_FILE, make_metabase_database, write_token

pytestmark = pytest.mark.integration


def test_metabase_gets_a_database_of_its_own_and_no_other(settings: Settings) -> None:
    make_metabase_database(settings, "first")
    make_metabase_database(settings, "second")  # as a later start does

    port = int(settings.database_url.get_secret_value().rpartition(":")[2].partition("/")[0])
    login = {"host": "127.0.0.1", "port": port, "user": "metabase"}
    with psycopg.connect(**login, password="second", dbname="metabase") as connection:  # type: ignore[arg-type]
        connection.execute("CREATE TABLE report_card (id integer)")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(**login, password="first", dbname="metabase")  # type: ignore[arg-type]
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(**login, password="second", dbname="tickhouse")  # type: ignore[arg-type]
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(settings.database_dsn("reader").removesuffix("tickhouse") + "metabase")


def test_the_token_file_is_there_without_influxdb_too(settings: Settings, tmp_path: Path) -> None:
    write_token(settings.model_copy(update={"influxdb_reader_token": SecretStr("unused")}), tmp_path)
    file = tmp_path / TOKEN_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [TOKEN_FILE]
