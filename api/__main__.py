"""Serve the read API: `python -m api --listen HOST:PORT`."""

from __future__ import annotations

import argparse
from types import FrameType

import uvicorn

from api.app import guarded, make_app
from api.live_hub import LiveHub
from common.logs import configure_logging
from common.settings import load_settings

# A request that is open when the process must stop gets this long.
STOP_S = 5


class LiveServer(uvicorn.Server):
    """A server that ends the live streams when it is asked to stop.

    uvicorn waits for open responses first, and a live stream has no end of its own.
    """

    def __init__(self, config: uvicorn.Config, hub: LiveHub) -> None:
        super().__init__(config)
        self._hub = hub

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Tell the clients of the live stream to come again, then stop."""
        self._hub.close()
        super().handle_exit(sig, frame)


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve the read API and the live page.")
    parser.add_argument("--listen", metavar="HOST:PORT", required=True)
    host, _, port = parser.parse_args().listen.rpartition(":")
    configure_logging("api")
    settings = load_settings()
    app = make_app(settings)
    config = uvicorn.Config(
        guarded(app, settings),
        host=host,
        port=int(port),
        access_log=False,
        # A client that asks every few seconds keeps its connection.
        timeout_keep_alive=60,
        log_level="warning",
        log_config=None,  # its messages go where all others go
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
    LiveServer(config, app.state.server.hub).run()


if __name__ == "__main__":
    main()
