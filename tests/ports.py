"""A free port for a server that must be told its port before it starts."""

from __future__ import annotations

import random
import socket

# Below the ports that Linux gives to outgoing connections (from 32768), so that no connection takes
# the port between this look and the server's start; below those of lakehouses
# (from 21000) and of test homes (from 28000).
PORTS = range(10_000, 20_000)


def free_port() -> int:
    """Return a port on which nothing listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
