from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from standins.exchange import rest_responses
from standins.exchange.config import Capture
from standins.exchange.klines import bars
from standins.exchange.recorded_market import RecordedSource, in_unit
from standins.exchange.rest_parameters import RestParameters
from standins.exchange.rest_responses import RestRequest
from standins.exchange.synthetic_market import MINUTE
from standins.exchange.trade_columns import SENTINEL
from tests.unit.standins.exchange.players import Player

ABOVE = [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
SHARED = next((folder for folder in ABOVE if folder.is_dir()), None)

AGG = (
    '{{"e":"aggTrade","E":{t},"s":"BTCUSDT","a":{a},"p":"{p}","q":"0.50000000","f":{a},"l":{a},"T":{t},'
    '"m":true,"M":true}}'
)
REST_LINE = '{"a":7,"p":"100.0","q":"0.5","f":9,"l":10,"T":1704067200039,"m":true}\n'
BROKEN = ["", "nonsense\n", '1 {"stream":"btcusdt@aggTrade","data":{broken}}\n', "1,2,3,4,5,6,7\n"]


def agg(number: int, price: str = "100.00000000") -> str:
    return AGG.format(t=1_723_161_255_000 + number, a=number, p=price)


def envelope(data: str) -> str:
    return f'{{"stream":"btcusdt@aggTrade","data":{data}}}'


def load(path: Path, **more: str) -> RecordedSource:
    return RecordedSource.load(Capture.model_validate({"files": [path], **more}))


def test_envelopes_are_replayed_byte_for_byte_and_snapshots_are_skipped(tmp_path: Path) -> None:
    frames = [envelope(agg(n)) for n in range(5)]
    lines = [f"172316125308576{n} {frame}" for n, frame in enumerate(frames)]
    path = tmp_path / "capture.txt.gz"
    path.write_bytes(gzip.compress("\n".join([lines[0], '1 {"lastUpdateId":1,"bids":[]}', *lines[1:]]).encode()))
    player = Player({"playback": {"speed": "max"}}, load(path))
    _, socket = player.connect("btcusdt@aggTrade")
    player.run(1)
    assert [payload.decode() for opcode, payload in socket.frames() if opcode == 1] == frames
    assert player.playback.state == "done"


def test_cryptofeed_lines_may_be_blank_and_start_with_the_address(tmp_path: Path) -> None:
    path = tmp_path / "capture.ws.txt"
    path.write_text(f"wss://x/stream?streams=btcusdt@aggTrade <-> 1.5\n1.6: {envelope(agg(1))}\n\n")
    assert [one.data for one in load(path).recordings] == [agg(1)]


@pytest.mark.parametrize(
    ("name", "text", "market"),
    [
        ("BTCUSDT-aggTrades-2026-01-01.csv", "7,100.00000000,0.5,9,10,1767225600039409,True,True\n", "spot"),
        ("BTCUSDT-aggTrades-2024-01-01.csv", "agg_trade_id,p,q,f,l,t,m\n7,100.0,0.5,9,10,1704067200039,true\n", "usdm"),
        ("x_BTCUSDT_aggTrades_1.jsonl", REST_LINE, "spot"),
    ],
)
def test_records_without_frames_become_agg_trades(tmp_path: Path, name: str, text: str, market: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    source = load(path, market=market)
    table = source.agg_trades("BTCUSDT")
    assert table is not None
    assert (table.ids.tolist(), table.first.tolist(), table.last.tolist()) == ([7], [9], [10])
    event = source.recordings[0].event
    assert (event["e"], event["s"], event["m"]) == ("aggTrade", "BTCUSDT", True)
    assert ("M" in event) == (market == "spot")


def test_the_first_of_two_records_of_one_id_counts_in_rest_and_both_are_replayed(tmp_path: Path) -> None:
    path = tmp_path / "capture.txt"
    path.write_text("".join(f"1 {envelope(agg(1, price))}\n" for price in ("100.00000000", "200.00000000")))
    source = load(path)
    request = RestRequest(source, source.end_us, RestParameters({"symbol": "BTCUSDT"}, {"BTCUSDT"}), False, 6_000)
    assert [row["p"] for row in json.loads(rest_responses.agg_trades(request))] == ["100.00000000"]
    assert len(source.recordings) == 2


def test_sentinels_and_unusual_texts_are_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "capture.txt"
    path.write_text(f"1 {envelope(agg(1, '0'))}\n1 {envelope(agg(2, '1.5'))}\n")
    table = load(path).agg_trades("BTCUSDT")
    assert table is not None
    assert table.flags.tolist() == [SENTINEL, 0]
    assert [table.texts(row)[0] for row in range(2)] == ["0", "1.5"]


def test_units_convert_event_and_trade_time_only() -> None:
    text = '{"E":1723161255000,"T":1723161255001,"u":1723161255002}'
    micro = in_unit(text, 1)
    assert micro == '{"E":1723161255000000,"T":1723161255001000,"u":1723161255002}'
    assert in_unit(micro, 1_000) == text


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_is_no_capture_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "capture.txt"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load(path)


def test_usdm_klines_of_a_capture_equal_those_of_binance() -> None:
    if SHARED is None:
        pytest.skip("the shared captures (shared/data beside the repository) are not here")
    source = load(SHARED / "ws" / "hft_usdm_btcusdt_20240808.txt.gz", market="usdm")
    table = source.single_trades("BTCUSDT")
    assert table is not None
    found = {bar.open_us // 1_000: bar for bar in bars(table, MINUTE, 0, 2**62, source.end_us)}
    with (SHARED / "klines" / "usdm_BTCUSDT-1m-2024-08-08T2355.csv").open() as lines:
        for row in csv.DictReader(lines):
            bar = found[int(row["open_time"])]
            names = ("open", "high", "low", "close", "volume")
            assert [Decimal(getattr(bar, n)).scaleb(-8) for n in names] == [Decimal(row[n]) for n in names]
            assert Decimal(bar.quote_volume).scaleb(-16) == Decimal(row["quote_volume"])
            assert bar.trades == int(row["count"])
            assert Decimal(bar.taker_volume).scaleb(-8) == Decimal(row["taker_buy_volume"])
            assert Decimal(bar.taker_quote_volume).scaleb(-16) == Decimal(row["taker_buy_quote_volume"])
