"""Symbols, latest trades, movers, statistics, volatility, the lake's history."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from api.models import AnswerPage, CommitAnswer, LakeAudit, Latest, Mover, Statistics, SymbolAnswer, Volatility
from common.clients.lakefs import repository
from common.clients.latest_prices import latest_trade
from common.event_ids import StreamName
from tests.eventually import eventually
from tests.integration.api.conftest import BRANCH, CHINESE, Api
from tickhouse.lake.branches import commit, ensure_branch

pytestmark = pytest.mark.integration


def test_symbols_with_their_pair(api: Api) -> None:
    rows = api.data("/v1/symbols", limit=2)

    AnswerPage[SymbolAnswer].model_validate({"data": rows, "next": None})
    found = {(row["market"], row["symbol"]): row for row in rows}
    assert (found["spot", CHINESE]["base"], found["spot", CHINESE]["quote"]) == ("币安测试", "USDT")
    assert (found["coinm", "APIUSD_PERP"]["base"], found["coinm", "APIUSD_PERP"]["quote"]) == ("API", "USD")
    assert len(found) == len(rows)
    assert [row["symbol"] for row in api.data("/v1/symbols", market="spot", search="apius")] == ["APIUSDT"]


def test_latest_is_what_redis_holds(api: Api) -> None:
    (row,) = api.data("/v1/latest", market="spot", symbol=CHINESE)

    stored = latest_trade(api.settings.redis_dsn(), StreamName("spot", CHINESE, "aggTrade"))
    names = {"price": "price", "average_1m": "minute_average", "event_id": "event_id"}
    assert {name: row[name] for name in names} == {name: stored[field] for name, field in names.items()}
    Latest.model_validate(row)


def test_movers_and_statistics_add_up(api: Api) -> None:
    (row,) = api.data("/v1/statistics", market="spot", symbol="APIUSDT")
    AnswerPage[Statistics].model_validate({"data": [row], "next": None})
    minutes = api.data("/v1/candles", market="spot", symbol="APIUSDT", from_=row["from"], to=row["to"])

    assert row["trades"] == sum(minute["trades"] for minute in minutes)
    assert Decimal(row["quote_volume"]) == sum(Decimal(minute["quote_volume"]) for minute in minutes)
    assert (row["open"], row["close"]) == (minutes[0]["open"], minutes[-1]["close"])
    assert row["high"] == max((minute["high"] for minute in minutes), key=Decimal)
    change = (Decimal(row["close"]) - Decimal(row["open"])) / Decimal(row["open"]) * 100
    assert Decimal(row["change_percent"]) == round(change, 8)
    movers = api.data("/v1/movers", market="coinm", window="7d")
    AnswerPage[Mover].model_validate({"data": movers, "next": None})
    assert [one["symbol"] for one in movers] == ["APIUSD_PERP"]


def test_volatility_of_the_published_tables(api: Api) -> None:
    assert_empty_or_valid(api.data("/v1/volatility"))
    row = ("spot", "APIUSDT", "2024-08-11", 3, "0.000000000001", "0.000001", None)
    with psycopg.connect(api.settings.database_dsn("batch")) as connection:
        connection.execute("DELETE FROM gold.volatility WHERE symbol = 'APIUSDT'")
        connection.execute("INSERT INTO gold.volatility VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
        connection.execute(
            "INSERT INTO gold.source (commit_id) VALUES ('abc') "
            "ON CONFLICT (only_row) DO UPDATE SET commit_id = excluded.commit_id"
        )
    try:
        answer = api.get("/v1/volatility", symbol="apiusdt", market="spot")
        assert answer.headers["X-Lake-Commit"] == "abc"
        (found,) = answer.json()["data"]
        assert (found["variance"], found["volatility"], found["span"]) == (
            *("0.000000000001000000000000", "0.000001000000"), None,
        )  # fmt: skip
        assert_empty_or_valid([found])
    finally:
        with psycopg.connect(api.settings.database_dsn("batch")) as connection:
            connection.execute("DELETE FROM gold.volatility WHERE symbol = 'APIUSDT'")
            connection.execute("DELETE FROM gold.source WHERE commit_id = 'abc'")


def assert_empty_or_valid(rows: list[dict[str, Any]]) -> None:
    AnswerPage[Volatility].model_validate({"data": rows, "next": None})


def test_commits_page_by_page_and_audits(api: Api, lake_commit: str) -> None:
    rows = api.data("/v1/lake/commits", ref=BRANCH, limit=1)
    page = httpx.get(f"{api.url}/commits/{rows[0]['commit']}", trust_env=False, timeout=60)
    assert rows[0]["commit"] in page.text, "a link from Airflow has no key"
    assert httpx.get(f"{api.url}/commits/{'0' * 64}", trust_env=False, timeout=60).status_code == 404
    AnswerPage[CommitAnswer].model_validate({"data": rows, "next": None})
    assert rows[0]["commit"] == lake_commit
    assert rows[0]["message"] == "candles of the API's tests"
    assert len({row["commit"] for row in rows}) == len(rows) > 1

    audits = api.data("/v1/lake/audits", ref=BRANCH)
    AnswerPage[LakeAudit].model_validate({"data": audits, "next": None})
    assert audits == [] or all(one["ok"] in (True, False) for one in audits)


def test_a_branch_is_followed(api: Api, lake_commit: str) -> None:
    name = f"{BRANCH}-{uuid.uuid4().hex[:8]}"
    ensure_branch(api.settings, name, lake_commit)
    first = api.get("/v1/lake/commits", ref=name).headers["X-Lake-Commit"]
    repository(api.settings).branch(name).object("gold/note.txt").upload(b"x", mode="wb")
    moved = commit(api.settings, name, "moved", {})

    assert first == lake_commit
    eventually(lambda: api.get("/v1/lake/commits", ref=name).headers["X-Lake-Commit"] == moved)
