"""Geode as it is started here: users, compare-and-set, entries after a kill, and its addresses."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from common.clients.geode import MINUTES, REGIONS, RULES, STATES, STATISTICS, Geode
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import GEODE_ROLES, REPO, Settings, ports
from stack.engine import supervisor
from stack.engine.fetch import jar_dir, java_program
from tests.conftest import Stack
from tests.eventually import eventually
from tests.faults.processes import answers, kill_program

pytestmark = pytest.mark.integration

KEY = "spot:TESTUSDT|aggTrade"


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    found = stack.up("geode")
    yield found
    with Geode.of(found, "admin") as admin:
        for region in REGIONS:
            admin.delete(region, admin.keys(region))


@pytest.fixture
def writer(settings: Settings) -> Iterator[Geode]:
    with Geode.of(settings, "writer") as client:
        yield client


def test_confirmed_entries_are_found_again_after_a_kill(settings: Settings, writer: Geode) -> None:
    entries = {f"{KEY}:{number}": {"minute_us": str(number), "levels": [["1.5", "2"]]} for number in range(1000)}
    writer.put_all(MINUTES, entries)

    killed = kill_program("geode")

    eventually(lambda: answers("geode"), timeout_s=240, every_s=1)
    assert writer.get_all(MINUTES, [*entries]) == entries
    assert supervisor.state("geode").pid not in (None, killed)


def test_a_value_is_changed_only_while_it_is_as_it_was_read(writer: Geode) -> None:
    assert writer.compare_and_set(STATES, "once", None, {"raised": "0"})
    assert not writer.compare_and_set(STATES, "once", None, {"raised": "5"})
    assert not writer.compare_and_set(STATES, "once", {"raised": "7"}, {"raised": "8"})
    assert not writer.compare_and_set(STATES, "never", {"raised": "0"}, {"raised": "1"})
    assert writer.compare_and_set(STATES, "once", {"raised": "0"}, {"raised": "1", "at": None, "is_ringing": True})
    assert writer.get(STATES, "once") == {"raised": "1", "at": None, "is_ringing": True}
    assert writer.get(STATES, "never") is None


def test_two_writers_lose_no_change(settings: Settings, writer: Geode) -> None:
    writer.put(STATES, "counter", {"count": "0"})

    def count_up(_: int) -> None:
        with Geode.of(settings, "writer") as own:
            for _ in range(25):
                while True:
                    before = own.get(STATES, "counter")
                    assert before is not None
                    if own.compare_and_set(STATES, "counter", before, {"count": str(int(before["count"]) + 1)}):
                        break

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(4)))

    assert writer.get(STATES, "counter") == {"count": "100"}


@pytest.mark.parametrize(
    ("role", "writes"),
    [("admin", {*REGIONS}), ("writer", {STATISTICS, MINUTES, STATES}), ("reader", set()), ("editor", {RULES})],
)
def test_each_user_writes_only_what_its_job_needs(settings: Settings, role: str, writes: set[str]) -> None:
    with Geode.of(settings, role) as client:
        for region in REGIONS:
            assert client.count(region) >= 0
            if region in writes:
                client.put(region, KEY, {"by": role})
                continue
            with pytest.raises(ConfigurationError, match="not authorized"):
                client.put(region, KEY, {"by": role})
            with pytest.raises(ConfigurationError, match="not authorized"):
                client.delete(region, [KEY])


@pytest.mark.parametrize("role", GEODE_ROLES)
def test_each_user_needs_its_own_password(settings: Settings, role: str) -> None:
    wrong = settings.model_copy(update={f"geode_{role}_password": SecretStr("another password")})

    with Geode.of(wrong, role) as client, pytest.raises(StoreUnavailable, match="401"):
        client.count(STATISTICS)


def test_nothing_is_answered_without_a_login(settings: Settings) -> None:
    address = f"{settings.geode_login('reader')[0]}/geode/v1"

    assert httpx.get(f"{address}/ping", trust_env=False).status_code == 200
    for path in (STATISTICS, f"{STATISTICS}/keys", "nothing", "queries/adhoc?q=SELECT * FROM /alert_rules"):
        answer = httpx.get(f"{address}/{path}", trust_env=False)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="GEODE"')


def test_a_query_selects_by_fields(writer: Geode) -> None:
    writer.put_all(
        STATISTICS,
        {f"spot:{name}|x": {"symbol": name, "volume": volume} for name, volume in (("AUSDT", "2"), ("BUSDT", "9"))},
    )

    rows = writer.query("SELECT s.symbol, s.volume FROM /statistics_24h s WHERE s.volume = '9'")

    assert rows == [{"symbol": "BUSDT", "volume": "9"}]
    with pytest.raises(StoreUnavailable):
        writer.query("SELECT nonsense")


def test_missing_entries_do_not_keep_others_from_deletion(writer: Geode) -> None:
    writer.put_all(MINUTES, {f"{KEY}:d{number}": {"n": "1"} for number in range(5)})

    writer.delete(MINUTES, [f"{KEY}:d{number}" for number in range(3, 9)])

    assert [key[-2:] for key in writer.keys(MINUTES) if key.startswith(f"{KEY}:d")] == ["d0", "d1", "d2"]


def test_all_sockets_are_on_the_loopback(settings: Settings) -> None:
    process = psutil.Process(supervisor.state("geode").pid)
    listening = [one for one in process.net_connections() if one.status == psutil.CONN_LISTEN or not one.raddr]

    assert {one.laddr.ip.removeprefix("::ffff:") for one in listening} == {"127.0.0.1"}
    first = ports()["geode_membership"]
    known = {ports()[name] for name in ("geode", "geode_locator", "geode_server")} | {*range(first, first + 3)}
    assert {one.laddr.port for one in listening} <= known


@pytest.fixture(scope="module")
def native_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    javac = java_program().resolve().with_name("javac")
    source = Path(__file__).with_name("NativeClient.java")
    libs = jar_dir(REPO / "stack" / "geode" / "pom.xml")
    subprocess.run([javac, "-cp", f"{libs}/*", "-d", folder, source], check=True)
    return folder


@pytest.mark.parametrize(
    ("role", "region", "answer"),
    [
        ("", STATES, "AuthenticationRequiredException"),
        ("wrong", STATES, "AuthenticationFailedException"),
        ("reader", STATES, "NotAuthorizedException"),
        ("writer", RULES, "NotAuthorizedException"),
        ("writer", STATES, "WRITTEN"),
    ],
)
def test_the_native_protocol_has_the_same_users(
    settings: Settings, native_classes: Path, role: str, region: str, answer: str
) -> None:
    user, password = ("", "")
    if role:
        _, user, password = settings.geode_login("reader" if role == "wrong" else role)
    libs = jar_dir(REPO / "stack" / "geode" / "pom.xml")
    arguments = [str(ports()["geode_locator"]), user, password if role != "wrong" else "wrong", region, "native", "1"]
    command = [java_program(), "-cp", f"{native_classes}:{libs}/*", "NativeClient", *arguments]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=native_classes)

    assert answer in done.stdout
