from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import ConfigurationError
from tickhouse.retention.declaration import EVENT_STORES, FILE, load


def changed(tmp_path: Path, **values: Any) -> Path:
    document = yaml.safe_load(FILE.read_text())
    for name, value in values.items():
        section, _, field = name.partition("__")
        document[section][field] = value
    path = tmp_path / "retention.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_file_loads_and_names_every_store_of_events() -> None:
    found = load()
    assert {store: getattr(found, store).days >= 7 for store in EVENT_STORES} == dict.fromkeys(EVENT_STORES, True)


@pytest.mark.parametrize("store", EVENT_STORES)
def test_no_store_of_events_is_kept_shorter_than_kafka(tmp_path: Path, store: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{store}\.days: expected at least 7"):
        load(changed(tmp_path, **{f"{store}__days": 6}))


def test_truth_is_kept_shorter_than_the_dead_letters_that_it_is_compared_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"truth\.days: expected at most 28"):
        load(changed(tmp_path, truth__days=29))


def test_rows_of_redrives_outlast_their_letters(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"redrives\.days: expected at least 30"):
        load(changed(tmp_path, redrives__days=29))


@pytest.mark.parametrize("wrong", [{"candles__days": 0}, {"candles__weeks": 3}, {"mongodb__days": "soon"}])
def test_an_invalid_value_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"retention\.yaml does not load"):
        load(changed(tmp_path, **wrong))
