"""Events that Kafka or retention removed have expired; any other missing event is a fault."""

from __future__ import annotations

from common.kafka_partitions import partition_of
from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.checks.reconcile import bar_comparison, ranges
from tickhouse.checks.reconcile import dead_letters as dead
from tickhouse.checks.reconcile.bars import bars_of
from tickhouse.checks.reconcile.conservation_law import StoreLaw
from tickhouse.checks.reconcile.expired import Expired, Removal
from tickhouse.checks.reconcile.gap_ledger import Ledger
from tickhouse.checks.reconcile.id_law import check_ledger, id_law
from tickhouse.checks.reconcile.kafka_check import (
    ExpectedTradesBuilder,
    KafkaResult,
    KafkaTrust,
    compare_kafka,
)
from tickhouse.checks.reconcile.model import CheckedTrade, kafka_key
from tickhouse.checks.reconcile.offered_events import OfferedEvents
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import ExpectedTrades, Horizon, LakeRepeats, Row, compare

DAY_US = 86_400_000_000
TRADES = [trade(number, time_us=START_US + number * DAY_US) for number in range(6)]
KEY = TRADES[0].key
PARTITION = partition_of(kafka_key(KEY).encode(), 3)
SEEN = {KEY: [(0, 5)]}


def rows(trades: list[CheckedTrade], first_offset: int = 0) -> list[Row]:
    return [Row(one, ("crypto.trades", PARTITION, first_offset + number)) for number, one in enumerate(trades)]


def ends(low: int) -> dict[int, tuple[int, int]]:
    return {partition: (low if partition == PARTITION else 0, 6) for partition in range(3)}


def context(
    in_kafka: list[CheckedTrade], *, low: int, recorded: bool, removals: tuple[Removal, ...] = ()
) -> KafkaResult:
    truth = OfferedEvents()
    if recorded:
        truth.add_all(TRADES, "file")
    writer = {"market": KEY.market, "symbol": KEY.symbol, "stream": KEY.stream, "writer": "file:1", "seen": [(0, 5)]}
    book = Ledger([writer])
    builder = ExpectedTradesBuilder(truth, KafkaTrust(truth, book), ends(low))
    expired = Expired(ends(low), SEEN, removals)
    stored = rows(in_kafka, 6 - len(in_kafka))
    return compare_kafka(stored, builder, book, dead.Letters(), StoreResult("kafka"), expired=expired)


def test_what_kafka_removed_is_expired_and_the_laws_hold() -> None:
    truth = OfferedEvents()
    truth.add_all(TRADES, "file")
    base = context(TRADES[2:], low=2, recorded=True)
    assert (base.kafka.expired, base.kafka.delivered, base.kafka.ok) == (2, 4, True)
    law = id_law(base, truth)
    assert (law.exchange_ids, law.delivered, law.expired, law.holds) == (6, 4, 2, True)
    result = StoreResult("ledger")
    check_ledger(base, truth, result)
    assert result.ok
    assert StoreLaw(6, 4, 0, 0, 2).holds


def test_an_id_is_missing_if_kafka_removed_nothing() -> None:
    base = context(TRADES[2:], low=0, recorded=True)
    assert (base.kafka.expired, base.kafka.faults["missing"]) == (0, 2)


def test_an_id_that_the_ledger_never_saw_is_missing_even_if_kafka_removed_records() -> None:
    expired = Expired(ends(2), {KEY: [(1, 5)]})
    assert expired.in_log(KEY, [0, 1]) == {1}


def test_stores_keep_what_kafka_has_removed_without_a_fault() -> None:
    base = context(TRADES[2:], low=2, recorded=False)  # a live stream: Kafka was the only truth
    result = StoreResult("mongodb")
    compare(rows(TRADES), base.expected, result, horizon=base.horizon)
    assert (result.ahead, result.delivered, result.ok) == (2, 4, True)
    never = StoreResult("mongodb")
    compare(rows([trade(7)]), base.expected, never, horizon=Horizon({KEY: [(0, 1)]}))
    assert never.faults["mismatch"] == 1


def test_only_events_that_had_arrived_before_a_removal_have_expired() -> None:
    # Elasticsearch's trades of the first three days were removed; trade 1 arrived again later, at
    # offset 4.
    removal = Removal("elasticsearch", START_US, START_US + 3 * DAY_US, {PARTITION: 4})
    expired = Expired(ends(0), SEEN, [removal])
    late = [Row(TRADES[1], ("crypto.trades", PARTITION, 4)), Row(TRADES[5], ("crypto.trades", PARTITION, 5))]
    assert list(expired.watch([*rows(TRADES[:1]), *late]))
    find = expired.in_store("elasticsearch", ExpectedTrades({KEY: {one.trade_id: one for one in TRADES}}))
    assert find(KEY, [0, 1, 2, 3, 5]) == {0, 2}
    assert expired.in_store("cassandra", ExpectedTrades({KEY: {}}))(KEY, []) == set()


def test_an_expired_trade_is_counted_and_a_lost_one_is_missing() -> None:
    removal = Removal("elasticsearch", START_US, START_US + 2 * DAY_US)
    expected = ExpectedTrades({KEY: {one.trade_id: one for one in TRADES}})
    result = StoreResult("elasticsearch")
    find = Expired(ends(0), SEEN, [removal]).in_store("elasticsearch", expected)
    compare(rows([TRADES[3], TRADES[4], TRADES[5]]), expected, result, expired=find)
    assert (result.expired, result.faults["missing"], result.delivered) == (2, 1, 3)


def test_bars_of_a_dropped_partition_have_expired_and_a_bar_of_later_events_is_no_fault() -> None:
    wanted = bars_of(TRADES)
    removal = Removal("candles", START_US, START_US + 2 * DAY_US)
    expired = Expired(ends(0), SEEN, [removal])
    result = StoreResult("postgres")
    part = bars_of([TRADES[0]._replace(qty=7)])
    found = [*part.values(), *bars_of(TRADES[2:]).values()]
    bar_comparison.compare(
        found, wanted, result, horizon=Horizon(), is_expired=lambda minute: expired.has_minute("postgres", minute)
    )
    assert (result.ok, result.expired, result.delivered) == (True, 1, 5)
    without = StoreResult("postgres")
    bar_comparison.compare(bars_of(TRADES[2:]).values(), wanted, without, horizon=Horizon())
    assert without.faults["missing"] == 2


def test_the_lake_may_hold_two_copies_if_kafka_has_removed_one_of_its_two() -> None:
    repeats = LakeRepeats({KEY: {0: 1}}, {PARTITION: 3})
    stored = [Row(TRADES[0], ("crypto.trades", PARTITION, 1)), Row(TRADES[0], ("crypto.trades", PARTITION, 4))]
    result = StoreResult("lake")
    compare(repeats.watch(stored), ExpectedTrades({KEY: {0: TRADES[0]}}), result, repeat=repeats)
    assert (result.ok, result.known_duplicates) == (True, 1)
    assert ranges.size(Expired(ends(2), SEEN).from_log(KEY, [(2, 5)])) == 2


def test_enriched_trades_before_the_first_remaining_one_have_expired() -> None:
    begins = {PARTITION: (KEY, 3)}
    expired = Expired(ends(2), SEEN, enriched_begins=begins)
    present = rows(TRADES[1:])
    assert list(expired.watch(present))
    find = expired.in_enriched({KEY: dict.fromkeys((1, 2, 3, 4, 5), 1)})
    # 0 is gone from crypto.trades too, 1 and 2 are before the first remaining one, and 4 was never
    # written.
    assert find(KEY, [0, 1, 2, 4]) == {0, 1, 2}


def test_an_enriched_trade_is_missing_while_its_topic_begins_where_the_log_does() -> None:
    expired = Expired(ends(2), {}, enriched_begins={PARTITION: (KEY, 2)})
    assert list(expired.watch(rows(TRADES[2:])))
    assert expired.in_enriched({KEY: dict.fromkeys((2, 3, 4, 5), 1)})(KEY, [4]) == set()


def test_a_bar_with_removed_and_compared_ids_delivers_the_compared_ones() -> None:
    whole = [trade(number) for number in range(4)]
    removed = Horizon({KEY: [(0, 1)]})
    result = StoreResult("postgres")
    bar_comparison.compare(bars_of(whole).values(), bars_of(whole[2:]), result, horizon=removed, removed=removed)
    assert (result.ahead, result.delivered, result.ok) == (1, 2, True)
