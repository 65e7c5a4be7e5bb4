"""Producer and candles on a file of which every second id is known, against a fresh file.

Both sides time a file of the same size with the same code, in turns. On our side, half of the ids
were replayed twice before: the producer compares these with the log, sends the other half and
closes one gap per id; the candles add only the new ids. The bound is on the rate by wall clock. The
rate per CPU second, which a busy machine disturbs less, is reported as well. Both sides of the
producer read all gaps at their start, also those of earlier pairs; that cost is equal and brings
the ratio nearer to 1.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.bench_stack import BenchStack, wait_for
from bench.harness import Figures, ProcessMeter, alternate, at_least, rounded
from bench.postgres_upsert import ClientAndServerCpu
from common.errors import StoreUnavailable
from common.settings import Settings
from producer.encoding.events import Encoder
from producer.events import Trade
from producer.parsing.decimals import unscaled
from schemas import without_logical_types
from spark.streaming.candle_sink import CandleStore
from spark.streaming.new_ids import FreshPartials
from spark.streaming.partial_sums import Ranges, SymbolStream, TradeReader, partials

BOUND = at_least(0.7)
PAIRS = 3
IDS = 200_000
BATCHES = 10
SCHEMA_ID = 1
START_MS = 1_754_000_000_000
MS_PER_ID = 5

Rates = dict[str, float]


def run(bench: BenchStack) -> Figures:
    """Return lines/s of the producer and trades/s of the candles, and the lower of both ratios."""
    settings, ids = bench.up("kafka", "registry", "postgres"), bench.sized(IDS, 20_000)
    wait_for(lambda: have_leaders(settings), "a leader for every partition", timeout_s=60)
    names = iter(range(10**6))

    def side(is_after_sparse: bool) -> Rates:
        symbol = f"SKIP{next(names)}USDT"
        return {
            **produced(bench, settings, symbol, ids, is_after_sparse=is_after_sparse),
            **summed(settings, symbol, ids, is_after_sparse=is_after_sparse),
        }

    side(True)  # warm
    pairs = alternate(bench.sized(PAIRS, 1), lambda: side(True), lambda: side(False), name="ids_that_skip")
    ratios = {
        name: rounded(statistics.median(mine[name] / theirs[name] for mine, theirs in pairs)) for name in pairs[0][0]
    }
    worst = min(("lines_per_s", "trades_per_s"), key=ratios.__getitem__)
    return {
        "ours": rounded(statistics.median(mine[worst] for mine, _ in pairs)),
        "floor": rounded(statistics.median(theirs[worst] for _, theirs in pairs)),
        "ratio": ratios[worst],
        "unit": worst,
        "ratio_by_part": ratios,
        "how": f"files of {ids:,} ids; ours: every second id replayed twice, then the dense file is timed; floor: the "
        "dense file of a fresh symbol. lines_per_s: `producer.replay.replay` into Kafka, repeats compared; "
        f"trades_per_s: decoding, partial sums and `CandleStore` in {BATCHES} batches, the whole dense file (as "
        "`--again` sends them); per_cpu_s: per CPU second of this process, for trades of PostgreSQL's too",
    }


def have_leaders(settings: Settings) -> bool:
    """Return whether the new topics have leaders, so that their offsets can be read."""
    from common.clients.kafka import TopicLog
    from common.topics import GAPS, LEDGER, PRODUCER_DEAD_LETTERS, TICKS, TRADES

    reader = TopicLog(settings.kafka_bootstrap_servers)
    try:
        return all(reader.ends(topic) for topic in (TRADES, TICKS, LEDGER, GAPS, PRODUCER_DEAD_LETTERS))
    except StoreUnavailable:
        return False
    finally:
        reader.close()


def produced(bench: BenchStack, settings: Settings, symbol: str, ids: int, *, is_after_sparse: bool) -> Rates:
    """Return the rates of the replay of the dense file."""
    if is_after_sparse:
        sparse = archive(bench.file(f"{symbol}-aggTrades-sparse.csv"), range(1, ids + 1, 2))
        for _ in range(2):
            replayed(settings, sparse, symbol)
    dense = archive(bench.file(f"{symbol}-aggTrades-dense.csv"), range(1, ids + 1))
    meter = ProcessMeter()
    replayed(settings, dense, symbol)
    taken = meter.taken()
    return {"lines_per_s": rounded(ids / taken["seconds"]), "lines_per_cpu_s": rounded(ids / taken["cpu_s"])}


def archive(path: Path, ids: Iterable[int]) -> Path:
    """Write a spot archive of aggregate trades."""
    path.write_text("".join(f"{n},100.5,1.0,{n},{n},{START_MS + n * MS_PER_ID},True,True\n" for n in ids))
    return path


def replayed(settings: Settings, path: Path, symbol: str) -> None:
    """Replay a file as `tickhouse replay` does."""
    from producer.parsing.source_files import open_source
    from producer.replay import replay
    from producer.writer.ledger_store import file_writer
    from producer.writer.open_writer import open_writer

    source = open_source(path, symbol)
    writer = open_writer(settings, market="spot", writer=file_writer(source.sha256), follows_gaps=False)
    replay(source, writer)
    writer.reader.close()


def summed(settings: Settings, symbol: str, ids: int, *, is_after_sparse: bool) -> Rates:
    """Return the rates from Kafka's bytes to candles in PostgreSQL."""
    store = CandleStore(settings.database_dsn("stream"))
    try:
        if is_after_sparse:
            for _ in range(2):
                applied(store, values(symbol, range(1, ids + 1, 2)))
        dense = values(symbol, range(1, ids + 1))
        store.applied([])  # connected
        meter = ClientAndServerCpu(settings, "tickhouse-candles")
        applied(store, dense)
        rates = meter.rates([dense])
        return {"trades_per_s": rates["per_s"], "trades_per_cpu_s": rates["per_cpu_s"]}
    finally:
        store.close()


def values(symbol: str, ids: Iterable[int]) -> list[bytes]:
    """Return trades as they are in Kafka."""
    encoder = Encoder("spot", trade_schema_id=SCHEMA_ID, tick_schema_id=SCHEMA_ID)
    encode, price, qty = encoder.trades(symbol, "aggTrade", "ARCHIVE"), unscaled("100.5"), unscaled("1.0")
    encoded = []
    for n in ids:
        time_us = (START_MS + n * MS_PER_ID) * 1000
        trade = Trade("aggTrade", symbol, n, n, n, price, qty, "SELL", time_us, time_us)
        encoded.append(encode(f"binance:spot:{symbol}:aggTrade:{n}", trade, time_us, b"{}"))
    return encoded


def applied(store: CandleStore, trades: list[bytes]) -> None:
    """Do what the query `candles` does, batch by batch."""
    reader = TradeReader({SCHEMA_ID: without_logical_types("trade")})

    def sums(batch: list[bytes], seen: Mapping[SymbolStream, Ranges]) -> list[dict[str, Any]]:
        return partials(reader.facts(batch), seen)

    fresh: FreshPartials[list[bytes]] = FreshPartials(sums, store.applied)
    for at in range(0, len(trades), size := max(1, len(trades) // BATCHES)):
        store.apply([row for row in fresh(trades[at : at + size]) if row["is_fresh"]])
