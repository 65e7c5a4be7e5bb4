from __future__ import annotations

import threading

import pytest

from common.errors import ConfigurationError, ServiceNotReady
from stack.engine.graph import (
    closure,
    in_profile,
    profiles,
    reverse,
    run_in_order,
    start_order,
    stop_graph,
    with_wanted,
)
from stack.engine.lifecycle import catalog
from stack.engine.model import ProgramDefinition, Ready, Service


def service(name: str, *needs: str, profile: str = "core", stops_before: tuple[str, ...] = ()) -> Service:
    return Service(
        name=name,
        title=name,
        profiles=(profile,),
        depends_on=needs,
        stops_before=stops_before,
        programs={name: ProgramDefinition(command=("true",))},
        ready=Ready(tcp="127.0.0.1:1"),
        memory_mb=1,
    )


CATALOG = {
    one.name: one
    for one in (
        service("kafka"),
        service("registry"),
        service("connect", "kafka", "registry"),
        service("postgres"),
        service("airflow", "postgres", stops_before=("kafka",)),
        service("exchange", profile="demo"),
    )
}


def test_a_service_comes_after_all_it_needs() -> None:
    graph = closure(CATALOG, ["connect"])

    assert start_order(graph) == ["kafka", "registry", "connect"]


class WithMinio:
    lake_store = "minio"


class Local:
    lake_store = "local"


def test_what_a_setting_needs_is_started_only_with_it_and_always_stopped_after() -> None:
    lake = service("lake").model_copy(update={"depends_when": {"lake_store": {"minio": ("minio",)}}})
    known = {"lake": lake, "minio": service("minio", profile="stores")}

    assert start_order(closure(known, ["lake"], WithMinio())) == ["minio", "lake"]
    assert start_order(closure(known, ["lake"], Local())) == ["lake"]
    assert start_order(closure(known, ["lake"])) == ["lake"]
    assert start_order(stop_graph(known)) == ["lake", "minio"]


def test_a_circle_is_refused_with_the_services_in_it() -> None:
    circle = {"a": service("a", "b"), "b": service("b", "a")}

    with pytest.raises(ConfigurationError, match=r"circle.*'a'"):
        closure(circle, ["a"])


def test_an_unknown_service_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no service 'kafak'.*'airflow', 'connect'"):
        closure(CATALOG, ["kafak"])


def test_profiles_select_and_full_is_everything() -> None:
    assert "exchange" not in in_profile(CATALOG, "core")
    assert in_profile(CATALOG, "demo") == ["exchange"]
    assert set(in_profile(CATALOG, "full")) == set(CATALOG)
    assert profiles(CATALOG) == ["core", "demo", "full"]
    with pytest.raises(ConfigurationError, match="no profile 'cor'"):
        in_profile(CATALOG, "cor")


def test_a_profile_that_needs_the_core_includes_it() -> None:
    known = catalog()

    assert set(in_profile(known, "core")) < set(in_profile(known, "sinks"))
    assert set(in_profile(known, "sinks")) - set(in_profile(known, "core")) == {"mongodb", "elasticsearch", "cassandra"}


def test_stopping_reverses_the_order_and_respects_what_a_service_uses() -> None:
    order = start_order(stop_graph(CATALOG))

    assert order.index("connect") < order.index("kafka")
    assert order.index("airflow") < order.index("postgres")
    assert order.index("airflow") < order.index("kafka")
    assert reverse({"a": ["b"], "b": []}) == {"a": [], "b": ["a"]}


def test_independent_work_runs_at_the_same_time() -> None:
    both_there = threading.Barrier(2, timeout=10)

    run_in_order({"a": [], "b": []}, lambda _name, _cancelled: both_there.wait() and None, parallel=2)


def test_work_waits_for_what_it_needs() -> None:
    done: list[str] = []

    run_in_order({"c": ["b"], "b": ["a"], "a": []}, lambda name, _cancelled: done.append(name), parallel=3)

    assert done == ["a", "b", "c"]


def test_a_failure_cancels_running_work_and_begins_nothing_new() -> None:
    ended: list[str] = []

    def work(name: str, cancelled: threading.Event) -> None:
        if name == "bad":
            raise ServiceNotReady("bad is broken")
        assert cancelled.wait(10), "expected to be cancelled"
        ended.append(name)

    with pytest.raises(ServiceNotReady, match="bad is broken"):
        run_in_order({"bad": [], "slow": [], "after": ["bad"]}, work, parallel=2)
    assert ended == ["slow"]


@pytest.mark.parametrize(
    ("profile", "wanted", "chosen"),
    [
        ("core", [], {"kafka"}),
        ("core", ["live_spot"], {"kafka", "live_spot"}),
        ("full", [], {"kafka", "exchange"}),
        ("full", ["live_spot"], {"kafka", "exchange", "live_spot"}),
        ("demo", ["live_spot"], {"exchange"}),
        ("live", ["live_spot"], {"live_spot"}),
        ("live", [], set()),
    ],
)
def test_a_wanted_service_starts_with_the_core_and_an_unwanted_one_with_nothing(
    profile: str, wanted: list[str], chosen: set[str]
) -> None:
    jobs = [service(f"live_{market}", "kafka", profile="live") for market in ("spot", "usdm")]
    wanting = [job.model_copy(update={"home_file": f"live/{job.name}.json"}) for job in jobs]
    known = {one.name: one for one in (service("kafka"), service("exchange", profile="demo"), *wanting)}

    found = with_wanted(known, in_profile(known, profile), wanted)
    assert (set(found), len(found)) == (chosen, len(chosen))
