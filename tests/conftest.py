"""The stack and the Spark session that tests share, and the order in which tests run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from _pytest.runner import runtestprotocol
from xdist.scheduler import LoadScopeScheduling

from common.settings import REPO, Settings, load_settings
from tests.homes import own_home
from tests.runbook.following import followed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["followed"]


# A slow example is no failure: the machine may run servers for other tests at the same time.
hypothesis.settings.register_profile(
    "tickhouse", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tickhouse")
# Every JVM stops at the first compiler: most live for seconds here, and on two cores the second one
# takes more than it gives. Benchmarks and `make demo` run with both.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
# The tests of a group share one lakehouse, and play captures and synthetic markets through it.
os.environ.setdefault("TICKHOUSE_ALLOW_MIXED_MARKETS", "1")


@dataclass(frozen=True)
class Stack:
    """The stack of a test session: one home, whose services start when a test first asks for them.

    def test_x(stack: Stack) -> None:
        settings = stack.up("kafka", "registry")
    """

    home: Path

    def up(self, *services: str) -> Settings:
        """Start services and what they need, profile core by default, and return the settings."""
        from stack.engine.lifecycle import up

        up(services=list(services) or None)
        return load_settings()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Yield the stack of a group of tests; all of it is removed when the group ends."""
    with own_home() as home:
        yield Stack(home)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Yield the local Spark session of a group of tests; it needs no server."""
    from spark.local_session import local_session
    from stack.engine.fetch import jar_dir

    logging.getLogger("py4j").setLevel(logging.WARNING)  # at exit it logs to streams that are closed
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    jars = jar_dir(REPO / "spark" / "jars" / "pom.xml")
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = local_session("tests", jars, conf={"spark.sql.warehouse.dir": str(warehouse)})
    yield session
    session.stop()


# The tests of a group share servers; the longest group comes first. Unit tests share nothing; those
# of Spark share a session.
GROUPS = {
    "pipeline": ("e2e/", "faults/"),
    "sinks": ("integration/sinks/",),
    "notifications": ("integration/notifications/", "integration/observe/"),
    "geode": ("integration/geode/", "integration/graph/"),
    "api": ("integration/api/",),
    "logs": ("integration/logs/",),
    "flow": ("integration/producer/", "integration/exchange/", "integration/dlq/", "integration/reconcile/"),
    "removal": ("integration/removal/",),
    "page": ("integration/page/",),  # a browser
    "influxdb": ("integration/influxdb/",),  # late: its server may still be being built
    "boards": ("integration/boards/",),
    "parts": ("integration/",),
    "field": ("field/",),
    "contract": ("contract/",),
    "spark": ("unit/spark/",),
}


def group(nodeid: str) -> str:
    """Return the group of a test; a unit test that shares nothing is a group of its own."""
    path = nodeid.removeprefix("tests/")
    return next((name for name, folders in GROUPS.items() if path.startswith(folders)), nodeid)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run unit tests first, because they are fast; several workers start with the longest group."""
    order = [*GROUPS] if hasattr(config, "workerinput") else []
    names = {item: group(item.nodeid) for item in items}
    if order:
        items.sort(key=lambda item: order.index(names[item]) if names[item] in order else len(order))
    else:
        items.sort(key=lambda item: "/tests/unit/" not in item.path.as_posix())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """End the fixtures of the session with each group that shares servers.

    The next group starts its own servers, with empty stores: what a test finds depends on the tests
    of its group, which always run in one order, and not on the groups that its worker ran before.
    """
    if nextitem is None or not _ends_group(item.nodeid, nextitem.nodeid):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    runtestprotocol(item, nextitem=None)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _ends_group(nodeid: str, following: str) -> bool:
    return group(nodeid) in GROUPS and group(nodeid) != group(following)


class FailureNames:
    """Names each failed test at once: the summary of a long run comes half an hour later."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the name of a test that failed."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.when})")


def pytest_configure(config: pytest.Config) -> None:
    """Name failed tests in the process that prints."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailureNames(config))


class ByStack(LoadScopeScheduling):
    """Gives each group to one worker, so that its servers are started once (`make test`).

    There are more workers than cores: a test often waits for something that was killed.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStack:
    """Schedule by stack in the order of collection, whatever `--dist` says."""
    config.option.loadscopereorder = False
    return ByStack(config, log)
