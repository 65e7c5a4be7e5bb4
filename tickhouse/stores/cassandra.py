"""A session with Cassandra; rows come as dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

if TYPE_CHECKING:
    from cassandra.cluster import Session

CONNECT_S = 10.0
# A scan of a table is paged; each page gets this.
REQUEST_S = 30.0
PROTOCOL_VERSION = 5  # Cassandra 4.0 and later


@contextmanager
def connected(settings: Settings, role: str) -> Iterator[Session]:
    """Open a session as one of `SINK_ROLES` and close it.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    with session(settings, settings.cassandra_login(role)) as found:
        yield found


@contextmanager
def session(settings: Settings, login: tuple[str, str]) -> Iterator[Session]:
    """Open a session with a user and a password and close it.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    from cassandra import DriverException
    from cassandra.cluster import NoHostAvailable

    cluster = _cluster(settings, login)
    try:
        yield cluster.connect()
    except (DriverException, NoHostAvailable) as error:
        raise StoreUnavailable(
            f"Cassandra does not answer: {error}", next_command="tickhouse logs cassandra"
        ) from error
    finally:
        cluster.shutdown()


def _cluster(settings: Settings, login: tuple[str, str]) -> Any:
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
    from cassandra.query import dict_factory

    hosts, port = settings.cassandra_nodes()
    policy = TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=settings.cassandra_datacenter))
    profile = ExecutionProfile(load_balancing_policy=policy, request_timeout=REQUEST_S, row_factory=dict_factory)
    return Cluster(
        hosts,
        port=port,
        auth_provider=PlainTextAuthProvider(*login),
        protocol_version=PROTOCOL_VERSION,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=CONNECT_S,
        control_connection_timeout=CONNECT_S,
        # Nothing here outlives a command: no metrics, no waiting for schema agreement of nodes that are away.
        monitor_reporting_enabled=False,
    )


def newest_us(settings: Settings) -> int | None:
    """Return the trade time of the newest row of `market.trades`, µs; None when it is empty.

    Asks each symbol's newest hour: partition keys are cheap to list, rows are not.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    with connected(settings, "reader") as found:
        newest: dict[str, Any] = {}
        for row in found.execute("SELECT DISTINCT symbol, bucket FROM market.trades"):
            newest[row["symbol"]] = max(row["bucket"], newest.get(row["symbol"], row["bucket"]))
        question = found.prepare("SELECT trade_time_us FROM market.trades WHERE symbol = ? AND bucket = ? LIMIT 1")
        last_hour = max(newest.values(), default=None)
        rows = [
            row
            for symbol, bucket in newest.items()
            if bucket == last_hour
            for row in found.execute(question, (symbol, bucket))
        ]
    return max((int(row["trade_time_us"]) for row in rows), default=None)


def count(settings: Settings) -> int:
    """Return how many rows `market.trades` holds; Cassandra reads all of them to know.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    with connected(settings, "reader") as found:
        return int(found.execute("SELECT count(*) AS rows FROM market.trades").one()["rows"])
