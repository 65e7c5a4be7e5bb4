"""What the look-alike did, as one document: `GET /tickhouse/truth` and `<home>/truth/exchange.json`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from stack.exchange.playback import Playback, progress
from stack.exchange.rest import Rest
from stack.exchange.tape import SyntheticTape

VERSION = 1


def document(playback: Playback, rest: Rest, updated_at_us: int) -> dict[str, Any]:
    """Return seed, configuration, position and everything that was sent.

    `market` is the configuration of the market as played (its `start_us` moved when times are live); the reconciler
    builds the truth from it and `played_until_us`. It is null for a capture: there the files are the truth.
    """
    hub, config, tape = playback.hub, playback.config, playback.tape
    is_synthetic = isinstance(tape, SyntheticTape)
    return {
        "v": VERSION,
        "source": "synthetic" if is_synthetic else "capture",
        "seed": config.market.seed,
        "market": tape.built.config.model_dump(mode="json") if isinstance(tape, SyntheticTape) else None,
        "config": config.model_dump(mode="json"),
        **progress(playback),
        "started_at_us": playback.started_at_us,
        "updated_at_us": updated_at_us,
        "played_until_us": playback.now_us,
        "sent_until_us": playback.emitted_us,
        "streams_subscribed": list(hub.ever_subscribed),
        "connections_opened": hub.opened,
        "frames": dict(hub.sent),
        "counts": dict(playback.counts),
        "garbage": playback.garbage.documents(),
        "garbage_pending": len(playback.garbage.pending),
        "faults_fired": playback.fired,
        "rest": dict(rest.counts),
    }


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temporary.replace(path)
