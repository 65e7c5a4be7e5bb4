"""Find trade streams that send nothing although their market trades.

The last trade of each quiet stream is compared with REST's.

A connection may be open, answer pings and carry other streams while one of its streams sends
nothing. On 2026-04-23 Binance moved the USD-M streams to routed addresses. The old address still
accepted subscriptions, but sent no aggTrade any more (binance-public-data #472). No id is skipped
then, so the gap ledger cannot notice it.

A check runs every `every_s`:
1. A stream that received a frame since the last check is alive, and needs no request.
2. Of the others, those whose last trade changed in the 24 h tickers (one request for all symbols)
   are suspected.
3. The trade after the last one is requested from REST: first for suspected streams, then for those
   whose last comparison is the oldest, as long as `COMPARE_SHARE` of the request weight allows. On
   a quiet market there is no such trade, and the stream is healthy.
4. A stream for which REST has a newer trade, and which receives no frame within `grace_s`, is
   silent: it is logged, shown in the metrics and filled from REST at every check, and its
   connection is replaced once.
5. It counts as silent until a frame comes, or until REST had nothing new in `QUIET_CHECKS` checks:
   then its market is quiet, and it is watched like other quiet streams.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from common.errors import ExchangeUnavailable
from common.symbols import in_stream_name
from producer.events import MAX_ID
from producer.exchange.rest import SHARE, RestClient
from producer.exchange.rest_responses import LOG_AGAIN_S, ExchangeRefused
from producer.exchange.subscriptions import NAMED_IN_LOG
from producer.ledger.stream_ledger import StreamLedger
from producer.recovery.gap_filling import GapFiller, received

log = structlog.get_logger(__name__)

# Two checks and the grace are 45 s: under two minutes even when the first check after the silence
# finds no newer trade.
EVERY_S: Final = 20.0
# A frame may come this much later than REST shows its trade; at most half of `every_s`.
GRACE_S: Final = 5.0
# Share of the request weight per minute: 600 of 6,000 on spot, 240 of 2,400 on USD-M.
COMPARE_SHARE: Final = 0.1
# A stream whose last trade changed in this many checks in a row, without a frame, is silent even
# when the request weight did not suffice to compare it.
CHECKS_UNTIL_SILENT: Final = 2
# After this many fillings without a new trade the market is quiet; more polling would take request
# weight from other streams.
QUIET_CHECKS: Final = 3


class WatchedStream:
    """The state of one trade stream between two checks."""

    def __init__(self, ledger: StreamLedger) -> None:
        self.ledger, self.frames = ledger, -1  # so that its first check counts it as alive
        self.exchange_id: int | None = None  # last single trade by the 24 h ticker
        self.newest_id: int | None = None  # newest REST id at the first comparison, for a stream without any event
        self.suspected = 0  # checks in a row
        self.compared_at = 0.0
        self.silent_since: float | None = None
        self.logged_at = -LOG_AGAIN_S
        self.filled = (0, 0)  # fillings and events fed from REST at the last check
        self.quiet_checks = 0

    @property
    def name(self) -> str:
        """Return the exchange's name of the stream."""
        return f"{in_stream_name(self.ledger.symbol)}@{self.ledger.stream}"


class SilentStreamWatch:
    """Watches the trade streams of one live producer.

    Args:
        rest: The REST API to compare with.
        filler: Fetches what a silent stream misses.
        ledgers: Returns the ledgers of the trade streams that are subscribed now.
        listening_since: Returns the exchange's clock (ms) when a stream was subscribed.
        renew: Replaces the connections that carry these streams.
        is_paused: Returns whether the trades are polled from REST anyway.
        every_s: Seconds between two checks.
        clock: Monotonic seconds.
        sleep: Waits for the given seconds.
    """

    def __init__(
        self,
        rest: RestClient,
        filler: GapFiller,
        *,
        ledgers: Callable[[], list[StreamLedger]],
        listening_since: Callable[[StreamLedger], int | None],
        renew: Callable[[Iterable[str]], None],
        is_paused: Callable[[], bool] = lambda: False,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rest, self._filler, self._ledgers, self._listening_since = rest, filler, ledgers, listening_since
        self._renew, self._is_paused, self._clock, self._sleep = renew, is_paused, clock, sleep
        self._every_s, self._grace_s = every_s, min(GRACE_S, every_s / 2)
        self._streams: dict[str, WatchedStream] = {}
        self._weight_left = 0  # request weight that the current check may still spend
        self.requests = self.weight = self.episodes = 0

    async def run(self) -> None:
        """Check every `every_s` until cancelled."""
        while True:
            await self._sleep(self._every_s)
            if not self._is_paused():
                await self.check_streams()

    def silent_s(self) -> dict[tuple[str, str], float]:
        """Return for how many seconds each silent stream, by (stream, symbol), has been silent."""
        now = self._clock()
        return {
            (watched.ledger.stream, watched.ledger.symbol): now - watched.silent_since
            for watched in list(self._streams.values())
            if watched.silent_since is not None
        }

    async def check_streams(self) -> None:
        """Check every stream once."""
        quiet = [watched for watched in self._current_streams() if not self._has_new_frames(watched)]
        for watched in quiet:
            if watched.silent_since is not None:
                self._fill(watched)
        unsure = [watched for watched in quiet if watched.silent_since is None]
        self._weight_left = self._weight_per_check()
        suspected = await self._suspected(unsure)
        ahead = await self._with_newer_trades(self._affordable(unsure, suspected))
        if ahead:
            await self._sleep(self._grace_s)
        overdue = [watched for watched in suspected if watched.suspected >= CHECKS_UNTIL_SILENT]
        self._declare_silent([*self._without_frames(ahead), *overdue])

    def _current_streams(self) -> list[WatchedStream]:
        self._streams = {  # replaced as a whole: the thread of the metrics reads it
            ledger.name: self._streams.get(ledger.name) or WatchedStream(ledger) for ledger in self._ledgers()
        }
        return list(self._streams.values())

    def _has_new_frames(self, watched: WatchedStream) -> bool:
        """Return whether frames came since the last check; true at the first check."""
        frames = received(watched.ledger) - self._filler.fed[watched.ledger.name]
        moved, watched.frames = frames != watched.frames, frames
        if moved:
            watched.suspected = 0
            self._end_silence(watched)
        return moved

    def _fill(self, watched: WatchedStream) -> None:
        """Queue a silent stream for filling, unless the last fillings found no new trade."""
        (checks, fed), name = watched.filled, watched.ledger.name
        watched.filled = self._filler.checks[name], self._filler.fed[name]
        if watched.filled[1] != fed:
            watched.quiet_checks = 0
        elif watched.filled[0] != checks:
            watched.quiet_checks += 1
        if watched.quiet_checks < QUIET_CHECKS:
            self._filler.add(watched.ledger)
            return
        log.info("REST has nothing newer for a silent stream: its market is quiet", stream=watched.name)
        watched.silent_since, watched.quiet_checks = None, 0

    def _end_silence(self, watched: WatchedStream) -> None:
        if watched.silent_since is not None:
            silent_s = self._clock() - watched.silent_since
            log.info("a silent stream sends again", stream=watched.name, after_s=round(silent_s, 1))
            watched.silent_since = None

    def _weight_per_check(self) -> int:
        """Return the request weight that one check may spend."""
        return int(self._rest.budget.limit * COMPARE_SHARE * self._every_s / 60)

    def _cost(self, watched: WatchedStream) -> int:
        paths = {"aggTrade": "aggTrades", "trade": "historicalTrades"}
        return self._rest.weights[paths[watched.ledger.stream]]

    def _spend(self, weight: int) -> None:
        self.requests += 1
        self.weight += weight
        self._weight_left -= weight

    async def _suspected(self, unsure: list[WatchedStream]) -> list[WatchedStream]:
        """Return the streams whose symbol traded since the last check.

        The list is empty when comparing each stream is cheaper than this request.
        """
        weight = self._rest.weights["ticker/24hr"]
        if sum(map(self._cost, unsure)) <= weight or weight > self._weight_per_check():
            return []
        self._spend(weight)
        try:
            last_ids = await self._rest.last_trade_ids()
        except (ExchangeUnavailable, ExchangeRefused):  # the client has logged it; streams are compared in turn
            return []
        for watched in self._streams.values():
            previous, watched.exchange_id = watched.exchange_id, last_ids.get(watched.ledger.symbol)
            has_traded = None not in (previous, watched.exchange_id) and previous != watched.exchange_id
            watched.suspected = watched.suspected + 1 if has_traded else 0
        return [watched for watched in unsure if watched.suspected]

    def _affordable(self, unsure: list[WatchedStream], suspected: list[WatchedStream]) -> list[WatchedStream]:
        """Return the streams to compare now, at least one.

        Suspected ones come first, then those whose last comparison is the oldest.
        """
        names = {watched.name for watched in suspected}
        ordered = sorted(unsure, key=lambda watched: (watched.name not in names, watched.compared_at))
        left, chosen = self._weight_left, list[WatchedStream]()
        for watched in ordered:
            if chosen and left < self._cost(watched):
                break
            left -= self._cost(watched)
            chosen.append(watched)
        return chosen

    async def _with_newer_trades(self, chosen: list[WatchedStream]) -> list[tuple[WatchedStream, int]]:
        """Return the streams for which REST has a trade that we do not have, with its id."""
        ahead = []
        for watched in chosen:
            watched.compared_at = self._clock()
            self._spend(self._cost(watched))
            try:
                following = await self._next_trade_id(watched)
            except ExchangeRefused as error:
                if error.is_of_symbol:
                    self._filler.note_refusal(watched.ledger, error)
                else:  # our last id is too old for REST: the gap filler takes the newest trade
                    self._filler.add(watched.ledger)
                continue
            except ExchangeUnavailable:
                break  # the client has logged it; the others come first at the next check
            self._filler.note_answer(watched.ledger)
            watched.suspected = 0
            if following is not None:
                ahead.append((watched, following))
        return ahead

    async def _next_trade_id(self, watched: WatchedStream) -> int | None:
        """Return the id of the exchange's next trade after ours, None when there is none."""
        ledger = watched.ledger
        ledger.flush_run()
        if ledger.own.last is not None:
            unknown = ledger.missing(ledger.own.last + 1, MAX_ID)[0][0]  # other writers may have sent the next ids
            return _first_id(await self._rest.trades(ledger.stream, ledger.symbol, unknown, 1, share=SHARE))
        since_ms = self._listening_since(ledger)
        if since_ms is not None and ledger.stream == "aggTrade":
            return _first_id(await self._rest.first_since(ledger.symbol, since_ms * 1000))
        newest = _first_id(await self._rest.trades(ledger.stream, ledger.symbol, None, 1, share=SHARE))
        previous, watched.newest_id = watched.newest_id, newest
        return newest if previous is not None and newest != previous else None

    def _without_frames(self, ahead: list[tuple[WatchedStream, int]]) -> list[WatchedStream]:
        """Return the streams that received neither a frame nor that trade within the grace time."""
        return [
            watched
            for watched, number in ahead
            if received(watched.ledger) - self._filler.fed[watched.ledger.name] == watched.frames
            and watched.ledger.missing(number, number)
        ]

    def _declare_silent(self, silent: list[WatchedStream]) -> None:
        now = self._clock()
        newly_silent = [watched for watched in silent if watched.silent_since is None]
        for watched in newly_silent:
            watched.silent_since = now
            watched.filled = self._filler.checks[watched.ledger.name], self._filler.fed[watched.ledger.name]
            self._filler.add(watched.ledger)
        to_log = [watched for watched in newly_silent if now - watched.logged_at >= LOG_AGAIN_S]
        if to_log:
            self.episodes += len(to_log)
            log.warning("streams are silent while the exchange trades; filled from REST until frames come again",
                        count=len(to_log), streams=[watched.name for watched in to_log[:NAMED_IN_LOG]])  # fmt: skip
        for watched in to_log:
            watched.logged_at = now
        self._renew([watched.name for watched in newly_silent])


def _first_id(rows: list[tuple[int, bytes]]) -> int | None:
    return rows[0][0] if rows else None
