from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clients.connect import Worker
from common.errors import ConfigurationError, ServiceNotReady
from tickhouse.connectors.files import Connector
from tickhouse.connectors.health import failure_summary, state_of
from tickhouse.connectors.plan import KeyDifference, compare, differences, plan

configs = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("xyz"), max_size=6)


@given(configs, configs)
def test_differences_lead_from_one_to_the_other(found: dict[str, str], wanted: dict[str, str]) -> None:
    result = dict(found)
    for key, was, value in differences(found, wanted):
        assert result.get(key) == was
        if value is None:
            del result[key]
        else:
            result[key] = value
    assert result == wanted


@given(configs)
def test_an_equal_configuration_is_no_drift(config: dict[str, str]) -> None:
    (change,) = compare({"one": Connector("one", config)}, {"one": config}, is_whole=True)
    assert (change.action, change.is_drift, change.differences) == ("none", False, [])


def test_each_action() -> None:
    wanted = {name: Connector(name, {"topics": "t"}) for name in ("new", "old")}
    found = {"old": {"topics": "u"}, "stray": {}}

    actions = {change.name: change.action for change in compare(wanted, found, is_whole=True)}
    assert actions == {"new": "create", "old": "update", "stray": "unknown"}
    assert [change.name for change in compare(wanted, found, is_whole=False)] == ["new", "old"]
    (_, old) = compare(wanted, found, is_whole=False)
    assert old.differences == [KeyDifference("topics", "u", "t")]


class Answers:
    """A worker that answers from a list."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def worker(*answers: httpx.Response | Exception) -> tuple[Worker, Answers]:
    script = Answers(*answers)
    return Worker("http://connect", transport=httpx.MockTransport(script), sleep=lambda _: None), script


def test_a_request_is_repeated_during_a_rebalance() -> None:
    subject, script = worker(httpx.Response(409, json={"message": "rebalance"}), httpx.Response(200, json={}))
    assert subject.configs() == {}
    assert script.asked == ["GET /connectors"] * 2


def test_a_refused_configuration_is_a_configuration_error() -> None:
    subject, _ = worker(httpx.Response(400, json={"message": "no such class"}))
    with pytest.raises(ConfigurationError, match="no such class"):
        subject.put("one", {})


def test_a_worker_that_is_away_is_not_ready() -> None:
    subject, _ = worker(httpx.ConnectError("refused"))
    with pytest.raises(ServiceNotReady, match="does not answer"):
        subject.statuses()


def test_the_workers_validation_is_part_of_the_plan() -> None:
    faults = {
        "configs": [{"value": {"name": "topics", "errors": ["must be a text"]}}, {"value": {"name": "x", "errors": []}}]
    }
    subject, script = worker(httpx.Response(200, json={}), httpx.Response(200, json=faults))

    (change,) = plan(subject, {"one": Connector("one", {"connector.class": "a.B"})}, is_whole=True)

    assert change.faults == {"topics": ["must be a text"]}
    assert script.asked[1] == "PUT /connector-plugins/a.B/config/validate"


def test_a_reset_waits_until_the_tasks_have_stopped() -> None:
    def status(state: str, tasks: int) -> httpx.Response:
        return httpx.Response(200, json={"connector": {"state": state}, "tasks": [{}] * tasks})

    done = httpx.Response(204)
    subject, script = worker(done, status("STOPPED", 1), status("STOPPED", 0), httpx.Response(200, json={}), done)
    subject.reset_offsets("one")
    assert script.asked[-2:] == ["DELETE /connectors/one/offsets", "PUT /connectors/one/resume"]


TRACE = "org.x.ConnectException: Exiting\n\tat a.b\nCaused by: java.io.IOException: full\n\tat c.d\n"


def test_a_failure_is_summarized_by_its_last_cause() -> None:
    assert failure_summary(TRACE) == "java.io.IOException: full"
    assert failure_summary("a\n\tat b") == "a"
    assert failure_summary(None) == ""


def test_the_state_of_a_connector_has_its_tasks_lag_and_dead_letters() -> None:
    status: dict[str, Any] = {
        "connector": {"state": "RUNNING"},
        "tasks": [{"id": 0, "state": "RUNNING"}, {"id": 1, "state": "FAILED", "trace": TRACE}],
    }
    kafka_state = {"lag_records": {}, "records": {"t": 7}, "dead_letters": {"dlq.one": 3}}
    config = {"topics": "t", "errors.deadletterqueue.topic.name": "dlq.one"}

    state = state_of("one", status, config, kafka_state, has_file=True)

    assert (state.has_failed, state.tasks_running, state.dead_letters) == (True, 1, 3)
    assert state.lag_records == 7  # no offset committed yet: the whole topic
    assert json.dumps(state.document())
    assert "java.io.IOException: full" in "\n".join(state.lines())
    assert state_of("one", None, config, kafka_state, has_file=True).state == "ABSENT"
