"""Sessions and queries of Cassandra; rows are dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from common.errors import StoreUnavailable
from common.settings import Settings

if TYPE_CHECKING:
    from cassandra.cluster import Session

CONNECT_S = 10.0
TRADES = "market.trades"
# Timeout of one page; a scan of a table has many pages.
REQUEST_S = 30.0
PROTOCOL_VERSION = 5  # Cassandra 4.0 and later


@contextmanager
def connected(settings: Settings, role: str) -> Iterator[Session]:
    """Open a session as one of `SINK_ROLES`, and close it.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    with session(settings, settings.cassandra_login(role)) as found:
        yield found


@contextmanager
def session(settings: Settings, login: tuple[str, str]) -> Iterator[Session]:
    """Open a session with a user and a password, and close it.

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
        # A session lasts for one command: no metrics, and no waiting for nodes that are down.
        monitor_reporting_enabled=False,
    )


def newest_us(settings: Settings) -> int | None:
    """Return the trade time (µs) of the newest row of `market.trades`, None when it is empty.

    Only the newest hour of each symbol is read: partition keys are cheap to list, rows are not.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    with connected(settings, "reader") as found:
        newest: dict[str, Any] = {}
        for row in found.execute("SELECT DISTINCT symbol, bucket FROM market.trades"):
            newest[row["symbol"]] = max(row["bucket"], newest.get(row["symbol"], row["bucket"]))
        query = found.prepare("SELECT trade_time_us FROM market.trades WHERE symbol = ? AND bucket = ? LIMIT 1")
        last_hour = max(newest.values(), default=None)
        rows = [
            row
            for symbol, bucket in newest.items()
            if bucket == last_hour
            for row in found.execute(query, (symbol, bucket))
        ]
    return max((int(row["trade_time_us"]) for row in rows), default=None)


def count(settings: Settings, within_s: float) -> int | None:
    """Return the number of rows of `market.trades`, None when counting takes longer than allowed.

    Cassandra reads all rows for that.

    Raises:
        StoreUnavailable: No node answers, or the login is refused.
    """
    from cassandra import OperationTimedOut, ReadTimeout

    with connected(settings, "reader") as found:
        try:
            rows = found.execute("SELECT count(*) AS rows FROM market.trades", timeout=within_s)
        except (OperationTimedOut, ReadTimeout):
            return None
        return int(rows.one()["rows"])


def time_to_live_s(settings: Settings) -> int:
    """Return for how many seconds a new row of `market.trades` is kept.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    query = "SELECT default_time_to_live FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s"
    with connected(settings, "admin") as found:
        return int(found.execute(query, TRADES.split(".")).one()["default_time_to_live"])


def set_time_to_live(settings: Settings, seconds: int) -> None:
    """Set for how many seconds new rows of `market.trades` are kept.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    with connected(settings, "admin") as found:
        found.execute(f"ALTER TABLE {TRADES} WITH default_time_to_live = {int(seconds)}")


def size_bytes(settings: Settings) -> int | None:
    """Return the bytes of `market.trades` on disk without the commit log, None when not available.

    Raises:
        StoreUnavailable: No node answers, the login is refused, or a request fails.
    """
    keyspace, table = TRADES.split(".")
    query = "SELECT mebibytes FROM system_views.disk_usage WHERE keyspace_name = %s AND table_name = %s"
    with connected(settings, "admin") as found:
        row = found.execute(query, (keyspace, table)).one()
    return None if row is None else int(row["mebibytes"]) << 20
