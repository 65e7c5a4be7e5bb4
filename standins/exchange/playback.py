"""The event clock: as it advances, frames are sent and faults fire.

One step advances the clock, plays the frames up to it, writes them at once, and then lets REST see
the trades. REST responds only with trades whose time the clock has reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from standins.exchange import faults
from standins.exchange.config import ExchangeConfig
from standins.exchange.connections import ConnectionHub
from standins.exchange.frame_source import FrameSource, PlayedFrame
from standins.exchange.frames import compact
from standins.exchange.malformed_frames import MalformedFrameSender
from standins.exchange.request_weights import WeightLimiter
from standins.exchange.ws_protocol import success

# One batch every 5 ms: frames are at most this late, and at full load one write holds ten or more.
TICK_S = 0.005
# At speed `max`: the trades per step, and the backlog of a client at which the market waits.
MAX_STEP_EVENTS = 400
MAX_BACKLOG_BYTES = 256 * 1024
# At other speeds: the backlog of a client (about 20,000 frames) at which it stalls the market or is
# cut.
TIMED_BACKLOG_BYTES = 4 * 1024 * 1024
# Malformed frames that no client was ready for are dropped this long after the last event.
LAST_GARBAGE_S = 10.0

FOREVER_US = 2**62


class Playback:
    """Plays a frame source to the connections of a hub.

    Args:
        config: The whole configuration.
        source: The market.
        hub: The connections.
        limiter: Applies the faults of REST.
        clock: Monotonic seconds.
        wall_us: UTC microseconds.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        source: FrameSource,
        *,
        hub: ConnectionHub,
        limiter: WeightLimiter,
        clock: Callable[[], float],
        wall_us: Callable[[], int],
    ) -> None:
        self.config = config
        self.source = source
        self.hub = hub
        self.limiter = limiter
        self.clock = clock
        self.wall_us = wall_us
        self.seed = config.market.seed
        self.state = "waiting"
        self.speed = config.playback.speed
        self.now_us = source.start_us - 1
        self.emitted_us = source.start_us - 1
        self.started_at_us: int | None = None
        self.malformed_frames = MalformedFrameSender(self.seed, wall_us)
        self.counts: Counter[str] = Counter()
        self.fired: list[dict[str, Any]] = []
        self.refused_until_s = 0.0
        self.blocked_until_s = 0.0
        self._due_s: float | None = None
        self._last_s = 0.0
        self._done_at_s = 0.0
        self._actions: list[faults.Action] = []
        self._until_us = {"repeat": 0, "reorder": 0, "microseconds": 0, "delay": 0, "silent": 0}
        self._silent_streams = ""
        self._percent = {"repeat": 0.0, "reorder": 0.0}
        for fault in faults.at_boot(config.faults):
            self.fire(fault, 0)
        if config.playback.start == "boot":
            self.start()

    # -- start and steps ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the clock after `start_after_s`; a second call does nothing."""
        if self.state == "waiting" and self._due_s is None:
            self._due_s = self.clock() + self.config.playback.start_after_s

    def set_speed(self, speed: float | Literal["max"]) -> None:
        """Change the speed from now on; 0 pauses. A market with live times follows the wall clock.

        Faults are due at event times, so they come sooner or later accordingly.
        """
        self.speed = speed

    def client_activity(self, what: str) -> None:
        """Start the clock if it waits for this: a `subscription`, or any request of a `client`."""
        wanted = self.config.playback.start
        if wanted == what or (wanted == "client" and what == "subscription"):
            self.start()

    def step(self) -> bool:
        """Do one step and return whether the next step may follow without a pause."""
        now_s = self.clock()
        if self.state == "waiting":
            if self._due_s is None or now_s < self._due_s:
                return False
            self._begin(now_s)
        before_us = self.now_us
        self.malformed_frames.send_next(self.hub.subscribed(), now_s, self.emitted_us)
        if self.state == "playing":
            self._advance(self._target(now_s), now_s)
            self.hub.flush()
            self._finish(now_s)
        self._last_s = now_s
        return self.speed == "max" and self.now_us > before_us and self.state == "playing"

    def _begin(self, now_s: float) -> None:
        self.started_at_us = self.wall_us()
        if self.config.playback.live_times:
            self.source = self.source.starting_at(self.started_at_us // 1_000 * 1_000)
        self.now_us = self.emitted_us = self.source.start_us - 1
        clockwork = faults.SourceTimes(self.source.start_us, self.source.end_us, self.source.time_of)
        self._actions = faults.schedule(self.config.faults, clockwork, self.seed)
        self._last_s = now_s
        self.state = "playing"

    def _target(self, now_s: float) -> int:
        speed = self.speed
        if speed == "max":
            return self._target_at_max(now_s)
        if self.config.playback.live_times:
            self._cut_slow_clients()
            return min(self.source.end_us, self.wall_us())
        if self.config.playback.slow_client == "cut":
            self._cut_slow_clients()
        elif self.hub.backlog() > TIMED_BACKLOG_BYTES:
            return self.now_us
        return min(self.source.end_us, self.now_us + int((now_s - self._last_s) * speed * 1_000_000))

    def _target_at_max(self, now_s: float) -> int:
        has_client = bool(self.hub.subscribed()) or self.is_blocked(now_s)
        if not has_client or self.hub.backlog() > MAX_BACKLOG_BYTES:
            return self.now_us
        played = self.source.count_until(self.now_us)
        if played >= self.source.count_until(self.source.end_us):
            return self.source.end_us
        return max(self.now_us + 1, min(self.source.end_us, self.source.time_of(played + MAX_STEP_EVENTS)))

    def _cut_slow_clients(self) -> None:
        for connection in self.hub.subscribed():
            if connection.backlog() > TIMED_BACKLOG_BYTES:
                self.counts["slow_clients_cut"] += 1
                connection.cut()

    def _advance(self, to_us: int, now_s: float) -> None:
        while self._actions and self._actions[0].at_us <= to_us:
            action = self._actions[0]
            self._emit(max(self.now_us, action.at_us))
            if isinstance(action.fault, _DISRUPTIVE) and not self.malformed_frames.is_confirmed(now_s):
                return
            self._actions.pop(0)
            self.fire(action.fault, action.nth)
        self._emit(to_us)

    def _finish(self, now_s: float) -> None:
        if self.now_us < self.source.end_us or self.emitted_us < self.source.end_us:
            return
        self._done_at_s = self._done_at_s or now_s
        if self.malformed_frames.pending and now_s - self._done_at_s < LAST_GARBAGE_S:
            return
        self.counts["garbage_never_sent"] += len(self.malformed_frames.pending)
        self.malformed_frames.pending.clear()
        self.state = "done"

    # -- frames ------------------------------------------------------------------------------------

    def _emit(self, to_us: int) -> None:
        """Play up to a moment; a delay fault holds the frames back while the clock advances."""
        self.now_us = max(self.now_us, to_us)
        held_until_us = self._until_us["delay"]
        if to_us < held_until_us <= self.source.end_us or self.emitted_us >= to_us:
            return
        wanted = self.hub.by_stream
        is_all_micro = self.emitted_us < self._until_us["microseconds"]
        sent_us = self.wall_us() if self.config.playback.live_times else 0
        for unit in self.hub.units(is_all_micro) if wanted else ():
            frames = self.source.play(self.emitted_us, to_us, wanted, unit, sent_us)
            reached = self.hub.deliver(self._with_frame_faults(frames), unit, is_all_micro)
            self.counts["microsecond_frames" if unit == 1 else "millisecond_frames"] += reached
        self.emitted_us = to_us

    def _with_frame_faults(self, frames: list[PlayedFrame]) -> list[PlayedFrame]:
        """Return the frames with the faults silent, reorder and repeat applied."""
        if self.emitted_us < self._until_us["silent"]:
            sent = [frame for frame in frames if self._silent_streams not in frame.stream]
            self.counts["frames_not_sent"] += len(frames) - len(sent)
            frames = sent
        if self.emitted_us < self._until_us["reorder"]:
            frames = self._reordered(frames)
        if self.emitted_us >= self._until_us["repeat"]:
            return frames
        repeated: list[PlayedFrame] = []
        for frame in frames:
            repeated.append(frame)
            if frame.ordinal >= 0 and faults.is_picked(self.seed, 1, frame.ordinal, self._percent["repeat"]):
                repeated.append(frame)
                self.counts["repeats"] += 1
        return repeated

    def _reordered(self, frames: list[PlayedFrame]) -> list[PlayedFrame]:
        frames, at = list(frames), 0
        while at < len(frames) - 1:
            ordinal = frames[at].ordinal
            if ordinal >= 0 and faults.is_picked(self.seed, 2, ordinal, self._percent["reorder"]):
                frames[at], frames[at + 1] = frames[at + 1], frames[at]
                self.counts["reordered"] += 1
                at += 1
            at += 1
        return frames

    # -- faults ------------------------------------------------------------------------------------

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
        """Apply a fault now."""
        handler: Callable[[Any, int], None] = getattr(self, f"_fire_{fault.kind}")
        handler(fault, nth)
        self.counts[f"fault_{fault.kind}"] += 1
        if not isinstance(fault, faults.Acks):
            self.fired.append({"kind": fault.kind, "event_time_us": self.now_us, "wall_us": self.wall_us()})

    def is_refused(self, now_s: float) -> bool:
        """Return whether new connections and requests are dropped."""
        return now_s < self.refused_until_s

    def is_blocked(self, now_s: float) -> bool:
        """Return whether WebSocket upgrades are refused with 403."""
        return now_s < self.blocked_until_s

    def _end_of(self, event_s: float | None) -> int:
        return FOREVER_US if event_s is None else max(self.now_us, self.source.start_us) + int(event_s * 1_000_000)

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
        self._until_us["delay"] = min(self.source.end_us, self._end_of(fault.event_s))

    def _fire_silent(self, fault: faults.Silent, _nth: int) -> None:
        self._silent_streams, self._until_us["silent"] = fault.streams, self._end_of(fault.event_s)

    def _fire_microseconds(self, fault: faults.Microseconds, _nth: int) -> None:
        self._until_us["microseconds"] = self._end_of(fault.event_s)

    def _fire_garbage(self, _fault: faults.Garbage, nth: int) -> None:
        self.malformed_frames.pending.append(nth)

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
            connection.close_at_s = self.clock() + fault.grace_s
        self.hub.flush()

    def _fire_refuse(self, fault: faults.Refuse, _nth: int) -> None:
        self.refused_until_s = self.clock() + fault.wall_s

    def _fire_ws_blocked(self, fault: faults.WsBlocked, _nth: int) -> None:
        self.blocked_until_s = float("inf") if fault.wall_s is None else self.clock() + fault.wall_s

    def _fire_rest_429(self, fault: faults.Rest429, _nth: int) -> None:
        self.limiter.force(429, fault.requests, fault.retry_after_s)

    def _fire_rest_418(self, fault: faults.Rest418, _nth: int) -> None:
        self.limiter.force(418, fault.requests, fault.retry_after_s)


# These faults end or silence connections, so they wait until clients have read the malformed
# frames.
_DISRUPTIVE = (faults.Cut, faults.HalfOpen, faults.ServerShutdown)


def progress(playback: Playback) -> dict[str, Any]:
    """Return the state of the playback as values for JSON."""
    source, now_us = playback.source, playback.now_us
    span = source.end_us - source.start_us
    return {
        "state": playback.state,
        "event_time_us": now_us,
        "start_us": source.start_us,
        "end_us": source.end_us,
        "fraction": round(max(0, now_us - source.start_us) / span, 6) if span else 1.0,
        "trades_played": source.count_until(now_us),
        "trades_total": source.count_until(source.end_us),
        "connections": len(playback.hub.open_connections),
        "speed": playback.speed,
    }
