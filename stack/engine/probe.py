"""Readiness probes."""

from __future__ import annotations

import socket
import subprocess
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from common.errors import ConfigurationError, TransientError
from stack.engine.context import ServiceContext, call_hook

PROBE_TIMEOUT_S = 5.0

# No proxy: everything that we start listens on the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

DEFAULT_PORTS = {
    "http": 80,
    "https": 443,
    "postgresql": 5432,
    "redis": 6379,
    "mongodb": 27017,
    "bolt": 7687,
    "neo4j": 7687,
}


def is_ready(context: ServiceContext) -> bool:
    """Probe once a service that we run."""
    ready = context.service.ready
    if ready.tcp is not None:
        return accepts_connections(context.render(ready.tcp))
    if ready.http is not None:
        return _http_responds(context.render(ready.http), ready.status)
    if ready.command is not None:
        return _command_succeeds(context)
    return _hook_is_true(context)


def external_is_reachable(context: ServiceContext) -> bool:
    """Return whether the address of a service that somebody else runs accepts connections."""
    return accepts_connections(external_address(context))


def external_address(context: ServiceContext) -> str:
    """Return `host:port` of an external service; of the first one when the setting is a list.

    Raises:
        ConfigurationError: The setting has no host and port.
    """
    name = context.service.external_setting or ""
    value = getattr(context.settings, name)
    text = value if isinstance(value, str) else value.get_secret_value()
    parts = urlsplit(text if "://" in text else f"//{text.split(',')[0]}")
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    if not parts.hostname or port is None:
        raise ConfigurationError(f"{name.upper()} has no host and port.", next_command="tickhouse config show")
    return f"{parts.hostname}:{port}"


def accepts_connections(address: str) -> bool:
    """Return whether `host:port` accepts a connection."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _http_responds(url: str, status: tuple[int, ...]) -> bool:
    try:
        with _opener.open(url, timeout=PROBE_TIMEOUT_S) as response:
            return response.status in status
    except urllib.error.HTTPError as error:
        return error.code in status
    except (OSError, ValueError):
        return False


def _command_succeeds(context: ServiceContext) -> bool:
    command = [context.render(item) for item in context.service.ready.command or ()]
    try:
        done = subprocess.run(command, env=context.env(), capture_output=True, check=False, timeout=4 * PROBE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _hook_is_true(context: ServiceContext) -> bool:
    try:
        return bool(call_hook(context.service.ready.call or "", context))
    except (TransientError, OSError):
        return False
