"""Each log source, and messages of no known form, become documents that the index takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.settings import REPO
from stack.engine.lifecycle import catalog
from tickhouse.logs.file_search import search_files
from tickhouse.logs.parsing import FIELDS, LogDocument, parse_message
from tickhouse.logs.query import LogQuery
from tickhouse.logs.rsyslog_sender import NotStored, answers, is_temporary
from tickhouse.logs.sources import LEVELS, log_sources

SAMPLES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "samples.yaml").read_text())
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
TEMPLATE = json.loads((REPO / "connectors" / "elasticsearch" / "tickhouse-logs.json").read_text())
# Sources without a sample: our processes, whose lines are made by the same code, other processes of
# Airflow, and servers that print a few lines of no form.
OURS = {
    "alert_bridge",
    "alert_watcher",
    "api",
    "exchange",
    "lake_gate",
    "lakefs",
    "notification_worker",
    "store_metrics",
}
WITHOUT_FORM = {"log_shipper", "minio", "rabbitmq_epmd"}
LIKE_SCHEDULER = {"airflow-dag-processor", "airflow-triggerer"}


def parse(text: str, path: str = "logs/kafka.log", offset: int = 0) -> LogDocument:
    return parse_message(log_sources(), path, text, offset, NOW)


def mapped(properties: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, one in properties.items():
        if "properties" in one:
            yield from mapped(one["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("source", SAMPLES)
def test_a_real_line_gives_its_fields(source: str) -> None:
    sample = SAMPLES[source]

    document = parse(sample["text"], sample.get("path", f"logs/{source}.log"))

    assert document.is_parsed
    assert {name: document.fields.get(name) for name in sample["fields"]} == sample["fields"]
    assert document.fields["@timestamp"].startswith(sample["at"])


@pytest.mark.parametrize("source", SAMPLES)
def test_the_start_of_a_message_is_seen_where_rsyslog_sees_it(source: str) -> None:
    formats = log_sources().source_of(SAMPLES[source].get("path", f"logs/{source}.log"))[1]
    starts = [re.compile(one.start.replace("[[]", r"\[")) for one in formats]
    first, *others = SAMPLES[source]["text"].split("\n")

    assert any(start.match(first) for start in starts)
    assert not any(start.match(line) for start in starts for line in others)


def test_every_program_of_the_stack_is_declared_and_sampled() -> None:
    programs = {name for service in catalog().values() for name in service.all_programs()} | {"supervisord"}

    assert log_sources().programs.keys() == programs
    assert programs - SAMPLES.keys() == OURS | WITHOUT_FORM | LIKE_SCHEDULER


def test_the_index_has_exactly_the_fields_that_the_parser_makes() -> None:
    mappings = TEMPLATE["template"]["mappings"]

    assert mappings["dynamic"] == "strict"
    assert set(mapped(mappings["properties"])) == FIELDS | {"labels"}


def test_no_start_has_a_backslash_because_rsyslog_would_read_it_as_an_escape() -> None:
    assert [name for name, one in log_sources().formats.items() if "\\" in one.start or '"' in one.start] == []


@given(st.text(), st.sampled_from([*log_sources().programs, "no_such_program"]))
def test_any_text_becomes_a_document_that_the_index_takes(text: str, program: str) -> None:
    document = parse(text, f"logs/{program}.log")

    assert document.fields.keys() <= FIELDS | {"labels"}
    assert document.fields["log.level"] in LEVELS
    json.dumps(document.fields)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner) | st.dictionaries(st.text(), inner)


JSON_VALUES = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), nested)
JSON_LINES = st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(), JSON_VALUES)


@given(JSON_LINES, st.sampled_from(["api", "airflow-scheduler"]))
def test_any_json_line_becomes_a_document_that_the_index_takes(line: dict[str, Any], program: str) -> None:
    document = parse(json.dumps(line), f"logs/{program}.log")

    assert document.fields.keys() <= FIELDS | {"labels"}
    assert re.fullmatch(r"\d{4}\.\d\d\.\d\d", document.day)


def test_a_repeated_message_has_the_same_id_wherever_it_is_read_again() -> None:
    line = "2026-11-30T10:40:05,869 INFO Test: once"

    assert parse(line, offset=0).id == parse(line, offset=40).id
    assert parse(line).id != parse(line.replace("869", "870")).id
    assert parse(line).id != parse(line, "logs/connect.log").id


def test_a_line_of_the_driver_is_one_message_in_both_logs_of_airflow() -> None:
    sample = SAMPLES["spark-stream"]
    of_scheduler = json.dumps({**json.loads(sample["text"]), "ti_id": None}, separators=(",", ":"))

    assert parse(sample["text"], sample["path"]).id == parse(of_scheduler, "logs/airflow-scheduler.log").id


def test_a_message_without_a_time_is_known_by_its_place() -> None:
    assert parse("READY", offset=0).id != parse("READY", offset=6).id
    assert parse("READY").fields["@timestamp"].startswith("2026-11-30T12:00:00")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("2026-11-30T10:40:05,869 INFO A: to postgresql://owner:hunter2@127.0.0.1/market", "hunter2"),
        ("2026-11-30T10:40:05,869 INFO A: sasl.password=hunter2, port=1", "hunter2"),
        ("2026-11-30T10:40:05,869 INFO A: {'secret': 'hunter2'}", "hunter2"),
        ("no form: token: hunter2", "hunter2"),
    ],
)
def test_a_secret_is_masked(text: str, secret: str) -> None:
    assert secret not in json.dumps(parse(text).fields)


def rsyslog_lines() -> list[bytes]:
    metadata = {"filename": "/h/logs/kafka.log", "fileoffset": "7"}
    good = {"rawmsg": "x", "timegenerated": "2026-11-30T10:42:49.029840+00:00", "$!": {"metadata": metadata}}
    return [b"BEGIN\n", json.dumps(good).encode(), b"no json \xff", b"[]", b'{"$!": 1}', b"COMMIT\n"]


def test_a_batch_is_confirmed_when_it_is_stored() -> None:
    stored: list[list[LogDocument]] = []
    pauses: list[float] = []

    found = list(answers(log_sources(), Path("/h"), rsyslog_lines(), stored.append, pauses.append))

    assert found == ["OK", "OK", *["DEFER_COMMIT"] * 4, "OK"]
    assert [one.fields["log.file.path"] for one in stored[0]][:1] == ["logs/kafka.log"]
    assert all(one.id and one.fields["message"] for one in stored[0])


def test_a_batch_that_is_not_stored_is_not_confirmed() -> None:
    pauses: list[float] = []

    def fail(_: list[LogDocument]) -> None:
        raise NotStored("down\nand out")

    found = list(answers(log_sources(), Path("/h"), rsyslog_lines() * 2, fail, pauses.append))

    assert found[-1] == "Error: down and out"
    assert pauses == [2.0, 4.0]


@pytest.mark.parametrize(("status", "expected"), [(400, False), (429, True), (503, True)])
def test_only_a_document_that_cannot_be_stored_later_is_refused(status: int, expected: bool) -> None:
    assert is_temporary(status) == expected


def test_files_are_searched_within_the_time_asked_for(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    old, new = (f"2026-11-30T{hour}:00:00,000 WARN Test: a message\n\tat x\n" for hour in ("09", "11"))
    (tmp_path / "logs" / "kafka.log").write_text(old + new)
    query = LogQuery(("message", "AT X"), datetime(2026, 11, 30, 10, tzinfo=UTC), level="warning")

    found, total, unread = search_files(tmp_path, log_sources(), query)

    assert [one["@timestamp"][:13] for one in found] == ["2026-11-30T11"]
    assert (total, unread) == (1, 0)
