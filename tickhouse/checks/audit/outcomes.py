"""What an audit found out about each law, and the causes that people read. No I/O.

A law has one of three outcomes. `no data` is not `passed`: nothing was there to check. It does not
decide the verdict by itself. Each suite says with the law about the number of rows whether it is a
failure that there are none; a law about values that are all missing is not broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final, Literal

Outcome = Literal["passed", "failed", "no data"]
NO_DATA: Final = "no data"
# Severities of Great Expectations: what stops the publication, is a warning, or only in the report.
SEVERITIES: Final = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class LawOutcome:
    """What came out for one law.

    Attributes:
        suite: The suite that declares it.
        law: The law in words.
        outcome: Whether it holds, is broken, or had nothing to check.
        is_broken: Whether it counts against the verdict. A law without data can be broken: the one
            that asks for rows.
        severity: As the suite declares: `critical` stops the publication, a `warning` is shown to
            people, an `info` is only in the report.
        rows: How many rows break it.
        examples: Rows or values that break it, in a few words.
        failing: The first rows that break it: the columns that name the row, and those of the law.
        reason: Why the limit is what it is; empty where the suite gives none.
        error: Why the law could not be computed; empty when it could.
    """

    suite: str
    law: str
    outcome: Outcome
    is_broken: bool
    severity: str = "critical"
    rows: int = 0
    examples: tuple[str, ...] = ()
    failing: tuple[dict[str, str], ...] = ()
    reason: str = ""
    error: str = ""

    def __str__(self) -> str:
        return f"{self.suite}: {self.law} ({self.rows} rows{': ' if self.examples else ''}{', '.join(self.examples)})"

    def document(self) -> dict[str, Any]:
        """Return the outcome as JSON."""
        return asdict(self) | {"examples": list(self.examples), "failing": list(self.failing)}


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why laws are broken or had nothing to check, told once.

    Attributes:
        text: The reason in words.
        severity: The worst severity of the laws that it broke.
    """

    text: str
    severity: str


def causes(
    outcomes: Sequence[LawOutcome], missing_days: Sequence[date] = (), *, ref: str = "", are_all_missing: bool = False
) -> list[Cause]:
    """Return why laws are broken, each cause once, in the order of the suites (pure).

    Args:
        outcomes: Of all laws.
        missing_days: The audited days of which the ref has no object at all.
        ref: What was audited, in words, such as `main`.
        are_all_missing: Whether these are all audited days: then no law has data because of them.
    """
    broken = [one for one in outcomes if one.is_broken]
    found: list[Cause] = []
    if missing_days:
        of_days = [one for one in broken if are_all_missing and one.outcome == NO_DATA]
        broken = [one for one in broken if one not in of_days]
        found.append(_missing(ref, missing_days, of_days))
    told: set[str] = set()
    for one in broken:
        if one.suite in told:
            continue
        whole = [other for other in broken if other.suite == one.suite]
        is_query = bool(one.error) and all(other.error == one.error for other in whole)
        if is_query or one.outcome == NO_DATA:
            told.add(one.suite)
            found.append(Cause(_of_suite(one, sum(other.suite == one.suite for other in outcomes)), _worst(whole)))
        else:
            found.append(Cause(str(one), one.severity))
    return found


def _missing(ref: str, days: Sequence[date], broken: Sequence[LawOutcome]) -> Cause:
    shown = ", ".join(map(str, days[:10])) + (f" and {len(days) - 10} more" if len(days) > 10 else "")
    text = f"{ref} has no day {shown}"
    if broken:
        suites = list(dict.fromkeys(one.suite for one in broken))
        text += f", so there is nothing to check: {', '.join(suites)}"
    return Cause(text, _worst(broken) if broken else "info")


def _of_suite(one: LawOutcome, laws: int) -> str:
    if one.error:
        return f"{one.suite}: its laws could not be computed: {one.error.splitlines()[0]}"
    return f"{one.suite}: no data: not {one.law!r}, so none of its {laws} laws was checked"


def _worst(broken: Iterable[LawOutcome]) -> str:
    return min((one.severity for one in broken), key=SEVERITIES.index)
