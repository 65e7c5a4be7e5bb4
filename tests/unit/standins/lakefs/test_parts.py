"""Small pure functions: checksums, ranges, entries, durations."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standins.lakefs.actions import parse_timeout_s
from standins.lakefs.api_errors import Refusal
from standins.lakefs.checksums import FACTORIES, POLYNOMIALS, Crc
from standins.lakefs.entries import Entry
from standins.lakefs.object_responses import parse_range
from standins.lakefs.sigv4 import parse_query


def bitwise_crc(name: str, data: bytes) -> int:
    """Return a CRC computed bit by bit from its definition."""
    polynomial, bits = POLYNOMIALS[name]
    register = mask = (1 << bits) - 1
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (polynomial if register & 1 else 0)
    return register ^ mask


# Check values of the CRC catalogue for "123456789".
@pytest.mark.parametrize(("name", "check"), [("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")])
def test_crc_check_values(name: str, check: str) -> None:
    crc = Crc(name)
    crc.update(b"123456789")
    assert crc.digest().hex() == check


@pytest.mark.parametrize("name", sorted(POLYNOMIALS))
@settings(max_examples=40, deadline=None)
@given(seed=st.binary(min_size=1, max_size=50), sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=3))
def test_crc_of_pieces_is_the_definition(name: str, seed: bytes, sizes: list[int]) -> None:
    crc, whole = Crc(name), b""
    for size in sizes:
        piece = (seed * (size // len(seed) + 1))[:size]
        crc.update(piece)
        whole += piece
    assert int.from_bytes(crc.digest(), "big") == bitwise_crc(name, whole)


def test_crc32_is_zlibs() -> None:
    crc = FACTORIES["crc32"]()
    crc.update(b"1234")
    crc.update(b"56789")
    assert int.from_bytes(crc.digest(), "big") == zlib.crc32(b"123456789") == 0xCBF43926


@given(
    size=st.integers(0, 30),
    start=st.one_of(st.none(), st.integers(0, 40)),
    end=st.one_of(st.none(), st.integers(0, 40)),
)
def test_range_is_a_slice(size: int, start: int | None, end: int | None) -> None:
    data = bytes(range(size))
    header = f"bytes={'' if start is None else start}-{'' if end is None else end}"
    if start is None:
        expected = data[max(size - (end or 0), 0) :] if end else None
        refused = end is not None and min(end, size) == 0
    else:
        refused = start >= size and (end is None or end >= start)
        expected = None if end is not None and end < start else data[start : None if end is None else end + 1]
    if refused:
        with pytest.raises(Refusal) as error:
            parse_range(header, size)
        assert error.value.headers == {"Content-Range": f"bytes */{size}"}
        return
    chosen = parse_range(header, size)
    assert (None if chosen is None else data[chosen[0] : chosen[0] + chosen[1]]) == expected


@pytest.mark.parametrize("header", [None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "items=0-1"])
def test_malformed_range_is_the_whole(header: str | None) -> None:
    assert parse_range(header, 10) is None


@given(
    st.builds(
        Entry, st.text(), st.integers(), st.text(), st.integers(), st.text(), st.dictionaries(st.text(), st.text())
    )
)
def test_entries_round_trip(entry: Entry) -> None:
    assert Entry.load(entry.dump()) == entry


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 60.0), ("30s", 30.0), ("1m", 60.0), ("1.5h", 5400.0), ("20ms", 0.02)]
)
def test_durations(text: str | None, seconds: float) -> None:
    assert parse_timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["30", "s", "-1s", "1 s", "soon"])
def test_bad_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_timeout_s(text)


def test_query_keeps_plus() -> None:
    assert parse_query("prefix=a+b%2Bc%20d&uploads&x==") == [("prefix", "a+b+c d"), ("uploads", ""), ("x", "=")]
