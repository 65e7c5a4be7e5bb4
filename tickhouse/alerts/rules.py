"""Alert rules: a closed set of kinds, their file, and the store that may hold edited ones."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from common.errors import ConfigurationError

FILE: Final = Path(__file__).with_name("rules.yaml")
# No window is longer, so that the watcher keeps few minutes per symbol.
LONGEST_WINDOW: Final = 240

Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)

# The page of the runbook about the alerts of each kind of rule.
PAGES: Final[Mapping[str, str]] = {
    "price_move": "market-moved",
    "volume_spike": "market-moved",
    "gap_open": "gap-open",
    "store_behind": "store-behind",
    "audit_failed": "audit-failed",
    "run_failed": "run-failed",
}


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9_]{1,64}$")
    severity: Severity
    cooldown_minutes: int = Field(default=0, ge=0, le=10_080)
    is_enabled: bool = True


class _CandleRule(_Rule):
    markets: tuple[Literal["spot", "usdm", "coinm"], ...] = ()
    symbols: tuple[str, ...] = ()

    def applies_to(self, market: str, symbol: str) -> bool:
        """Return whether the rule is about this symbol."""
        return (not self.markets or market in self.markets) and (not self.symbols or symbol in self.symbols)


class PriceMove(_CandleRule):
    """The price rose or fell by `percent` within `window_minutes`."""

    kind: Literal["price_move"]
    percent: Decimal = Field(gt=0, max_digits=12, decimal_places=4)
    window_minutes: int = Field(ge=1, le=LONGEST_WINDOW)


class VolumeSpike(_CandleRule):
    """A minute traded `factor` times the mean of the traded minutes of its history."""

    kind: Literal["volume_spike"]
    factor: Decimal = Field(gt=1, max_digits=12, decimal_places=4)
    history_minutes: int = Field(ge=1, le=LONGEST_WINDOW)
    least_history: int = Field(default=5, ge=1)


class GapOpen(_Rule):
    """A gap of a stream is open for longer than `minutes`."""

    kind: Literal["gap_open"]
    minutes: int = Field(ge=1)


class StoreBehind(_Rule):
    """A consumer had more than `records` unread at every look for `minutes`."""

    kind: Literal["store_behind"]
    records: int = Field(ge=0)
    minutes: int = Field(ge=0)


class FailedAudit(_Rule):
    """The audit of a lake commit failed, or passed with warnings."""

    kind: Literal["audit_failed"]
    with_warnings: bool = True


class FailedRun(_Rule):
    """A run of a DAG failed for another reason than its audit; `dags` empty: of any DAG."""

    kind: Literal["run_failed"]
    dags: tuple[str, ...] = ()


Rule = Annotated[PriceMove | VolumeSpike | GapOpen | StoreBehind | FailedAudit | FailedRun, Field(discriminator="kind")]
CandleRule = PriceMove | VolumeSpike
_RULE: Final[TypeAdapter[Rule]] = TypeAdapter(Rule)


class RuleStore(Protocol):
    """Where the rules are: a file, or a store in which they can be edited.

    The watcher calls `rules` again and again. A store that does not answer raises
    `StoreUnavailable`, and the watcher goes on with the rules that it has.
    """

    def rules(self) -> dict[str, Rule]:
        """Return every rule by id."""
        ...


class EditableRuleStore(RuleStore, Protocol):
    """A store in which rules can be edited while the watcher runs."""

    def put(self, rule: Rule) -> None:
        """Add a rule, or replace the one with its id."""
        ...

    def remove(self, rule_id: str) -> bool:
        """Remove a rule; return whether it was there."""
        ...


class RuleFile:
    """Rules of a file; it is read at each call, so an edit needs no restart.

    Args:
        path: The file.
    """

    def __init__(self, path: Path = FILE) -> None:
        self._path = path

    def rules(self) -> dict[str, Rule]:
        """Return every rule by id.

        Raises:
            ConfigurationError: The file does not load; the message names rule and field.
        """
        return load_rules(self._path)


def load_rules(path: Path) -> dict[str, Rule]:
    """Read a file of rules.

    Raises:
        ConfigurationError: It does not load, or two rules have the same id.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = [parse_rule(one) for one in document["rules"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path.name} has no list of rules: {error}") from error
    names = [rule.id for rule in found]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{path.name}: expected each id once, was {names}.")
    return dict(zip(names, found, strict=True))


def parse_rule(values: Mapping[str, Any]) -> Rule:
    """Return the rule of plain values, as in the file or in a request.

    Raises:
        ConfigurationError: A field is missing, unknown or out of range.
    """
    try:
        return _RULE.validate_python(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"Rule {values.get('id', '?')!r} is not valid: {problems}") from error


def rule_document(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON-ready values; decimals are text."""
    document: dict[str, Any] = rule.model_dump(mode="json")
    return document
