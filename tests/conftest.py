"""The running stack that integration tests share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.homes import own_home
from tickhouse.settings import REPO, Settings, load_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# Every JVM stops at the first compiler: most live for seconds here, and on two cores the second one takes more than it
# gives. Benchmarks and `make demo` run with both.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True)
class Stack:
    """The session's stack: one home, services started when a test first asks for them.

    def test_x(stack: Stack) -> None:
        settings = stack.up("kafka", "registry")
    """

    home: Path

    def up(self, *services: str) -> Settings:
        """Start the named services and what they need (without names: profile core), and return the settings."""
        from stack.engine import up

        up(services=list(services) or None)
        return load_settings()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Yield the stack of this test session; everything is taken down and removed at its end."""
    with own_home() as home:
        yield Stack(home)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Yield the Spark session of this test session: local, no server."""
    from spark.session import local_session
    from stack.engine.fetch import jar_dir

    logging.getLogger("py4j").setLevel(logging.WARNING)  # it says goodbye when the streams are closed already
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    jars = jar_dir(REPO / "spark" / "jars" / "pom.xml")
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = local_session("tests", jars, conf={"spark.sql.warehouse.dir": str(warehouse)})
    yield session
    session.stop()


# What shares servers, longest first. Unit tests share nothing, except those of Spark its session.
GROUPS = {
    "pipeline": ("e2e/", "faults/"),
    "sinks": ("integration/sinks/",),
    "flow": ("integration/producer/", "integration/exchange/", "integration/dlq/", "integration/reconcile/"),
    "parts": ("integration/",),
    "contract": ("contract/",),
    "spark": ("unit/spark/",),
}


def group(nodeid: str) -> str:
    """Return the group of a test; that of a unit test is the test itself."""
    path = nodeid.removeprefix("tests/")
    return next((name for name, folders in GROUPS.items() if path.startswith(folders)), nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run unit tests first, they take seconds and say most; side by side run the longest first."""
    order = [*GROUPS] if hasattr(config, "workerinput") else []
    names = {item: group(item.nodeid) for item in items}
    if order:
        items.sort(key=lambda item: order.index(names[item]) if names[item] in order else len(order))
    else:
        items.sort(key=lambda item: "/tests/unit/" not in item.path.as_posix())


class ByStack(LoadScopeScheduling):
    """Hands out tests by the servers they share (`make test`), so that each stack is started once, by one worker.

    There are more workers than cores: much of the time a test waits for something that was killed.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    """Schedule by stack in the order of collection, whatever `--dist` says."""
    config.option.loadscopereorder = False
    return ByStack(config, log)
