"""Filebeat, Logstash and Kibana: their files against the declaration and the index template."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from common.settings import REPO
from tests.unit.tickhouse.logs.test_parsing import TEMPLATE, mapped
from tickhouse.logs.logstash_pipeline import FOLDER, pipeline
from tickhouse.logs.sources import log_sources

OBSERVE = REPO / "observe" / "logs"
OBJECTS = [json.loads(line) for line in (OBSERVE / "kibana.ndjson").read_text().splitlines()]
FIELDS = {*mapped(TEMPLATE["template"]["mappings"]["properties"]), "_source"}


def test_the_pipeline_is_the_one_that_the_sources_give() -> None:
    assert (FOLDER / "pipeline.conf").read_text() == pipeline(log_sources())


def test_the_pipeline_has_every_pattern_and_closes_what_it_opens() -> None:
    text = (FOLDER / "pipeline.conf").read_text()
    outside = re.sub(r'"(?:[^"\\]|\\.)*"|#[^\n]*|/\^.*?/ ', "", text)

    patterns = [one.pattern.replace('"', "\\x22") for one in log_sources().formats.values() if one.pattern]
    assert [one for one in patterns if one not in text] == []
    assert outside.count("{") == outside.count("}")


def test_filebeat_follows_the_task_logs_that_rsyslog_follows() -> None:
    inputs = yaml.safe_load((OBSERVE / "filebeat.yml").read_text())["filebeat.inputs"]
    tasks = {one["fields"]["source"]: one["paths"] for one in inputs if "fields" in one}

    declared = log_sources().files
    assert tasks == {name: [f"/var/lib/tickhouse/{path}" for path in one.paths] for name, one in declared.items()}


def test_services_of_compose_are_known_programs() -> None:
    services = yaml.safe_load((REPO / "docker-compose.yml").read_text())["services"]
    sources = log_sources()

    assert sources.compose.keys() <= services.keys()
    assert set(sources.compose.values()) <= sources.programs.keys()
    unnamed = {name for name in services if sources.compose.get(name, name) not in sources.programs}
    assert unnamed == {
        *("provision", "provision-sinks", "provision-stores", "provision-logs"),
        *("kibana", "logstash", "filebeat"),
        *("boards-prepare", "grafana", "metabase", "metabase-setup"),
    }


def test_saved_objects_have_fixed_ids_and_refer_to_each_other() -> None:
    known = {(one["type"], one["id"]) for one in OBJECTS}

    assert len(known) == len(OBJECTS)
    assert {(ref["type"], ref["id"]) for one in OBJECTS for ref in one["references"]} <= known
    titles = {one["attributes"]["title"] for one in OBJECTS if one["type"] == "search"}
    assert titles == {"Errors", "Processing latency", "Dead letters", "Audit failures"}


def test_saved_objects_name_fields_of_the_index() -> None:
    columns = {name for one in OBJECTS for name in one["attributes"].get("columns", ())}
    states = [json.loads(one["attributes"]["visState"]) for one in OBJECTS if "visState" in one["attributes"]]
    aggregated: set[Any] = {part["params"]["field"] for state in states for part in state["aggs"]}

    assert columns | aggregated <= FIELDS
