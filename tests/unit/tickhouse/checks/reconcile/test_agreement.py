"""Producer and checker share no code, but must read every file alike, however malformed it is."""

from __future__ import annotations

import gzip
import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import RejectedRecord
from producer.events import Trade, check_symbol, event_id
from producer.parsing.decimals import from_bytes
from producer.parsing.source_files import batches, open_source
from producer.writer.outbox import check_size
from tickhouse.checks.reconcile.json_records import Source
from tickhouse.checks.reconcile.model import SCALE, Rejection, TickId
from tickhouse.checks.reconcile.replayed_files import items

NAMES = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
SYMBOLS = ("BTCUSDT", "\u5e01\u5b89\u4eba\u751fUSDT", "A\u0301USDT", "btcusdt", "\u200bBTC")


def producers_view(path, symbol):
    """Return the producer's result per line: a trade's values, or key and reason of its letter."""
    source, found = open_source(path, symbol), []
    try:
        for batch, _ in batches(source):
            found += [one for raw, _, _ in batch if (one := _line(source.format, raw)) is not None]
    except RejectedRecord as error:
        found.append((f"sha256:{hashlib.sha256(b'').hexdigest()}", error.reason))
    return found


def _line(form, raw):
    try:
        event = form.parse(raw.decode())
        if not isinstance(event, Trade):
            return None
        check_size(raw)
        check_symbol(event.symbol)
    except (RejectedRecord, UnicodeDecodeError) as error:
        identity = form.identify(raw)[1]
        key = event_id("spot", identity) if identity else f"sha256:{hashlib.sha256(raw).hexdigest()}"
        return key, error.reason if isinstance(error, RejectedRecord) else "not_utf8"
    price, qty = (int(from_bytes(value) * SCALE) for value in (event.price, event.qty))
    return (
        event.stream, event.symbol, event.trade_id, event.first_trade_id, event.last_trade_id, price, qty, event.side,
        event.trade_us,
    )  # fmt: skip


def checkers_view(path, symbol):
    found = []
    for item in items(path, Source("spot", symbol)):
        if isinstance(item, Rejection):
            found.append((item.key, item.reason))
        elif not isinstance(item, TickId):
            found.append((item.key.stream, item.key.symbol, *item[1:]))
    return found


CELLS = {
    "id": st.sampled_from(["7", "8", "9", "-1", "9223372036854775807", "9223372036854775808", "7.0", "1E9", "", "x"]),
    "number": st.sampled_from(["0.5", "1", "0.123456789", "1e-05", "1,5", "", "-2", "1.", ".5", "0", "\u0663", "nan"]),
    "time": st.sampled_from(["1570752011620", "1570752011620000", "1570752011", "1.57E+12", "", "-1570752011620"]),
    "flag": st.sampled_from(["true", "False", "TRUE", "0", "t", "maybe", "", " true "]),
}
GOOD = ["5", "0.5", "23.0", "9", "10", "1570752011620", "true"]


@st.composite
def rows(draw):
    kinds = ("id", "number", "number", "id", "id", "time", "flag")
    cells = [
        draw(CELLS[kind]) if draw(st.integers(0, 6)) == 0 else good for kind, good in zip(kinds, GOOD, strict=True)
    ]
    cells[0] = cells[0] if cells[0] != "5" else str(draw(st.integers(0, 10**12)))
    if draw(st.integers(0, 9)) == 0:
        cells = draw(st.sampled_from([cells[:-1], [*cells, "extra"], ["words"], [], NAMES.split(","), ['"', *cells]]))
    return cells


@st.composite
def csv_files(draw):
    delimiter, end = draw(st.sampled_from([",", "\t", ";", "|"])), draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    lines = [GOOD, *draw(st.lists(rows(), max_size=12))]
    lines = [NAMES.split(","), *lines] if draw(st.booleans()) else lines
    quote = draw(st.sampled_from(["", "", '"']))
    pad = draw(st.sampled_from(["", "", " "]))
    text = [delimiter.join(f"{pad}{quote}{cell}{quote}" for cell in cells).encode() for cells in lines]
    if draw(st.integers(0, 4)) == 0:
        text.insert(
            draw(st.integers(1, len(text))), draw(st.sampled_from([b"\xff,\xfe", b"", b"  ", b"5,\xff", b"7" * 200]))
        )
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + end.join(text) + draw(st.sampled_from([b"", end]))
    if not draw(st.booleans()):
        return body
    packed = gzip.compress(body)
    return packed[: -draw(st.integers(0, 12)) or None]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=csv_files(), symbol=st.sampled_from(SYMBOLS))
def test_csv_files(tmp_path, content, symbol):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    try:
        wanted = producers_view(path, symbol)
    except RejectedRecord:
        return  # refused: it never reaches the checker
    assert checkers_view(path, symbol) == wanted


ITEM = '{"a":7,"p":"0.5","q":"23.0","f":9,"l":9,"T":1570752011620,"m":true,"M":true}'
FRAME = (
    '{"stream":"x@aggTrade","data":{"e":"aggTrade","E":1723161255343,"s":"%s","a":7,"p":"1.5","q":"2","f":7,"l":7,'
    '"T":1723161255343,"m":true,"x":"%s"}}'
)


@pytest.mark.parametrize(
    "content",
    [
        f"[{ITEM},{ITEM.replace('0.5', 'x')}, {ITEM}]",
        f"\ufeff{ITEM}\n\n  \n{ITEM.replace('7', '8', 1)}\r\n",
        "\n".join([FRAME % ("BTCUSDT", ""), FRAME % ("BTCUSDT", "y" * 900_000), FRAME % ("A\u0301USDT", ""), "[1]"]),
        "\n".join(
            [FRAME % ("\u5e01\u5b89\u4eba\u751fUSDT", ""), FRAME % ("btcusdt", ""), FRAME % ("BTCUSDT", "\\ud800")]
        ),
        "\n".join([FRAME % ("BTCUSDT", "y" * 300_000), FRAME % ("ETHUSDT", "y" * 70_000), FRAME % ("BTCUSDT", "")]),
        "\n".join([FRAME % ("BTCUSDT", "y" * 2_000_000), FRAME % ("ETHUSDT", "")]),
        FRAME % ("BTCUSDT", "") + "\r" + FRAME % ("ETHUSDT", "") + "\r",
        "\n".join([NAMES + ",note", ",".join(GOOD) + ",", ",".join(GOOD).replace("5", "6", 1) + "," + "n" * 900_000]),
        "\n".join([NAMES + ",symbol", ",".join(GOOD) + ",ETHUSDT", ",".join(GOOD) + ",eth", ",".join(GOOD) + ",BTC:"]),
    ],
)
def test_other_files(tmp_path, content):
    path = tmp_path / "file"
    path.write_text(content, encoding="utf-8", newline="")
    wanted = producers_view(path, "BTCUSDT")
    # Where JSON ends too early, either reason is right (tickhouse.checks.reconcile.dead_letters).
    assert checkers_view(path, "BTCUSDT") == [
        tuple("invalid_json" if one == "truncated" else one for one in line) for line in wanted
    ]
