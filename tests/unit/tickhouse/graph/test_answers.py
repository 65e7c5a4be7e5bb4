"""The exact arithmetic after each query, and the files of the queries."""

from __future__ import annotations

import re
from typing import Any

import pytest

from common.errors import ConfigurationError
from common.settings import load_settings
from tickhouse.graph import answers
from tickhouse.graph.answers import QUERIES, QUESTIONS, ask


def path(**values: Any) -> dict[str, Any]:
    names = {"hour": "2024-08-08T12", "from": "ETH", "via": "BTC", "to": "USDT"}
    legs = {"direct": "ETHUSDT", "direct_rate": "3000", "first": "ETHBTC", "second": "BTCUSDT"}
    closes = {"first_close": "0.05", "is_first_inverse": False, "second_close": "61000", "is_second_inverse": False}
    return names | legs | closes | values


def test_an_implied_rate_is_the_product_of_its_legs() -> None:
    (row,) = answers.triangles([path()]).rows

    assert (row["implied_rate"], row["difference_bp"]) == ("3050", "166.6667")


def test_an_inverse_leg_divides_and_is_rounded_once() -> None:
    (row,) = answers.triangles([path(first_close="3", is_first_inverse=True, second_close="9000")]).rows
    (same,) = answers.triangles([path(first_close="7", is_first_inverse=True, second_close="7000000")]).rows

    assert (row["implied_rate"], row["difference_bp"]) == ("3000", "0.0000")
    assert same["implied_rate"] == "1000000"  # 1/7 has no end, but the product has


def test_the_path_with_the_largest_difference_comes_first() -> None:
    rows = [path(second_close="60600", via="X"), path(second_close="50000", via="Y"), path(second_close="60000")]

    assert [row["via"] for row in answers.triangles(rows).rows] == ["Y", "X", "BTC"]


def test_concentration_adds_exactly_what_floats_would_lose() -> None:
    rows = [
        {
            "symbol": "A",
            "pair": "A-Q",
            "hours": 2,
            "trades": 5,
            "quote_volumes": ["9007199254740993.0000000000000001", "1"],
        },
        {"symbol": "B", "pair": "B-Q", "hours": 1, "trades": 1, "quote_volumes": ["9007199254740994.0000000000000001"]},
    ]

    answer = answers.concentration(rows)

    assert [row["quote_volume"] for row in answer.rows] == ["9007199254740994.0000000000000001"] * 2
    assert [row["cumulative_share"] for row in answer.rows] == ["0.50000000", "1.00000000"]
    assert answer.figures == {"quote_volume": "18014398509481988.0000000000000002", "herfindahl": "0.50000000"}
    assert answers.concentration([]).rows == []


def test_every_question_has_a_file_that_says_what_it_is() -> None:
    assert {file.stem for file in QUERIES.glob("*.cypher")} == set(QUESTIONS)
    for file in QUERIES.glob("*.cypher"):
        assert file.read_text().startswith("// "), file
        assert not re.search(r"\b(CREATE|MERGE|SET|DELETE|REMOVE|toFloat)\b", file.read_text()), file


def test_the_parameters_of_a_question_are_those_of_its_file() -> None:
    for name, question in QUESTIONS.items():
        used = set(re.findall(r"\$(\w+)", (QUERIES / f"{name}.cypher").read_text()))
        assert used == {*question.required, *question.defaults}, name


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("nothing", {}),
        ("connecting_assets", {"left": "BTC-USDT"}),
        ("triangles", {"hours": "2024-08-08T12"}),
        ("concentration", {"quote": "USD", "market": "coinm"}),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_asked(name: str, given: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        ask(load_settings(), name, given)
