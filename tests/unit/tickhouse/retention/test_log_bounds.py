"""Every log file is bounded by supervisord, by Docker (compose) or by retention."""

from __future__ import annotations

import re
from configparser import RawConfigParser

import pytest
import yaml

from common.settings import REPO
from stack.engine.lifecycle import catalog
from stack.engine.supervisor import ProgramSpec, _program_conf, _supervisor_conf, run_dir
from tickhouse.retention.declaration import load

MB = {"MB": 1, "GB": 1024}


def megabytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(MB|GB)", text, re.ASCII).groups()  # type: ignore[union-attr]
    return int(number) * MB[unit]


def section(text: str, name: str) -> dict[str, str]:
    parser = RawConfigParser(delimiters="=")
    parser.read_string(text)
    return dict(parser[name])


def test_each_program_writes_to_one_file_that_is_rotated() -> None:
    spec = ProgramSpec("kafka", ["kafka"], {}, "/", "TERM", 1, 0)
    conf = section(_program_conf(spec, run_dir() / "kafka.json"), "program:kafka")
    assert conf["redirect_stderr"] == "true"
    assert 0 < megabytes(conf["stdout_logfile_maxbytes"]) * (1 + int(conf["stdout_logfile_backups"])) <= 40


def test_supervisords_own_log_is_rotated() -> None:
    conf = section(_supervisor_conf(), "supervisord")
    assert 0 < megabytes(conf["logfile_maxbytes"]) <= 5
    assert int(conf["logfile_backups"]) >= 1  # 0 would mean: keep them all


@pytest.mark.parametrize("folder", ["kafka", "cassandra", "elasticsearch", "hdfs", "neo4j"])
def test_no_server_has_an_appender_to_a_file(folder: str) -> None:
    files = [path for path in (REPO / "stack" / folder).iterdir() if re.match(r"log(4j|back)", path.name)]
    assert files
    for path in files:
        assert not re.search(r"RollingFile|FileAppender|fileName", path.read_text()), path


def test_elasticsearch_keeps_no_garbage_collection_log_and_no_heap_dump() -> None:
    options = (REPO / "stack" / "elasticsearch" / "heap.options").read_text().splitlines()
    assert options.index("-Xlog:disable") < options.index("-Xlog:all=warning:stderr:utctime,level,tags")
    assert "-XX:-HeapDumpOnOutOfMemoryError" in options


def test_composed_logs_are_rotated() -> None:
    services = yaml.safe_load((REPO / "docker-compose.yml").read_text())["services"]
    bounded = {"max-size": "20m", "max-file": "2"}
    assert [name for name, one in services.items() if not bounded.items() <= one["logging"]["options"].items()] == []


def test_retention_owns_the_logs_of_airflows_tasks() -> None:
    assert catalog()["airflow"].env["AIRFLOW_HOME"] == "{{ home }}/airflow"
    assert [one.most_mb for one in load().files if one.path == "airflow/logs"] == [50]
