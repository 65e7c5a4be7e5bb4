"""`tickhouse lake …` as a person calls it: exact rows of one commit, nothing uncommitted."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from common.clients.lake_manifest_paths import placement
from common.clients.lakefs import repository
from common.settings import Settings
from tests.conftest import Stack
from tests.lakes import empty_branch
from tickhouse.cli import app
from tickhouse.lake.branches import commit

pytestmark = pytest.mark.integration

PRICES = {"BTCUSDT": "60000.12345678", "ETHUSDT": "2500.00000001"}
SCHEMA = pa.schema([("symbol", pa.string()), ("price", pa.decimal128(28, 8)), ("trades", pa.int64())])


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("lakefs")


@pytest.fixture(scope="module")
def branch(settings: Settings) -> str:
    """Return a branch with two days of gold, one of silver, and one bronze file in a manifest."""
    name = f"query-{uuid.uuid4().hex[:8]}"
    empty_branch(settings, name)
    for day in ("2024-08-08", "2024-08-09"):
        put(settings, name, f"gold/candles/date={day}/part-0.parquet", rows(int(day[-1])))
    put(settings, name, "gold/candles/_SUCCESS", None)
    put(settings, name, "silver/trades/date=2024-08-08/hour=07/part-0.parquet", rows(1))
    put(settings, name, "bronze/trades/date=2024-08-08/hour=07/named.parquet", rows(1))
    put(settings, name, "bronze/trades/date=2024-08-08/hour=07/unnamed.parquet", rows(2))
    files = [{"path": "bronze/trades/date=2024-08-08/hour=07/named.parquet", "rows": 2, "bytes": 1}]
    manifest = json.dumps({"topic": "crypto.trades", "rows": 2, "ranges": {}, "files": files})
    repository(settings).branch(name).object("bronze/_manifests/trades/1.json").upload(manifest, mode="w")
    commit(settings, name, "built", {"audit.ok": "true", "audit.report": "http://docs/1"})
    return name


def rows(trades: int) -> pa.Table:
    listed = [{"symbol": name, "price": Decimal(price), "trades": trades} for name, price in PRICES.items()]
    return pa.Table.from_pylist(listed, SCHEMA)


def put(settings: Settings, branch: str, path: str, table: pa.Table | None) -> None:
    body = BytesIO()
    if table is not None:
        pq.write_table(table, body)
    repository(settings).branch(branch).object(path).upload(body.getvalue(), mode="wb")


def lake(*arguments: str, exit_code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["lake", *arguments, "--json"])
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout) if exit_code == 0 else result.stderr


def query(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lake("query", *arguments)["rows"]
    return found


def test_a_table_is_read_as_of_a_commit_with_all_digits(settings: Settings, branch: str) -> None:
    answer = lake("query", "candles", "--as-of", branch)
    assert answer["table"] == "gold/candles"
    assert answer["commit"] == repository(settings).ref(branch).get_commit().id
    assert {"symbol": "BTCUSDT", "price": "60000.12345678", "trades": 9, "date": "2024-08-09"} in answer["rows"]
    assert len(answer["rows"]) == 4

    put(settings, branch, "gold/candles/date=2024-08-10/part-0.parquet", rows(10))
    assert len(query("gold/candles", "--as-of", branch)) == 4
    commit(settings, branch, "one more day", {})
    assert len(query("gold/candles", "--as-of", branch)) == 6
    assert len(query("gold/candles", "--as-of", answer["commit"])) == 4


def test_conditions_columns_and_limit(branch: str) -> None:
    found = query("gold/candles", "--as-of", branch, "--symbol", "btcusdt", "--where", "date=2024-08-08")
    assert found == [{"symbol": "BTCUSDT", "price": "60000.12345678", "trades": 8, "date": "2024-08-08"}]
    dear = query("silver/trades", "--as-of", branch, "--where", "price>=60000.12345678", "--columns", "symbol,hour")
    assert dear == [{"symbol": "BTCUSDT", "hour": "07"}]
    assert query("silver/trades", "--as-of", branch, "--where", "price>60000.12345678") == []
    assert len(query("gold/candles", "--as-of", branch, "--limit", "1")) == 1


def test_of_bronze_only_what_a_manifest_names_is_read(branch: str) -> None:
    assert {row["trades"] for row in query("bronze/trades", "--as-of", branch)} == {1}


def test_a_record_read_twice_is_one_row_and_strays_are_reported(settings: Settings) -> None:
    name = f"reread-{uuid.uuid4().hex[:8]}"
    empty_branch(settings, name)
    for first, until in ((0, 3), (0, 5)):  # the checkpoint was lost in between
        put_batch(settings, name, "2024-08-08", first, until)
    put_batch(settings, name, "2024-08-09", 5, 9)
    stray = "bronze/_manifests/trades/date=2024-08-08/notes.txt"
    repository(settings).branch(name).object(stray).upload("?", mode="w")
    commit(settings, name, "bronze", {})

    found = query("bronze/trades", "--as-of", name, "--limit", "100")
    assert [row["kafka_offset"] for row in found] == list(range(9))
    the_8th = query("bronze/trades", "--as-of", name, "--where", "date=2024-08-08", "--columns", "kafka_offset,date")
    assert the_8th == [{"kafka_offset": offset, "date": "2024-08-08"} for offset in range(5)]
    assert query("bronze/trades", "--as-of", name, "--where", "date>2024-08-09") == []
    assert len(query("bronze/trades", "--as-of", name, "--limit", "6")) == 6
    said = CliRunner().invoke(app, ["lake", "query", "bronze/trades", "--as-of", name, "--json"]).stderr
    assert f"{stray}: stray" in said
    said = CliRunner().invoke(app, ["lake", "query", "bronze/trades", "--as-of", name, "--where", "date=2024-08-09"])
    assert "stray" not in said.stderr, "the folders of other days are not read"


def put_batch(settings: Settings, branch: str, day: str, first: int, until: int) -> None:
    offsets = range(first, until)
    columns = {
        "event_id": [f"e{one}" for one in offsets],
        "kafka_partition": [0] * len(offsets),
        "kafka_offset": offsets,
    }
    path = f"bronze/trades/date={day}/hour=07/crypto.trades-0-{first}-{until}.parquet"
    put(settings, branch, path, pa.table({name: list(values) for name, values in columns.items()}))
    files = [{"path": path, "rows": len(offsets), "bytes": 1}]
    document = {"topic": "crypto.trades", "rows": len(offsets), "ranges": {"0": [first, until]}, "files": files}
    place = placement("trades", f"{first:012d}-{until}.json", [path]).manifest
    repository(settings).branch(branch).object(place).upload(json.dumps(document), mode="w")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "has no table"),
        (("gold/candles", "--where", "price~1"), "Expected a condition"),
        (("gold/candles", "--where", "prize=1"), "Expected one of the columns"),
        (("gold/candles", "--where", "price=dear"), "Expected a decimal128"),
        (("gold/candles", "--columns", "prize"), "Expected one of the columns"),
        (("gold/candles", "--as-of", "nowhere"), "refused the request"),
    ],
)
def test_a_wrong_question_says_what_was_expected(branch: str, arguments: tuple[str, ...], said: str) -> None:
    as_of = () if "--as-of" in arguments else ("--as-of", branch)
    assert said in lake("query", *arguments, *as_of, exit_code=2)


def test_branches_history_and_differences(settings: Settings, branch: str) -> None:
    mine = f"{branch}-mine"
    (made,) = lake("branch", mine, "--from", branch)
    assert made["branch"] == mine
    assert mine in {row["branch"] for row in lake("branch")}
    put(settings, mine, "gold/mine.parquet", rows(1))
    assert [(row["type"], row["path"]) for row in lake("diff", mine)] == [("added", "gold/mine.parquet")]
    (committed,) = lake("commit", mine, "-m", "mine", "--meta", "why=because")
    assert lake("diff", mine) == []
    assert [row["path"] for row in lake("diff", branch, mine)] == ["gold/mine.parquet"]

    newest, *_, oldest = lake("log", mine)
    assert (newest["commit"], newest["metadata"]["why"], newest["audit"]) == (committed["commit"], "because", "")
    assert oldest["parents"] == []
    assert "passed" in {row["audit"] for row in lake("log", mine)}

    assert lake("tag", f"{mine}-tag", mine) == [{"tag": f"{mine}-tag", "commit": committed["commit"]}]
    lake("merge", mine, "--into", branch, "--tag", f"{mine}-merged")
    assert lake("diff", branch, mine) == []
    lake("branch", mine, "--delete")
    assert mine not in {row["branch"] for row in lake("branch")}


def test_a_merge_into_main_needs_an_audit(settings: Settings) -> None:
    mine = f"unaudited-{uuid.uuid4().hex[:8]}"
    lake("branch", mine, "--from", "main")  # as main is now: another test may have published
    put(settings, mine, "gold/mine.parquet", rows(1))
    lake("commit", mine, "-m", "mine")
    assert "no audit" in lake("merge", mine, exit_code=8)


def test_tables_are_shown_to_people(branch: str) -> None:
    for arguments in (("log", branch), ("branch",), ("tag",), ("query", "candles", "--as-of", branch)):
        result = CliRunner().invoke(app, ["lake", *arguments])
        assert result.exit_code == 0, result.output
    assert "60000.12345678" in result.output
