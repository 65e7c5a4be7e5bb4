"""The configuration and the command line of submitted jobs come from one module."""

from __future__ import annotations

from pathlib import Path

from spark.conf import (
    BATCH_CONF,
    STREAM_CONF,
    batch_submit_conf,
    driver_memory,
    jar_list,
    stream_submit_conf,
    submit_command,
)


def test_the_stream_gets_jars_memory_and_a_fixed_ui_port() -> None:
    conf = stream_submit_conf("a.jar,b.jar", "{{ port }}")

    assert conf.items() >= STREAM_CONF.items()
    assert conf["spark.jars"] == "a.jar,b.jar"
    assert conf["spark.ui.port"] == "{{ port }}"
    assert conf["spark.port.maxRetries"] == "0"
    assert conf["spark.driver.memory"] == driver_memory()


def test_the_batch_has_no_ui() -> None:
    conf = batch_submit_conf()

    assert conf.items() >= BATCH_CONF.items()
    assert conf["spark.ui.enabled"] == "false"


def test_jars_are_listed_in_order(tmp_path: Path) -> None:
    for name in ("b.jar", "a.jar", "notes.txt"):
        (tmp_path / name).touch()

    assert jar_list(tmp_path) == f"{tmp_path}/a.jar,{tmp_path}/b.jar"


def test_a_command_line_ends_with_the_application() -> None:
    command = submit_command(Path("/job.py"), {"a": "1", "b": "2"}, master="local[1]")

    assert Path(command[0]).name == "spark-submit"
    assert command[1:] == ["--master", "local[1]", "--conf", "a=1", "--conf", "b=2", "/job.py"]
