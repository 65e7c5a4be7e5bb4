"""Ninety simulated days on real servers: each store stays flat, or grows as declared.

A day has a small share of what a quiet market of 24 symbols brings: bars and their upserts,
documents, Airflow runs with their logs, an audited night of the lake. Days pass in seconds: `now`
is an argument of retention, and dates that a server sets itself (rows, files, index settings) are
set back. The table that this prints is in docs/how-to/retention.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from common.clients import elasticsearch
from common.clients.lakefs import INGEST, repository
from common.settings import Settings
from spark.streaming.candle_sink import CandleStore
from spark.streaming.partial_sums import SymbolStream, partials
from stack.airflow.setup import migrate
from stack.engine.context import ServiceContext
from stack.engine.lifecycle import catalog
from tests.conftest import Stack
from tests.homes import own_home
from tests.integration.retention.airflow_rows import add_dags, add_run, insert
from tests.unit.spark.streaming.test_partial_sums import facts
from tests.unit.spark.trades import Trade
from tickhouse.lake.branches import commit, ensure_work_branch, merge_audited, record_audit
from tickhouse.retention import indices
from tickhouse.retention.airflow import _connected as airflow_database
from tickhouse.retention.declaration import RetentionDeclaration, load
from tickhouse.retention.policies import policies
from tickhouse.retention.policy import StorePlan
from tickhouse.retention.run import apply, plan

pytestmark = [pytest.mark.integration, pytest.mark.long]

DAYS = int(os.environ.get("TICKHOUSE_WEEKS_DAYS", "90"))
SYMBOLS = [f"SYM{number:02}USDT" for number in range(24)]
BARS_PER_DAY = 60
DOCUMENTS_PER_DAY = 480
DAGS = ("lake_commit", "nightly_batch", "connectors", "data_quality", "monitor", "retention")
RUNS_PER_DAY = 12
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
SHOWN = (1, 2, 7, 30, 45, 60, 75, 90)


def declared() -> RetentionDeclaration:
    """Return the declaration with periods so short that sizes settle within 90 days."""
    kept = load()
    names = ("candles", "elasticsearch", "airflow", "data_docs", "bronze", "truth")
    return kept.model_copy(update={name: getattr(kept, name).model_copy(update={"days": 20}) for name in names})


@dataclass
class Weeks:
    """The simulation: adds days, applies retention each night, records bytes and seconds."""

    settings: Settings
    made_at: dict[str, datetime] = field(default_factory=dict)
    bytes: list[dict[str, int]] = field(default_factory=list)
    night_s: list[float] = field(default_factory=list)
    commit_s: list[float] = field(default_factory=list)
    next_id: int = 1

    def bring(self, day: datetime) -> None:
        """Add the data of one day."""
        self._candles(day)
        self._documents(day)
        self._airflow(day)
        self._files(day)
        self._lake(day)

    def _candles(self, day: datetime) -> None:
        store = CandleStore(self.settings.database_dsn("stream"))
        for symbol in SYMBOLS:
            times = [day + timedelta(minutes=24 * number) for number in range(BARS_PER_DAY)]
            made = [
                Trade(self.next_id + number, symbol=symbol, time_us=int(at.timestamp()) * 10**6)
                for number, at in enumerate(times)
            ]
            stream = SymbolStream(made[0].market, symbol, made[0].stream)
            store.apply([row for row in partials(map(facts, made), {stream: []}) if row["is_fresh"]])
        store.close()
        self.next_id += BARS_PER_DAY
        with psycopg.connect(self.settings.database_dsn("owner")) as connection:
            connection.execute(
                "UPDATE market.candles_1m SET updated_at = %s WHERE open_time >= %s AND open_time < %s",
                [day, day, day + timedelta(days=1)],
            )

    def _documents(self, day: datetime) -> None:
        from elasticsearch.helpers import bulk

        index = f"crypto-trades-{day:%Y.%m}"
        self.made_at.setdefault(index, day)
        actions = (
            {
                "_index": index,
                "_id": f"{day:%j}-{number}",
                "symbol": SYMBOLS[number % 24],
                "price": f"{number}.5",
                "trade_time": f"{day:%Y-%m-%d}T00:00:00.000000Z",
            }
            for number in range(DOCUMENTS_PER_DAY)
        )
        with elasticsearch.connected(self.settings, "admin") as client:
            bulk(client, actions)

    def _airflow(self, day: datetime) -> None:
        with airflow_database(self.settings) as connection:
            for dag_id in DAGS:
                for number in range(RUNS_PER_DAY):
                    add_run(connection, dag_id, "success", day + timedelta(hours=number))
            for _ in range(200):
                insert(connection, "log", dttm=day, event="success", extra="x" * 200)

    def _files(self, day: datetime) -> None:
        home = self.settings.home
        for dag_id in DAGS:
            path = home / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={day:%Y-%m-%d}" / "attempt=1.log"
            path.parent.mkdir(parents=True)
            path.write_text("line\n" * 4000)
            os.utime(path, (day.timestamp(), day.timestamp()))
        stream = home / "airflow" / "logs" / "dag_id=stream_trades" / "attempt=1.log"
        stream.parent.mkdir(parents=True, exist_ok=True)
        with stream.open("a") as file:  # a task that never ends
            file.write("line of the stream\n" * 150_000)
        os.utime(stream, (day.timestamp(), day.timestamp()))
        self._report(home / "data_docs" / f"{day:%Y-%m-%d}-tables", day)
        with (home / "truth" / "files.jsonl").open("a") as file:
            file.write(
                json.dumps({"path": f"/{day:%j}", "sha256": "", "market": "spot", "at_s": day.timestamp()}) + "\n"
            )

    def _report(self, site: Path, day: datetime) -> None:
        site.mkdir(parents=True)
        (site / "index.html").write_text("<p>page</p>" * 10_000)
        report = {"at": f"{day:%Y-%m-%dT%H:%M:%SZ}", "commit_id": site.name, "what": "tables", "days": "", "ok": True}
        (site / "report.json").write_text(json.dumps(report | {"broken": []}))

    def _lake(self, day: datetime) -> None:
        bronze = f"bronze/trades/date={day:%Y-%m-%d}/hour=00/crypto.trades-0-0-1.parquet"
        repository(self.settings).branch(INGEST).object(bronze).upload("x" * 20_000, mode="w")
        started = time.monotonic()
        commit(self.settings, INGEST, f"ingest {day:%Y-%m-%d}", {})
        self.commit_s.append(time.monotonic() - started)
        work = f"etl-{day:%Y-%m-%d}"
        ensure_work_branch(self.settings, work)
        silver = f"silver/trades/date={day:%Y-%m-%d}/hour=00/part-0.parquet"
        repository(self.settings).branch(work).object(silver).upload("y" * 10_000, mode="w")
        made = commit(self.settings, work, f"build {day:%Y-%m-%d}", {})
        record_audit(self.settings, work, of=made, ok=True, report="")
        merge_audited(self.settings, work, tag=f"daily-{day:%Y-%m-%d}")
        old = f"etl-{day - timedelta(days=8):%Y-%m-%d}"  # as the policy of branches, whose commits cannot be dated back
        if any(one.id == old for one in repository(self.settings).branches(prefix=old)):
            repository(self.settings).branch(old).delete()

    def night(self, day: datetime) -> list[StorePlan]:
        """Apply retention in the night after a day; remember how long it took and what is left."""
        now = day + timedelta(days=1, hours=3)
        # Commits of the lake cannot be dated back: its weeks are those of bench/weeks_lake.py.
        left_out = ("kafka", "lake", "branches", "scratch")
        chosen = [one for one in policies(self.settings, declared()) if one.store not in left_out]
        started = time.monotonic()
        done = apply(self.settings, chosen, now, lambda line: None)
        self.night_s.append(time.monotonic() - started)
        assert [one.error for one in done if one.error] == []
        self.bytes.append({one.store: one.bytes or 0 for one in plan(chosen, now)})
        return done

    def table(self) -> str:
        """Return bytes per store after the shown nights, and seconds of night and commit."""
        days = [day for day in SHOWN if day <= len(self.bytes)]
        lines = ["| store | " + " | ".join(f"day {day}" for day in days) + " |", "|---|" + "---|" * len(days)]
        for store in self.bytes[0]:
            figures = " | ".join(f"{self.bytes[day - 1][store] / 1e6:.2f} MB" for day in days)
            lines.append(f"| {store} | {figures} |")
        for name, seconds in (("retention apply", self.night_s), ("commit of ingest", self.commit_s)):
            lines.append(f"| {name} | " + " | ".join(f"{seconds[day - 1]:.2f} s" for day in days) + " |")
        return "\n".join(lines)


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with own_home() as home:
        yield Stack(home).up("postgres", "lakefs", "elasticsearch")


def test_sizes_settle_within_ninety_days(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    weeks = Weeks(settings)
    context = ServiceContext(catalog()["airflow"], settings)
    for folder in (context.conf, context.data, settings.home / "truth"):
        folder.mkdir(parents=True, exist_ok=True)
    migrate(context)
    with airflow_database(settings) as connection:
        add_dags(connection, DAGS)
    describe = elasticsearch.describe

    def dated(settings: Settings, pattern: str) -> dict[str, tuple[datetime, int, int]]:
        return {name: (weeks.made_at.get(name, one[0]), *one[1:]) for name, one in describe(settings, pattern).items()}

    monkeypatch.setattr(indices.elasticsearch, "describe", dated)
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        weeks.bring(day)
        weeks.night(day)
        if number + 1 in SHOWN:
            with capsys.disabled():
                sys.stdout.write(f"\n{weeks.table()}\n")

    if DAYS >= 90:
        for store in ("candles", "elasticsearch", "airflow", "task logs", "truth", "data_docs"):
            early = max(one[store] for one in weeks.bytes[44:60])
            late = max(one[store] for one in weeks.bytes[74:90])
            assert late <= 1.3 * early, f"{store}: {early} bytes at most on days 45 to 60, {late} on days 75 to 90"
        assert sorted(weeks.night_s[80:])[5] <= 1.3 * sorted(weeks.night_s[40:50])[5] + 0.5
