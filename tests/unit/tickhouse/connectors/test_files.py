from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import ConfigurationError
from common.settings import REPO
from stack.cassandra.setup import statements
from stack.connect.secret_fields import document, secret_fields
from tickhouse.connectors.files import FOLDER, chosen, read

SNAPSHOT = Path(__file__).parent / "snapshots" / "connectors.json"
IS_UPDATE = os.environ.get("TICKHOUSE_UPDATE_SNAPSHOTS") == "1"
TOPICS = yaml.safe_load((REPO / "schemas" / "topics.yaml").read_text())["topics"]


def avro(topic: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((REPO / "schemas" / f"{TOPICS[topic]['schema']}.avsc").read_text())
    return {field["name"]: field["type"] for field in document["fields"]}


def micros(topic: str) -> set[str]:
    return {name for name, kind in avro(topic).items() if "timestamp-micros" in json.dumps(kind)}


def test_connectors_are_as_in_the_snapshot() -> None:
    document = {name: connector.config for name, connector in read().items()}
    if IS_UPDATE:
        SNAPSHOT.write_text(json.dumps(document, indent=1) + "\n")

    assert document == json.loads(SNAPSHOT.read_text())


def test_every_connector_waits_for_its_store_and_keeps_refused_records() -> None:
    for name, connector in read().items():
        config = connector.config
        assert (config["errors.tolerance"], config["errors.retry.timeout"]) == ("all", "-1"), name
        assert config["errors.deadletterqueue.context.headers.enable"] == "true", name
        assert config["value.converter"] == "tickhouse.connect.avro.WaitingAvroConverter", name
        assert int(config["tasks.max"]) > 1, name
        assert [key for key in config if ".override." in key] == [], name


def test_every_connector_reads_topics_with_a_schema() -> None:
    for connector in read().values():
        assert all("schema" in TOPICS[topic] for topic in connector.topics)


def test_no_secret_and_no_address_is_in_a_file() -> None:
    for path in FOLDER.glob("*.json"):
        for key, value in json.loads(path.read_text())["config"].items():
            if re.search(r"(password|\.uri|\.url|contactPoints|^port|username)$", key):
                assert re.fullmatch(r"\$\{secrets:sinks\.properties:[\w.]+\}", value), f"{path.name}: {key}"
            assert "127.0.0.1" not in value


def test_the_guard_knows_every_field_with_a_secret() -> None:
    fields = json.loads(document(FOLDER))
    for name, connector in read().items():
        named = {key for key, value in connector.config.items() if "${" in value}
        assert named
        assert set(fields[name]) == named | {"connector.class"}
        assert all(connector.config[key] == value for key, value in fields[name].items())


def test_a_connector_without_secrets_declares_none() -> None:
    assert secret_fields({"connector.class": "File", "file": "/tmp/x"}) == {}  # noqa: S108


def test_every_time_keeps_its_microseconds() -> None:
    for name, connector in read().items():
        (topic,) = connector.topics
        kept = connector.config.get("transforms.micros.fields") or connector.config["micros.fields"]
        assert set(kept.split(",")) == micros(topic), name


def test_templates_are_strict_and_know_every_field_that_is_sent() -> None:
    for name, connector in read().items():
        if connector.store != "elasticsearch":
            continue
        template = json.loads((FOLDER / "elasticsearch" / f"{connector.config['index.prefix'][:-1]}.json").read_text())
        mappings = template["template"]["mappings"]
        sent = connector.config["transforms.known.include"].split(",")
        (topic,) = connector.topics
        assert mappings["dynamic"] == "strict"
        assert set(sent) == set(mappings["properties"]), name
        assert set(avro(topic)) - set(sent) <= {"raw"}
        dated = {field for field, one in mappings["properties"].items() if one["type"] == "date_nanos"}
        assert dated == micros(topic) & set(sent)


def test_the_table_has_a_column_for_every_field_and_the_mapping_fills_it() -> None:
    (text,) = [path.read_text() for path in (FOLDER / "cassandra").glob("*.cql")]
    columns = set(re.findall(r"^    (\w+) +(?:text|bigint|timestamp|decimal|boolean),", text, re.MULTILINE))
    config = read()["cassandra-trades"].config
    mapped = dict(
        pair.split("=value.") for pair in config["topic.crypto.trades.enriched.market.trades.mapping"].split(", ")
    )

    assert set(avro("crypto.trades.enriched")) | {"trade_time_us"} == columns
    assert {column: column for column in columns} == mapped
    assert "PRIMARY KEY ((symbol, bucket), trade_time, trade_id, market, stream)" in text
    assert "TimeWindowCompactionStrategy" in text


def test_comments_are_no_statements() -> None:
    assert statements("-- a; b\nCREATE x (y int); -- done\n\nCREATE z;") == ["CREATE x (y int)", "CREATE z"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "the name one"),
        ({"config": {"topics": "t"}}, "dlq.one"),
        ({"config": {"errors.deadletterqueue.topic.name": "dlq.one"}}, "topics"),
        ({"config": {"errors.deadletterqueue.topic.name": "dlq.one", "topics": 3}}, "a text in topics"),
        ({"config": None}, "not a connector"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    right = {"name": "one", "config": {"topics": "t", "errors.deadletterqueue.topic.name": "dlq.one"}}
    (tmp_path / "one.json").write_text(json.dumps(right))
    assert read(tmp_path)["one"].topics == ["t"]

    (tmp_path / "one.json").write_text(json.dumps(right | change))
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path)


def test_unknown_names_are_refused() -> None:
    assert set(chosen(read(), [])) == set(read())
    with pytest.raises(ConfigurationError, match=r"mongodb-trades.*was mysql"):
        chosen(read(), ["mysql"])
