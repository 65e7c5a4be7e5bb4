from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigurationError
from tickhouse.alerts.rules import FILE, RuleFile, load_rules, parse_rule, rule_document

JUMP: dict[str, Any] = {
    "id": "jump", "kind": "price_move", "severity": "warning", "percent": "2.5", "window_minutes": 5,
}  # fmt: skip


def test_the_file_of_the_repository_has_every_kind() -> None:
    kinds = {rule.kind for rule in load_rules(FILE).values()}

    assert kinds == {"price_move", "volume_spike", "gap_open", "store_behind", "audit_failed", "run_failed"}


def test_a_rule_as_json_is_the_same_rule() -> None:
    for rule in load_rules(FILE).values():
        assert parse_rule(rule_document(rule)) == rule


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "sunrise"}, "sunrise"),
        ({"percent": "0"}, "percent"),
        ({"window_minutes": 1_000}, "window_minutes"),
        ({"percnt": "1"}, "percnt"),
        ({"id": "Big Jump"}, "id"),
        ({"severity": "loud"}, "severity"),
        ({"markets": ["moon"]}, "markets"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parse_rule(JUMP | change)


def test_an_edit_of_the_file_counts_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(FILE.read_text())
    store = RuleFile(path)
    assert "price_jump" in store.rules()

    path.write_text("rules:\n  - {id: failed, kind: run_failed, severity: info}\n")

    assert [*store.rules()] == ["failed"]


@pytest.mark.parametrize("text", ["", "rules: 5", "- rules", "rules: [{}]", "rules: ["])
def test_a_file_without_rules_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)

    with pytest.raises(ConfigurationError):
        load_rules(path)


def test_an_id_may_be_there_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n" + "  - {id: failed, kind: run_failed, severity: info}\n" * 2)

    with pytest.raises(ConfigurationError, match="once"):
        load_rules(path)
