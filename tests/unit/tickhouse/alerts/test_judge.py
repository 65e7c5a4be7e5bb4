from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tickhouse.alerts.judge import Judge, Moment
from tickhouse.alerts.rules import FILE, Rule, load_rules
from tickhouse.alerts.state import MINUTE_US, RuleState
from tickhouse.alerts.windows import UNITS, CandleStream, PriceBar, Windows

RULES = load_rules(FILE)
BTC = CandleStream("spot", "BTCUSDT", "aggTrade")
NOW = 1_000_000 * MINUTE_US
LIVE, SIMULATED = Moment(NOW, False), Moment(NOW, True)


def no_history(*_: object) -> list[PriceBar]:
    return []


def judge_of(states: dict[str, RuleState] | None = None, rules: dict[str, Rule] | None = None) -> Judge:
    return Judge(rules or RULES, states or {}, Windows(240, no_history))


def bar(at_us: int, high: int, volume: int = 1) -> PriceBar:
    return PriceBar(at_us, 100 * UNITS, high * UNITS, 100 * UNITS, 100 * UNITS, volume * UNITS)


def test_a_jump_rings_with_its_figures() -> None:
    (alert,) = judge_of().candle(BTC, bar(NOW, 110), NOW + MINUTE_US, LIVE)

    assert (alert.rule, alert.kind, alert.severity) == ("price_jump", "price_move", "warning")
    assert (alert.market, alert.symbol, alert.subject) == ("spot", "BTCUSDT", "spot:BTCUSDT")
    assert alert.summary == "BTCUSDT (spot) rose 10.00 % within 5 minutes, from 100 to 110."
    assert (alert.is_historic, alert.is_simulated) == (False, False)


def test_the_same_log_gives_the_same_ids() -> None:
    bars = [bar(NOW + number * MINUTE_US, high) for number, high in enumerate((100, 101, 107, 100, 100, 100, 108))]

    def ids(moment: Moment) -> list[str]:
        judge = judge_of()
        return [alert.alert_id for one in bars for alert in judge.candle(BTC, one, one.minute_us, moment)]

    assert ids(LIVE) == ids(Moment(NOW + 99, False))
    assert len(ids(LIVE)) == 1  # the second jump is within the cool-down


def test_states_carry_on_after_a_restart() -> None:
    first = judge_of()
    assert first.candle(BTC, bar(NOW, 110), NOW, LIVE)

    restarted = judge_of(first.changed)

    assert restarted.candle(BTC, bar(NOW, 111), NOW, LIVE) == []


def test_old_data_is_marked_and_does_not_silence_live_data() -> None:
    judge = judge_of()
    year = 525_600 * MINUTE_US

    (old,) = judge.candle(BTC, bar(NOW - year, 110), NOW, LIVE)
    (live,) = judge.candle(BTC, bar(NOW, 110), NOW, LIVE)

    assert (old.is_historic, live.is_historic) == (True, False)
    assert old.alert_id != live.alert_id


def test_no_data_of_a_synthetic_market_is_old() -> None:
    (alert,) = judge_of().candle(BTC, bar(NOW - 525_600 * MINUTE_US, 110), NOW, SIMULATED)

    assert not alert.is_historic
    assert alert.summary.startswith("SIMULATED: ")


def test_a_spike_needs_the_history_that_the_store_has() -> None:
    asked: list[tuple[int, int]] = []

    def history(_: CandleStream, from_us: int, until_us: int) -> Iterable[PriceBar]:
        asked.append((from_us, until_us))
        return [bar(until_us - number * MINUTE_US, 100) for number in range(1, 11)]

    judge = Judge(RULES, {}, Windows(240, history))

    (alert,) = judge.candle(BTC, bar(NOW, 100, volume=20), NOW, LIVE)

    assert alert.rule == "volume_spike"
    assert asked == [(NOW - 240 * MINUTE_US, NOW)]


def test_rules_are_about_their_symbols_and_can_be_off() -> None:
    jump = RULES["price_jump"]
    ether = jump.model_copy(update={"symbols": ("ETHUSDT",)})
    off = jump.model_copy(update={"is_enabled": False})

    for rules in ({"price_jump": ether}, {"price_jump": off}):
        assert judge_of(rules=rules).candle(BTC, bar(NOW, 110), NOW, LIVE) == []


def gap(first_id: int, minutes: int, state: str = "open") -> dict[str, Any]:
    names = {"market": "spot", "symbol": "BTCUSDT", "stream": "aggTrade"}
    ids = {"first_id": first_id, "last_id": first_id + 9, "detected_at_us": NOW - minutes * MINUTE_US}
    return names | ids | {"state": state}


def test_a_gap_rings_when_it_is_open_for_too_long() -> None:
    judge = judge_of()
    assert judge.gaps([gap(5, 14), gap(1, 99, "filled")], LIVE) == []

    (alert,) = judge.gaps([gap(5, 15), gap(50, 20)], LIVE)

    assert (alert.kind, alert.subject, alert.window) == ("gap_open", "spot:BTCUSDT:aggTrade", "50")
    page = "docs/runbook/gap-open.md"
    assert alert.values == {"first_id": "50", "ids": "20", "minutes": "20", "runbook": page}


def test_a_stream_whose_gaps_were_filled_can_ring_again() -> None:
    judge = judge_of()
    assert judge.gaps([gap(5, 20)], LIVE)
    hour = Moment(NOW + 61 * MINUTE_US, False)
    assert judge.gaps([gap(5, 20)], hour) == []  # it still rings

    judge.gaps([gap(5, 20, "filled")], hour)

    assert judge.gaps([gap(70, 20)], hour)


def test_a_store_rings_when_it_was_behind_at_every_look() -> None:
    judge = judge_of()

    def look(minute: int, records: int) -> list[str]:
        moment = Moment(NOW + minute * MINUTE_US, False)
        return [alert.subject for alert in judge.lags({"stream:candles": records, "connect-mongodb": 0}, moment)]

    assert look(0, 5_000) == look(9, 1_001) == []
    assert look(10, 900) == look(11, 5_000) == look(20, 5_000) == []  # it had caught up in between
    assert look(21, 5_000) == ["stream:candles"]
    assert look(22, 5_000) == []


def test_the_lag_of_the_alerts_themselves_is_not_judged() -> None:
    judge = judge_of()
    lags = {"tickhouse-alert-bridge": 9_999, "tickhouse-alert-watcher": 9_999}

    assert [judge.lags(lags, Moment(NOW + minute * MINUTE_US, False)) for minute in (0, 60)] == [[], []]


def run_failed(**more: str) -> dict[str, Any]:
    return {"kind": "run_failed", "dag": "nightly_batch", "run_id": "r1", "run": "http://run", "report": ""} | more


def test_a_failed_run_and_a_failed_audit_are_two_kinds() -> None:
    (run,) = judge_of().announcement(run_failed(), LIVE)
    (audit,) = judge_of().announcement(run_failed(report="http://report"), LIVE)

    assert (run.kind, audit.kind) == ("run_failed", "audit_failed")
    assert run.summary == "nightly_batch: run r1 failed."
    assert audit.values["report"] == "http://report"


def test_a_failed_run_says_in_which_task_and_why() -> None:
    message = run_failed(task="prepare", error="Expected `date`, was 3. Next: trigger the DAG again")

    (alert,) = judge_of().announcement(message, LIVE)

    text = "nightly_batch: run r1 failed in task prepare: Expected `date`, was 3. Next: trigger the DAG again."
    assert alert.summary == text
    assert alert.values["error"].startswith("Expected `date`")


def test_a_failed_audit_names_each_broken_law_and_its_report() -> None:
    laws = ["silver: each event once (2 rows)", "candles: low <= open, close <= high"]

    (alert,) = judge_of().announcement(run_failed(report="http://report") | {"laws": laws}, LIVE)

    assert alert.summary == (
        "nightly_batch: the audit in run r1 broke 2 laws: silver: each event once (2 rows); "
        "candles: low <= open, close <= high. Report: http://report."
    )
    assert alert.values["laws"].count(";") == 1


def test_a_late_run_rings_beside_its_failure() -> None:
    late = {"kind": "run_late", "dag": "retention", "run_id": "r1", "run": "http://run", "report": "", "minutes": 240}

    (alert,) = judge_of().announcement(late, LIVE)
    (failed,) = judge_of().announcement(run_failed() | {"dag": "retention"}, LIVE)

    assert alert.summary == "retention: run r1 has not ended within 240 minutes; it goes on."
    assert alert.kind == "run_failed"
    assert alert.alert_id != failed.alert_id


def test_a_repeated_announcement_is_the_same_alert() -> None:
    first, second = (judge_of().announcement(run_failed(), moment)[0] for moment in (LIVE, Moment(NOW + 5, False)))

    assert first.alert_id == second.alert_id


def test_other_announcements_are_left_alone() -> None:
    assert judge_of().announcement({"kind": "something_new"}, LIVE) == []


def test_missed_nights_and_warnings_ring() -> None:
    missed = {"kind": "nights_missed", "dag": "nightly_batch", "days": ["2024-08-08"], "runs": ["r"]}
    warned = {"kind": "audit_warned", "dag": "nightly_batch", "run_id": "r", "warnings": ["law"], "report": "http://r"}

    assert [alert.kind for alert in judge_of().announcement(missed, LIVE)] == ["run_failed"]
    (alert,) = judge_of().announcement(warned, LIVE)
    assert (alert.kind, alert.severity) == ("audit_failed", "warning")
    quiet = {"audit_failed": RULES["audit_failed"].model_copy(update={"with_warnings": False})}
    assert judge_of(rules=quiet).announcement(warned, LIVE) == []


def failed_audit(first: str, last: str) -> dict[str, Any]:
    return run_failed(report="http://report") | {"from": first, "to": last}


def passed_audit(first: str, last: str, run: str = "r2") -> dict[str, Any]:
    return {
        "kind": "audit_passed",
        "dag": "nightly_batch",
        "run_id": run,
        "report": "http://r",
        "from": first,
        "to": last,
    }


def test_an_audit_that_passes_ends_the_alert_about_its_days_once() -> None:
    judge = judge_of()
    assert judge.announcement(passed_audit("2024-08-08", "2024-08-08"), LIVE) == [], "nothing rang"
    judge.announcement(failed_audit("2024-08-08", "2024-08-09"), LIVE)
    assert judge.announcement(passed_audit("2024-08-09", "2024-08-10"), LIVE) == [], "the 8th is still wrong"

    (resolved,) = judge.announcement(passed_audit("2024-08-07", "2024-08-09"), LIVE)

    assert (resolved.rule, resolved.severity) == ("audit_failed", "info")
    assert resolved.summary == "resolved: nightly_batch: the audit passed in run r2."
    assert judge.announcement(passed_audit("2024-08-08", "2024-08-09", "r3"), LIVE) == []


def test_a_failed_audit_is_remembered_over_a_restart() -> None:
    first = judge_of()
    first.announcement(failed_audit("2024-08-08", "2024-08-08"), LIVE)

    restarted = judge_of(first.changed)

    assert len(restarted.announcement(passed_audit("2024-08-08", "2024-08-08"), LIVE)) == 1


def test_an_audit_of_another_dag_ends_nothing() -> None:
    judge = judge_of()
    judge.announcement(failed_audit("2024-08-08", "2024-08-08"), LIVE)

    assert judge.announcement(passed_audit("2024-08-08", "2024-08-08") | {"dag": "data_quality"}, LIVE) == []
