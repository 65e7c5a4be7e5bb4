"""The history of sizes stays small, and the forecast is right or says what it lacks."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

from tickhouse.cli.status import _disk_line
from tickhouse.status.disk_forecast import forecast
from tickhouse.status.disk_history import DAY_S, FILE, DiskSample, measure, read, record, thinned, write

START_S = 1_796_000_000
GB = 10**9


def sample(at_s: int, free: int = 100 * GB, **stores: int) -> DiskSample:
    return DiskSample(at_s, free, stores)


def hourly(days: float, free_per_day: int = 0, **per_day: int) -> list[DiskSample]:
    """Return a sample per hour of stores that grow evenly."""
    return [
        sample(
            START_S + hour * 3600,
            100 * GB + free_per_day * hour // 24,
            **{name: GB + growth * hour // 24 for name, growth in per_day.items()},
        )
        for hour in range(int(days * 24) + 1)
    ]


def test_no_history_and_less_than_a_day_are_said_in_words() -> None:
    assert forecast([]).in_words == "not enough history yet: 0 of 24 hours"
    young = forecast(hourly(0.5, -GB, kafka=GB))

    assert (young.is_known, young.days_until_full, young.growth_bytes_per_day) == (False, None, {})
    assert young.in_words == "not enough history yet: 12 of 24 hours"


def test_even_growth_gives_the_day_on_which_the_disk_is_full() -> None:
    found = forecast(hourly(10, -2 * GB, kafka=GB, lakefs=GB))

    assert found.is_known
    assert found.days_until_full == 40.0  # 80 of 100 GB are left after 10 days of 2
    assert found.free_bytes_per_day == -2 * GB
    assert found.growth_bytes_per_day == {"kafka": GB, "lakefs": GB}
    assert found.in_words == "full in 40 days, by the last 10.0 days"


@pytest.mark.parametrize("free_per_day", [0, GB, -1])
def test_a_disk_that_does_not_fill_has_no_date(free_per_day: int) -> None:
    found = forecast(hourly(10, free_per_day))

    assert (found.is_known, found.days_until_full) == (True, None)
    assert found.in_words == "does not fill, by the last 10.0 days"


def test_only_the_last_two_weeks_count() -> None:
    fast, slow = hourly(30, -5 * GB), hourly(14, -GB)
    later = [sample(one.at_s + 30 * DAY_S, one.free - 50 * GB) for one in slow]

    assert forecast([*fast[:-1], *later]).free_bytes_per_day == -GB


def test_a_saw_tooth_of_retention_is_no_growth() -> None:
    teeth = [sample(START_S + hour * 3600, kafka=GB + (hour % 24) * GB) for hour in range(14 * 24 + 1)]

    # A tooth is 23 GB high.
    assert abs(forecast(teeth).growth_bytes_per_day["kafka"]) < GB // 8


def test_the_history_of_ninety_days_is_small_and_keeps_the_last_two_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = {f"store-number-{number}": 10**12 + number for number in range(30)}
    monkeypatch.setattr("tickhouse.status.disk_history.measure", lambda _, now: sample(now, **stores))

    samples: list[DiskSample] = []
    for hour in range(87 * 24):  # in memory: each sample of `record` reads and writes the whole file
        at_s = START_S + hour * 3600
        samples = thinned([*samples, sample(at_s, **stores)], at_s)
    write(tmp_path, samples)
    for hour in range(87 * 24, 90 * 24):
        record(tmp_path, START_S + hour * 3600)

    kept = read(tmp_path)
    assert len(kept) <= 49 + 120
    assert (tmp_path / FILE).stat().st_size < 256 * 1024
    gaps = [later.at_s - earlier.at_s for earlier, later in itertools.pairwise(kept)]
    assert gaps[-48:] == [3600] * 48
    assert max(gaps) <= 2 * DAY_S
    assert kept[-1].at_s - kept[0].at_s > 88 * DAY_S
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_samples_are_an_hour_apart_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    for minute in (0, 20, 59, 60, 61):
        record(tmp_path, START_S + minute * 60)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"at_s": 17')

    assert [(one.at_s - START_S) // 60 for one in read(tmp_path)] == [0, 60]


def test_a_clock_that_was_set_back_does_not_stop_the_history() -> None:
    assert thinned([sample(START_S + DAY_S), sample(START_S)], START_S) == [sample(START_S)]


def test_sizes_are_those_of_the_folders(tmp_path: Path) -> None:
    (tmp_path / "data" / "kafka").mkdir(parents=True)
    (tmp_path / "data" / "kafka" / "0.log").write_bytes(b"x" * 100_000)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "kafka.log").write_bytes(b"x" * 10_000)

    found = measure(tmp_path, START_S)

    assert set(found.stores) == {"kafka", "logs/"}
    assert found.stores["kafka"] >= 100_000
    assert found.free > 0


def test_a_full_disk_stops_no_status_and_keeps_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path, START_S)

    def full(path: Path, text: str) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    assert [one.at_s for one in record(tmp_path, START_S + 3600)] == [START_S, START_S + 3600]
    assert [one.at_s for one in read(tmp_path)] == [START_S]
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_nothing_is_recorded_without_a_home(tmp_path: Path) -> None:
    assert record(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_the_status_says_when_the_disk_is_full_and_what_grows_most() -> None:
    disk = {"free_gb": 80.0, "total_gb": 200.0, "folder": "/home", "is_low": False}
    soon = forecast(hourly(10, -9 * GB, kafka=5 * GB, lakefs=4 * GB, redis=0)).as_dict()
    young = forecast(hourly(0.5)).as_dict()

    lines = _disk_line({**disk, "forecast": soon}).splitlines()
    assert lines[2] == "      [red]full in 1 days, by the last 10.0 days[/]"
    assert lines[3] == "      growth per day: kafka 5,000.0 MB, lakefs 4,000.0 MB"
    assert _disk_line({**disk, "forecast": young}).splitlines()[2:] == ["      not enough history yet: 12 of 24 hours"]
