from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.candles import CandlePage, cursor_of, moment_of
from api.parameters import FIRST, LAST, parse_moment
from tickhouse.candles import INTERVALS_MS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-08-08", "2024-08-08T00:00:00+00:00"),
        ("2024-08-08T12:30", "2024-08-08T12:30:00+00:00"),
        ("2024-08-08t12:30:05.25z", "2024-08-08T12:30:05.250000+00:00"),
        ("2024-08-08 12:30:05+05:30", "2024-08-08T07:00:05+00:00"),
        ("0001-01-01T00:00:00+23:00", FIRST.isoformat()),
        ("9999-12-31T23:59:59-23:00", LAST.isoformat()),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert str(parse_moment(text)) == expected.replace("T", " ")


@pytest.mark.parametrize(
    "text",
    ["", "now", "0", "1723118400000", "2024-13-01", "2024-02-30", "\uff12\uff10\uff12\uff14-08-08", "2024-08-08T24:61"],
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_moment(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    try:
        moment = parse_moment(text)
    except ValueError:
        return
    assert isinstance(moment, datetime)
    assert FIRST <= moment <= LAST


@given(st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)), st.sampled_from(sorted(INTERVALS_MS)))
def test_a_start_of_an_interval_is_the_next_multiple(moment: datetime, interval: str) -> None:
    page = CandlePage("spot", "BTCUSDT", interval, None, None, 1)
    start = page.start_of(moment.replace(tzinfo=UTC))
    assert timedelta(0) <= start - moment.replace(tzinfo=UTC) < page.length
    assert (start - FIRST) % page.length == timedelta(0)
    assert moment_of(cursor_of(start)) == start
