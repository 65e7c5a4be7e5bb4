"""Candle rows per CPU second into PostgreSQL, exactly once by id, against a plain upsert."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, LiteralString

import psutil
import psycopg

from bench.bench_stack import BenchStack, wait_for
from bench.harness import Figures, ProcessMeter, alternate, at_least, compared, ratio_of, rounded
from bench.market import market_config
from common.settings import Settings
from spark.streaming.candle_sink import CandleStore, utc
from spark.streaming.partial_sums import SymbolStream, TradeFacts, partials

BOUND = at_least(0.6)
PAIRS = 5
Rows = list[dict[str, Any]]

COLUMNS: LiteralString = (
    "market, symbol, stream, open_time, open, high, low, close, volume, quote_volume, vwap, trades, agg_trades, "
    "taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, checksum"
)
_KEY: LiteralString = "market, symbol, stream, open_time"
_TABLE: LiteralString = """
CREATE TABLE IF NOT EXISTS market.bench_floor (LIKE market.candles_1m INCLUDING ALL);
GRANT SELECT, INSERT, UPDATE ON market.bench_floor TO tickhouse_stream
"""
_EMPTY: LiteralString = "TRUNCATE market.candles_1m, market.trade_ranges, market.bench_floor"
_STAGE: LiteralString = (
    "CREATE TEMP TABLE IF NOT EXISTS plain (LIKE market.candles_1m INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
)
_COPY: LiteralString = f"COPY plain ({COLUMNS}) FROM STDIN (FORMAT TEXT)"
_SETS: LiteralString = (
    "open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, "
    "volume = excluded.volume, quote_volume = excluded.quote_volume, vwap = excluded.vwap, "
    "trades = excluded.trades, agg_trades = excluded.agg_trades, taker_buy_volume = excluded.taker_buy_volume, "
    "taker_buy_quote_volume = excluded.taker_buy_quote_volume, open_trade_id = excluded.open_trade_id, "
    "close_trade_id = excluded.close_trade_id, checksum = excluded.checksum, updated_at = clock_timestamp()"
)
_UPSERT: LiteralString = (
    f"INSERT INTO market.bench_floor ({COLUMNS}) SELECT {COLUMNS} FROM plain "  # noqa: S608  # constants above
    f"ON CONFLICT ({_KEY}) DO UPDATE SET {_SETS}"
)
_BACKEND: LiteralString = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"


def run(bench: BenchStack) -> Figures:
    """Measure rows per CPU second of client and server process together."""
    settings = bench.up("postgres")
    # 400 minutes of 24 symbols in pieces of 80 minutes, as in a replay. The pieces end 30 s into a
    # minute, so that the bars at each end are updated.
    large = cut(bench.sized(400, 40), seconds_per_batch=4_770, events_per_minute=500)
    # A few minutes in pieces of a second, as in the live stream: nearly all rows are updates.
    small = cut(bench.sized(4, 1), seconds_per_batch=1, events_per_minute=bench.sized(60_000, 6_000))
    pairs = measured(settings, large, bench.sized(PAIRS, 2), "postgres_upsert")
    live = measured(settings, small, bench.sized(3, 1), "postgres_upsert live")
    rows, batches = sum(map(len, large)), len(large)
    return compared(
        [(mine["per_cpu_s"], floor["per_cpu_s"]) for mine, floor in pairs],
        "rows per CPU s",
        ratio_wall=rounded(ratio_of([(mine["per_s"], floor["per_s"]) for mine, floor in pairs])),
        live_batches=compared([(mine["per_cpu_s"], floor["per_cpu_s"]) for mine, floor in live], "rows per CPU s"),
        how=f"alternate runs into empty tables, {rows} rows in {batches} batches; ours: CandleStore.apply of "
        "fresh partials (stage, claim, lock, overlap check, merge, ids); floor: COPY of finished candles to a stage "
        "and INSERT … ON CONFLICT DO UPDATE, one transaction per batch too, same role and connection; CPU of this "
        f"process and its server process; `live_batches`: the same with {len(small)} batches of {len(small[0])} rows",
    )


def cut(minutes: int, *, seconds_per_batch: int, events_per_minute: int) -> list[Rows]:
    """Return the partials of a synthetic market, batch by batch as time passes."""
    batches: dict[int, list[TradeFacts]] = {}
    for fact in facts(minutes * events_per_minute, minutes * 60):
        batches.setdefault(fact.time_us // 1_000_000 // seconds_per_batch, []).append(fact)
    return [partials(of_batch, {}) for of_batch in batches.values()]


def facts(events: int, length_s: int) -> Iterator[TradeFacts]:
    """Yield the trades of a synthetic market as the streaming job reads them."""
    from standins.exchange.synthetic_market import MarketConfig, trades
    from standins.exchange.trade_columns import to_units

    for trade in trades(MarketConfig.model_validate(market_config(events, length_s))):
        yield TradeFacts(
            f"binance:spot:{trade.symbol}:aggTrade:{trade.agg_id}", SymbolStream("spot", trade.symbol, "aggTrade"),
            trade.agg_id,
            trade.last_id - trade.first_id + 1, to_units(trade.price), to_units(trade.qty),
            "SELL" if trade.is_buyer_maker else "BUY", trade.time_us,
        )  # fmt: skip


def measured(
    settings: Settings, batches: list[Rows], pairs: int, name: str
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Return pairs of rates."""
    finished = [[candle(row) for row in batch] for batch in batches]
    with psycopg.connect(settings.database_dsn("owner"), autocommit=True) as owner:
        owner.execute(_TABLE)

        def side(run_side: Callable[[], dict[str, float]]) -> Callable[[], dict[str, float]]:
            def timed() -> dict[str, float]:
                owner.execute(_EMPTY)
                return run_side()

            return timed

        mine, theirs = side(lambda: ours(settings, batches)), side(lambda: floor(settings, finished))
        mine(), theirs()  # warm-up: a new server has read neither catalogue nor table
        return alternate(pairs, mine, theirs, name=name)


def candle(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a partial bar as a whole candle, in the order of `COLUMNS`."""
    same = ("open", "high", "low", "close", "volume", "quote_volume")
    taker = ("taker_buy_volume", "taker_buy_quote_volume", "open_trade_id", "close_trade_id")
    return (
        row["market"], row["symbol"], row["stream"], utc(row["minute_us"]), *(row[name] for name in same), row["close"],
        row["trades"], row["events"], *(row[name] for name in taker), int(row["checksum"]) % 2**64,
    )  # fmt: skip


def ours(settings: Settings, batches: list[Rows]) -> dict[str, float]:
    """Apply every batch through the streaming job's own store."""
    store = CandleStore(settings.database_dsn("stream"))
    try:
        store.applied([])  # connected
        meter = ClientAndServerCpu(settings, "tickhouse-candles")
        for batch in batches:
            store.apply(batch)
        return meter.rates(batches)
    finally:
        store.close()


def floor(settings: Settings, batches: list[list[tuple[Any, ...]]]) -> dict[str, float]:
    """Upsert every batch."""
    with psycopg.connect(
        settings.database_dsn("stream"), connect_timeout=5, application_name="bench-floor"
    ) as connection:
        meter = ClientAndServerCpu(settings, "bench-floor")
        for batch in batches:
            with connection.transaction():
                connection.execute(_STAGE)
                with connection.cursor().copy(_COPY) as copy:
                    for row in batch:
                        copy.write_row(row)
                connection.execute(_UPSERT)
        return meter.rates(batches)


class ClientAndServerCpu:
    """CPU of this process and of the server process of one of its connections."""

    def __init__(self, settings: Settings, application: str) -> None:
        self._server = psutil.Process(_backend(settings, application))
        self._server_s, self._own = self._spent(), ProcessMeter()

    def _spent(self) -> float:
        times = self._server.cpu_times()
        return float(times.user + times.system)

    def rates(self, batches: Sequence[Sequence[Any]]) -> dict[str, float]:
        """Return rows per CPU second and per second so far."""
        own, rows = self._own.taken(), sum(map(len, batches))
        cpu_s = own["cpu_s"] + self._spent() - self._server_s
        return {"per_cpu_s": rounded(rows / cpu_s), "per_s": rounded(rows / own["seconds"])}


def _backend(settings: Settings, application: str) -> int:
    """Return the pid of the one server process; an earlier connection may still be closing."""
    with psycopg.connect(settings.database_dsn("owner")) as connection:

        def only_pid() -> int | None:
            connection.execute("SELECT pg_stat_clear_snapshot()")
            rows = connection.execute(_BACKEND, [application]).fetchall()
            return int(rows[0][0]) if len(rows) == 1 else None

        return int(wait_for(only_pid, f"one connection of {application}", timeout_s=5, every_s=0.1))
