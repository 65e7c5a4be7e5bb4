"""The questions of `tickhouse graph query`: a Cypher file each, and the exact arithmetic after it.

Cypher finds paths and groups. Amounts come out of the graph as decimal text and are added, divided
and compared here, as `Decimal` and `Fraction`: Cypher could do it with floats only (ADR 0027).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from common.clients.neo4j import connected
from common.errors import ConfigurationError
from common.settings import Settings
from tickhouse.graph import statements

QUERIES = Path(__file__).parent / "queries"
RATE_DIGITS = 18  # significant digits of an implied rate, as many as a price of decimal(28,8) mostly has
SHARE_PLACES = 8
BASIS_POINT_PLACES = 4

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a question, figures over all of them, and whether the trades are synthetic."""

    rows: Rows
    figures: dict[str, str] = field(default_factory=dict)
    is_simulated: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What a Cypher file needs, and what is computed from its rows.

    Attributes:
        finish: Turns the rows of the file into the answer; pure.
        required: Parameters that must be given.
        defaults: The other parameters.
        choices: Values that a parameter may have.
    """

    finish: Callable[[Rows], Answer]
    required: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def parameters(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return all parameters.

        Raises:
            ConfigurationError: One is missing, unknown, or has a value that is not allowed.
        """
        known = (*self.required, *self.defaults)
        unknown = [name for name in given if name not in known]
        missing = [name for name in self.required if name not in given]
        if unknown or missing:
            raise ConfigurationError(
                f"Expected the parameters {', '.join(known)}; unknown: {unknown}, missing: {missing}."
            )
        parameters = {**self.defaults, **given}
        for name, allowed in self.choices.items():
            if parameters[name] not in allowed:
                raise ConfigurationError(
                    f"Expected {name} to be one of {', '.join(allowed)}, was {parameters[name]!r}."
                )
        return parameters


def ask(settings: Settings, name: str, given: Mapping[str, str]) -> Answer:
    """Answer a question from the graph; the server refuses a file that writes.

    Raises:
        ConfigurationError: There is no such question, or its parameters are wrong.
        StoreUnavailable: Neo4j does not answer.
    """
    question = QUESTIONS.get(name)
    if question is None:
        raise ConfigurationError(f"Expected a query of {', '.join(QUESTIONS)}, was {name!r}.")
    parameters = question.parameters(given)
    with connected(settings, "reader") as graph:
        answer = question.finish(graph.read((QUERIES / f"{name}.cypher").read_text(), parameters))
        kinds = [row["market_kind"] for row in graph.read(statements.READ_KIND)]
    return replace(answer, is_simulated=kinds == ["simulated"])


def connecting_assets(rows: Rows) -> Answer:
    """Order the assets: those that both pairs have first."""
    return Answer(sorted(rows, key=lambda row: (bool(row["through"]), row["asset"], row["through"])))


def triangles(rows: Rows) -> Answer:
    """Compute the implied rate of each path, and how far it is from the direct one.

    `implied_rate` has 18 significant digits. `difference_bp` is (implied / direct - 1) in basis
    points, with 4 decimals. Both are rounded once, from the exact fraction.
    """
    answered = [_triangle(row) for row in rows]
    return Answer(sorted(answered, key=lambda row: (-abs(Decimal(row["difference_bp"])), row["direct"], row["via"])))


def _triangle(row: Mapping[str, Any]) -> dict[str, Any]:
    direct = Fraction(row["direct_rate"])
    first = _rate(row["first_close"], is_inverse=row["is_first_inverse"])
    second = _rate(row["second_close"], is_inverse=row["is_second_inverse"])
    implied = first * second
    names = ("hour", "from", "via", "to", "direct", "first", "second", "direct_rate")
    return {name: row[name] for name in names} | {
        "implied_rate": _significant(implied, RATE_DIGITS),
        "difference_bp": _rounded((implied / direct - 1) * 10_000, BASIS_POINT_PLACES),
    }


def concentration(rows: Rows) -> Answer:
    """Add up the quote volume of each symbol, and compute its share.

    Volumes are exact; shares have 8 decimals. `herfindahl` is the sum of the squared shares: 1 when
    one symbol has all the volume.
    """
    sums = {row["symbol"]: sum(map(Fraction, row["quote_volumes"]), Fraction(0)) for row in rows}
    total = sum(sums.values(), Fraction(0))
    if not total:
        return Answer([])
    answered, reached = [], Fraction(0)
    for row in sorted(rows, key=lambda row: (-sums[row["symbol"]], row["symbol"])):
        share = sums[row["symbol"]] / total
        reached += share
        shares = {"share": _rounded(share, SHARE_PLACES), "cumulative_share": _rounded(reached, SHARE_PLACES)}
        names = {name: row[name] for name in ("symbol", "pair", "hours", "trades")}
        answered.append(names | {"quote_volume": _exact(sums[row["symbol"]])} | shares)
    herfindahl = sum(((one / total) ** 2 for one in sums.values()), Fraction(0))
    figures = {"quote_volume": _exact(total), "herfindahl": _rounded(herfindahl, SHARE_PLACES)}
    return Answer(answered, figures)


def shared_counterparties(rows: Rows) -> Answer:
    """Order the pairs of wallets by how many counterparties they share."""
    answered = [row | {"shared": sorted(row["shared"]), "label": "SYNTHETIC"} for row in rows]
    return Answer(sorted(answered, key=lambda row: (-len(row["shared"]), row["left"], row["right"])))


def _rate(close: str, *, is_inverse: bool) -> Fraction:
    return 1 / Fraction(close) if is_inverse else Fraction(close)


def _exact(value: Fraction) -> str:
    """Return a sum of decimals without an exponent."""
    with localcontext(prec=100):
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"


def _significant(value: Fraction, digits: int) -> str:
    with localcontext(prec=digits, rounding=ROUND_HALF_EVEN):
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"


def _rounded(value: Fraction, places: int) -> str:
    return f"{Decimal(round(value * 10**places)).scaleb(-places):f}"


QUESTIONS: Mapping[str, Question] = {
    "connecting_assets": Question(connecting_assets, required=("left", "right")),
    "triangles": Question(
        triangles, defaults={"market": "spot", "hour": ""}, choices={"market": ("spot", "usdm", "coinm")}
    ),
    # On COIN-M a quote volume is in the base coin, so symbols cannot be compared by it.
    "concentration": Question(
        concentration,
        required=("quote",),
        defaults={"market": "spot", "from": "", "to": ""},
        choices={"market": ("spot", "usdm")},
    ),
    "shared_counterparties": Question(shared_counterparties, defaults={"least": "2"}),
}
