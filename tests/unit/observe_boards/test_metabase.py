"""The files of Metabase, and the requests that bring them there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigurationError, ServiceNotReady
from compose.metabase.client import MetabaseClient
from compose.metabase.files import COLUMNS, FOLDER, MetabaseCard, read_dashboards
from compose.metabase.setup import card_document, make_dashboards, make_database
from tests.unit.observe_boards.metabase_look_alike import MetabaseLookAlike

DASHBOARDS = read_dashboards()
CARDS = [card for dashboard in DASHBOARDS for card in dashboard.cards]
LOGIN = {"host": "postgres", "port": 21030, "dbname": "tickhouse", "user": "tickhouse_reader", "password": "x"}
PASSWORD = "generated"


@pytest.fixture
def metabase() -> Iterator[MetabaseLookAlike]:
    with MetabaseLookAlike().serving() as served:
        yield served


def run(url: str, password: str = PASSWORD) -> tuple[bool, dict[str, int]]:
    """Do what `python -m compose.metabase` does."""
    client = MetabaseClient(url, password)
    try:
        is_first = client.sign_in()
        return is_first, make_dashboards(client, make_database(client, LOGIN), DASHBOARDS)
    finally:
        client.close()


def test_every_sql_file_is_on_a_dashboard() -> None:
    assert sorted(card.name for card in CARDS) == sorted(path.stem for path in (FOLDER / "cards").glob("*.sql"))


def test_the_asked_dashboards_are_there() -> None:
    assert [one.name for one in DASHBOARDS] == ["Market history", "Top movers", "Volatility", "Data quality"]


def test_titles_are_unique_because_items_are_found_by_them() -> None:
    assert len({card.title for card in CARDS}) == len(CARDS)


def test_every_card_says_what_it_shows() -> None:
    assert [card.name for card in CARDS if not card.description().endswith(".")] == []


def test_cards_do_not_overlap_and_stay_on_the_grid() -> None:
    for dashboard in DASHBOARDS:
        cells = [cell for card in dashboard.cards for cell in cells_of(card)]
        assert len(cells) == len(set(cells)), dashboard.name
        assert max(col for _, col in cells) < COLUMNS


def cells_of(card: MetabaseCard) -> list[tuple[int, int]]:
    place = card.place
    rows = range(place["row"], place["row"] + place["height"])
    return [(row, col) for row in rows for col in range(place["col"], place["col"] + place["width"])]


def test_every_query_is_bounded() -> None:
    grouped = {"monthly_candles", "hourly_candles", "alerts_by_day", "published_commit"}  # months, hours, days, one
    assert {card.name for card in CARDS if "LIMIT" not in card.sql} == grouped


def test_a_filter_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "dashboards").mkdir()
    (tmp_path / "cards" / "one.sql").write_text("-- One.\nSELECT {{symbol}}")
    (tmp_path / "dashboards" / "a.yaml").write_text(
        "{name: A, description: B, filters: {}, cards: [{card: one, title: One, display: table, place: {}}]}"
    )
    with pytest.raises(ConfigurationError, match="filters that are not declared"):
        read_dashboards(tmp_path)


def test_a_card_has_its_filters_as_parameters() -> None:
    card = next(card for card in CARDS if card.name == "daily_candles")
    tags = card_document(card, DASHBOARDS[0], 7, 3)["dataset_query"]["native"]["template-tags"]
    assert {name: (tag["type"], tag["default"]) for name, tag in tags.items()} == {
        "market": ("text", "spot"),
        "symbol": ("text", "BTCUSDT"),
    }


def test_the_first_run_sets_metabase_up_and_makes_everything(metabase: MetabaseLookAlike) -> None:
    is_first, counts = run(metabase.url)

    assert is_first
    assert counts == {"created": len(CARDS) + len(DASHBOARDS), "updated": 0, "archived": 0}
    (database,) = metabase.items["database"].values()
    assert database["details"]["user"] == "tickhouse_reader"
    for dashboard in metabase.items["dashboard"].values():
        assert all(one["id"] > 0 for one in dashboard["dashcards"])
        wanted = next(one for one in DASHBOARDS if one.name == dashboard["name"])
        assert len(dashboard["dashcards"]) == len(wanted.cards)
        ids = {one["id"] for one in dashboard["parameters"]}
        assert {one["parameter_id"] for card in dashboard["dashcards"] for one in card["parameter_mappings"]} == ids


def test_a_second_run_changes_nothing(metabase: MetabaseLookAlike) -> None:
    run(metabase.url)
    before = copy.deepcopy(metabase.items)

    is_first, counts = run(metabase.url)

    assert not is_first
    assert counts == {"created": 0, "updated": len(CARDS) + len(DASHBOARDS), "archived": 0}
    assert metabase.items == before


@pytest.mark.parametrize("requests", [3, 9, 25])
def test_a_run_that_died_is_finished_by_the_next(metabase: MetabaseLookAlike, requests: int) -> None:
    metabase.fails_after = requests
    with pytest.raises(ServiceNotReady):
        run(metabase.url)
    metabase.fails_after = None
    run(metabase.url)

    assert {name: len(items) for name, items in metabase.items.items()} == {
        "database": 1,
        "collection": 1,
        "card": len(CARDS),
        "dashboard": len(DASHBOARDS),
    }


def test_what_is_in_no_file_is_archived_and_what_is_elsewhere_stays(metabase: MetabaseLookAlike) -> None:
    run(metabase.url)
    (collection,) = metabase.items["collection"]
    metabase.items["card"][900] = {"id": 900, "name": "old", "collection_id": collection}
    metabase.items["card"][901] = {"id": 901, "name": "mine", "collection_id": collection + 5000}

    _, counts = run(metabase.url)

    assert counts["archived"] == 1
    assert metabase.items["card"][900]["archived"]
    assert "archived" not in metabase.items["card"][901]


def test_a_changed_password_is_said_with_a_way_out(metabase: MetabaseLookAlike) -> None:
    run(metabase.url)
    with pytest.raises(ConfigurationError, match="refuses the login") as raised:
        run(metabase.url, "another")
    assert "metabase-setup.env" in raised.value.next_command


def test_no_answer_is_said() -> None:
    with pytest.raises(ServiceNotReady, match="does not answer"):
        run("http://127.0.0.1:9")
