"""The event clock, and what happens as it passes: frames go out, faults fire.

Order of one step: advance the clock, play the frames up to it, write them in one go, then let REST see the trades.
REST answers only from trades whose time the clock has reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from stack.exchange import faults
from stack.exchange.config import ExchangeConfig
from stack.exchange.connections import Hub
from stack.exchange.frames import compact
from stack.exchange.garbage import GarbageBin
from stack.exchange.limits import WeightLimiter
from stack.exchange.protocol import success
from stack.exchange.tape import Frame, Tape

# A batch every 5 ms: real-time frames are at most that late, and one write carries ten or more of them at full load.
TICK_S = 0.005
# How many trades a step plays when the speed is `max`, and how much a client may owe before it waits.
MAX_STEP_EVENTS = 400
MAX_BACKLOG_BYTES = 256 * 1024
# In timed playback a client may owe this much (about 20,000 frames) before it stalls the market or is cut.
TIMED_BACKLOG_BYTES = 4 * 1024 * 1024
# After the last event, garbage still waiting for a client is dropped after this long.
LAST_GARBAGE_S = 10.0

FOREVER_US = 2**62


class Playback:
    """Plays a tape to the connections of a hub.

    Args:
        config: The whole configuration.
        tape: What is played.
        hub: Who listens.
        limiter: Where REST faults go.
        clock: Monotonic seconds.
        wall_us: UTC microseconds.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        tape: Tape,
        *,
        hub: Hub,
        limiter: WeightLimiter,
        clock: Callable[[], float],
        wall_us: Callable[[], int],
    ) -> None:
        self.config = config
        self.tape = tape
        self.hub = hub
        self.limiter = limiter
        self.clock = clock
        self.wall_us = wall_us
        self.seed = config.market.seed
        self.state = "waiting"
        self.now_us = tape.start_us - 1
        self.emitted_us = tape.start_us - 1
        self.started_at_us: int | None = None
        self.garbage = GarbageBin(self.seed, wall_us)
        self.counts: Counter[str] = Counter()
        self.fired: list[dict[str, Any]] = []
        self.refused_until_s = 0.0
        self.blocked_until_s = 0.0
        self._due_s: float | None = None
        self._last_s = 0.0
        self._done_at_s = 0.0
        self._actions: list[faults.Action] = []
        self._until_us = {"repeat": 0, "reorder": 0, "microseconds": 0, "delay": 0}
        self._percent = {"repeat": 0.0, "reorder": 0.0}
        for fault in faults.at_boot(config.faults):
            self.fire(fault, 0)
        if config.playback.start == "boot":
            self.start()

    # -- starting and stepping ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the clock after `start_after_s`; a second call does nothing."""
        if self.state == "waiting" and self._due_s is None:
            self._due_s = self.clock() + self.config.playback.start_after_s

    def noticed(self, what: str) -> None:
        """Start if this is what the configuration waits for: `subscription`, or `client` for any request."""
        wanted = self.config.playback.start
        if wanted == what or (wanted == "client" and what == "subscription"):
            self.start()

    def step(self) -> bool:
        """Do one turn; return whether the next may follow without a pause."""
        now_s = self.clock()
        if self.state == "waiting":
            if self._due_s is None or now_s < self._due_s:
                return False
            self._begin(now_s)
        before_us = self.now_us
        self.garbage.hand_out(self.hub.subscribed(), now_s, self.emitted_us)
        if self.state == "playing":
            self._advance(self._target(now_s), now_s)
            self.hub.flush()
            self._finish(now_s)
        self._last_s = now_s
        return self.config.playback.speed == "max" and self.now_us > before_us and self.state == "playing"

    def _begin(self, now_s: float) -> None:
        self.started_at_us = self.wall_us()
        if self.config.playback.live_times:
            self.tape = self.tape.starting_at(self.started_at_us // 1_000 * 1_000)
        self.now_us = self.emitted_us = self.tape.start_us - 1
        clockwork = faults.Clockwork(self.tape.start_us, self.tape.end_us, self.tape.time_of)
        self._actions = faults.schedule(self.config.faults, clockwork, self.seed)
        self._last_s = now_s
        self.state = "playing"

    def _target(self, now_s: float) -> int:
        speed = self.config.playback.speed
        if speed == "max":
            return self._target_at_max(now_s)
        if self.config.playback.live_times:
            self._cut_slow_clients()
            return min(self.tape.end_us, self.wall_us())
        if self.config.playback.slow_client == "cut":
            self._cut_slow_clients()
        elif self.hub.backlog() > TIMED_BACKLOG_BYTES:
            return self.now_us
        return min(self.tape.end_us, self.now_us + int((now_s - self._last_s) * speed * 1_000_000))

    def _target_at_max(self, now_s: float) -> int:
        has_client = bool(self.hub.subscribed()) or self.is_blocked(now_s)
        if not has_client or self.hub.backlog() > MAX_BACKLOG_BYTES:
            return self.now_us
        played = self.tape.count_until(self.now_us)
        if played >= self.tape.count_until(self.tape.end_us):
            return self.tape.end_us
        return max(self.now_us + 1, min(self.tape.end_us, self.tape.time_of(played + MAX_STEP_EVENTS)))

    def _cut_slow_clients(self) -> None:
        for connection in self.hub.subscribed():
            if connection.backlog() > TIMED_BACKLOG_BYTES:
                self.counts["slow_clients_cut"] += 1
                connection.cut()

    def _advance(self, to_us: int, now_s: float) -> None:
        while self._actions and self._actions[0].at_us <= to_us:
            action = self._actions[0]
            self._emit(max(self.now_us, action.at_us))
            if isinstance(action.fault, _DISRUPTIVE) and not self.garbage.is_settled(now_s):
                return
            self._actions.pop(0)
            self.fire(action.fault, action.nth)
        self._emit(to_us)

    def _finish(self, now_s: float) -> None:
        if self.now_us < self.tape.end_us or self.emitted_us < self.tape.end_us:
            return
        self._done_at_s = self._done_at_s or now_s
        if self.garbage.pending and now_s - self._done_at_s < LAST_GARBAGE_S:
            return
        self.counts["garbage_never_sent"] += len(self.garbage.pending)
        self.garbage.pending.clear()
        self.state = "done"

    # -- frames ------------------------------------------------------------------------------------------------

    def _emit(self, to_us: int) -> None:
        """Play up to a moment, unless a delay holds the frames back; the clock itself moves on."""
        self.now_us = max(self.now_us, to_us)
        held_until_us = self._until_us["delay"]
        if to_us < held_until_us <= self.tape.end_us or self.emitted_us >= to_us:
            return
        wanted = self.hub.by_stream
        is_all_micro = self.emitted_us < self._until_us["microseconds"]
        sent_us = self.wall_us() if self.config.playback.live_times else 0
        for unit in self.hub.units(is_all_micro) if wanted else ():
            frames = self.tape.play(self.emitted_us, to_us, wanted, unit, sent_us)
            reached = self.hub.deliver(self._disturbed(frames), unit, is_all_micro)
            self.counts["microsecond_frames" if unit == 1 else "millisecond_frames"] += reached
        self.emitted_us = to_us

    def _disturbed(self, frames: list[Frame]) -> list[Frame]:
        """Return the frames with repeats and swaps, chosen by seed and trade."""
        if self.emitted_us < self._until_us["reorder"]:
            frames = self._reordered(frames)
        if self.emitted_us >= self._until_us["repeat"]:
            return frames
        repeated: list[Frame] = []
        for frame in frames:
            repeated.append(frame)
            if frame.ordinal >= 0 and faults.is_picked(self.seed, 1, frame.ordinal, self._percent["repeat"]):
                repeated.append(frame)
                self.counts["repeats"] += 1
        return repeated

    def _reordered(self, frames: list[Frame]) -> list[Frame]:
        frames, at = list(frames), 0
        while at < len(frames) - 1:
            ordinal = frames[at].ordinal
            if ordinal >= 0 and faults.is_picked(self.seed, 2, ordinal, self._percent["reorder"]):
                frames[at], frames[at + 1] = frames[at + 1], frames[at]
                self.counts["reordered"] += 1
                at += 1
            at += 1
        return frames

    # -- faults ------------------------------------------------------------------------------------------------

    def inject(self, fault: faults.Transport) -> None:
        """Fire a live fault at the next step; `event_s` counts from now."""
        number = len(self._actions) + len(self.fired) + 1_000_000
        moments = range(fault.count) if isinstance(fault, faults.Garbage | faults.Acks) else range(1)
        base = int(self.counts["live_faults"]) * 1_000
        self.counts["live_faults"] += 1
        live = [faults.Action(self.now_us, number + nth, base + 1_000 + nth, fault) for nth in moments]
        if self.state == "playing":
            self._actions = sorted([*live, *self._actions])
            return
        for action in live:
            self.fire(fault, action.nth)

    def fire(self, fault: faults.Transport, nth: int) -> None:
        """Do what a fault says, now."""
        handler: Callable[[Any, int], None] = getattr(self, f"_fire_{fault.kind}")
        handler(fault, nth)
        self.counts[f"fault_{fault.kind}"] += 1
        if not isinstance(fault, faults.Acks):
            self.fired.append({"kind": fault.kind, "event_time_us": self.now_us, "wall_us": self.wall_us()})

    def is_refused(self, now_s: float) -> bool:
        """Return whether new connections and requests are dropped."""
        return now_s < self.refused_until_s

    def is_blocked(self, now_s: float) -> bool:
        """Return whether WebSocket upgrades are answered with 403."""
        return now_s < self.blocked_until_s

    def _end_of(self, event_s: float | None) -> int:
        return FOREVER_US if event_s is None else max(self.now_us, self.tape.start_us) + int(event_s * 1_000_000)

    def _fire_cut(self, fault: faults.Cut, _nth: int) -> None:
        self.hub.flush()
        for connection in self.hub.subscribed()[: fault.count]:
            self.counts["cuts"] += 1
            connection.cut()

    def _fire_half_open(self, fault: faults.HalfOpen, _nth: int) -> None:
        self.hub.flush()
        for connection in self.hub.subscribed()[: fault.count]:
            connection.frozen_until_s = self.clock() + fault.wall_s

    def _fire_repeat(self, fault: faults.Repeat, _nth: int) -> None:
        self._percent["repeat"], self._until_us["repeat"] = fault.percent, self._end_of(fault.event_s)

    def _fire_reorder(self, fault: faults.Reorder, _nth: int) -> None:
        self._percent["reorder"], self._until_us["reorder"] = fault.percent, self._end_of(fault.event_s)

    def _fire_delay(self, fault: faults.Delay, _nth: int) -> None:
        self._until_us["delay"] = min(self.tape.end_us, self._end_of(fault.event_s))

    def _fire_microseconds(self, fault: faults.Microseconds, _nth: int) -> None:
        self._until_us["microseconds"] = self._end_of(fault.event_s)

    def _fire_garbage(self, _fault: faults.Garbage, nth: int) -> None:
        self.garbage.pending.append(nth)

    def _fire_acks(self, _fault: faults.Acks, nth: int) -> None:
        for connection in self.hub.subscribed():
            connection.text(success(None, 900_000 + nth))
            self.counts["acks_unasked"] += 1

    def _fire_server_shutdown(self, fault: faults.ServerShutdown, _nth: int) -> None:
        event = compact({"e": "serverShutdown", "E": self.now_us // 1_000})
        doomed = self.hub.subscribed()
        for connection in doomed:
            text = f'{{"stream":"!serverShutdown","data":{event}}}' if connection.is_combined else event
            connection.text(text)
            connection.doomed_at_s = self.clock() + fault.grace_s
        self.hub.flush()

    def _fire_refuse(self, fault: faults.Refuse, _nth: int) -> None:
        self.refused_until_s = self.clock() + fault.wall_s

    def _fire_ws_blocked(self, fault: faults.WsBlocked, _nth: int) -> None:
        self.blocked_until_s = float("inf") if fault.wall_s is None else self.clock() + fault.wall_s

    def _fire_rest_429(self, fault: faults.Rest429, _nth: int) -> None:
        self.limiter.force(429, fault.requests, fault.retry_after_s)

    def _fire_rest_418(self, fault: faults.Rest418, _nth: int) -> None:
        self.limiter.force(418, fault.requests, fault.retry_after_s)


# What ends or silences connections waits until garbage on its way has surely been read.
_DISRUPTIVE = (faults.Cut, faults.HalfOpen, faults.ServerShutdown)


def progress(playback: Playback) -> dict[str, Any]:
    """Return the state of the playback as JSON-ready values."""
    tape, now_us = playback.tape, playback.now_us
    span = tape.end_us - tape.start_us
    return {
        "state": playback.state,
        "event_time_us": now_us,
        "start_us": tape.start_us,
        "end_us": tape.end_us,
        "fraction": round(max(0, now_us - tape.start_us) / span, 6) if span else 1.0,
        "trades_played": tape.count_until(now_us),
        "trades_total": tape.count_until(tape.end_us),
        "connections": len(playback.hub.open_connections),
        "speed": playback.config.playback.speed,
    }
