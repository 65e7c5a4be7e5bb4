"""Readiness: does a service answer?"""

from __future__ import annotations

import socket
import subprocess
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from stack.engine.context import ServiceContext, call
from tickhouse.errors import ConfigurationError, TransientError

ANSWER_S = 5.0

# No proxy for a probe: everything we start listens on the loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "redis": 6379, "mongodb": 27017}


def is_ready(context: ServiceContext) -> bool:
    """Probe a service that we run, once."""
    ready = context.service.ready
    if ready.tcp is not None:
        return tcp_answers(context.render(ready.tcp))
    if ready.http is not None:
        return _http_answers(context.render(ready.http), ready.status)
    if ready.command is not None:
        return _command_succeeds(context)
    return _call_is_true(context)


def external_answers(context: ServiceContext) -> bool:
    """Probe a service that somebody else runs: does its address take connections?"""
    return tcp_answers(external_address(context))


def external_address(context: ServiceContext) -> str:
    """Return `host:port` of the external address of a service; of the first one in a list.

    Raises:
        ConfigurationError: The setting holds no host and port.
    """
    name = context.service.external_setting or ""
    value = getattr(context.settings, name)
    text = value if isinstance(value, str) else value.get_secret_value()
    parts = urlsplit(text if "://" in text else f"//{text.split(',')[0]}")
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    if not parts.hostname or port is None:
        raise ConfigurationError(f"Expected host and port in {name.upper()}.", next_command="tickhouse config show")
    return f"{parts.hostname}:{port}"


def tcp_answers(address: str) -> bool:
    """Return whether `host:port` takes a connection."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except OSError:
        return False
    return True


def _http_answers(url: str, status: tuple[int, ...]) -> bool:
    try:
        with _opener.open(url, timeout=ANSWER_S) as answer:
            return answer.status in status
    except urllib.error.HTTPError as error:
        return error.code in status
    except (OSError, ValueError):
        return False


def _command_succeeds(context: ServiceContext) -> bool:
    command = [context.render(item) for item in context.service.ready.command or ()]
    try:
        done = subprocess.run(command, env=context.env(), capture_output=True, check=False, timeout=4 * ANSWER_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _call_is_true(context: ServiceContext) -> bool:
    try:
        return bool(call(context.service.ready.call or "", context))
    except (TransientError, OSError):
        return False
