"""The run record of the local exchange: `GET /tickhouse/truth` and `<home>/truth/exchange.json`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from standins.exchange.frame_source import SyntheticSource
from standins.exchange.playback import Playback, progress
from standins.exchange.rest_server import RestServer

VERSION = 1


def describe_run(playback: Playback, rest: RestServer, updated_at_us: int) -> dict[str, Any]:
    """Return the seed, the configuration, the position and counts of everything that was sent.

    `market` is the configuration of the market as played (with live times its `start_us` is moved).
    The reconciler computes the offered events from it and `played_until_us`. It is null for a
    capture, whose files hold the offered events.
    """
    hub, config, source = playback.hub, playback.config, playback.source
    is_synthetic = isinstance(source, SyntheticSource)
    return {
        "v": VERSION,
        "source": "synthetic" if is_synthetic else "capture",
        "seed": config.market.seed,
        "market": source.built.config.model_dump(mode="json") if isinstance(source, SyntheticSource) else None,
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
        "garbage": playback.malformed_frames.as_documents(),
        "garbage_pending": len(playback.malformed_frames.pending),
        "faults_fired": playback.fired,
        "rest": dict(rest.counts),
    }


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file atomically, so that a reader never sees an incomplete one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    temporary.replace(path)
