"""Find out whether the market of an exchange is synthetic, before its first trade is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import httpx
import structlog

from common.clients.kafka import TopicLog
from common.errors import RejectedRecord
from common.market_kind import HEADER, SIMULATED, Kind, claim, kind_of
from common.settings import Settings
from common.topics import TRADES
from producer.encoding.events import decode
from producer.exchange.rest import PATHS, TIMEOUT_S
from producer.writer.open_writer import Writer

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 5
PAUSE_S: Final = 1.0


async def exchange_kind(
    http: httpx.AsyncClient, base_url: str, market: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> Kind | None:
    """Return the kind of market at an address; None when nothing answers there.

    Any answer is enough, even an error: the local exchange marks all of its answers.
    """
    for _ in range(ATTEMPTS):
        try:
            answer = await http.get(f"{base_url.rstrip('/')}{PATHS[market]}/ping", timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            log.warning("the exchange does not answer", error=repr(error))
            await sleep(PAUSE_S)
            continue
        return "simulated" if answer.headers.get(HEADER) == SIMULATED else "real"
    return None


async def claim_market(settings: Settings, writer: Writer, http: httpx.AsyncClient, rest_url: str | None) -> None:
    """Ask the exchange for its kind of market, and record it for the home.

    Records of a synthetic market are marked.

    Without an answer, the market counts as synthetic when no address was given, because the default
    is the local exchange. Otherwise it counts as real.

    Raises:
        ConfigurationError: The home holds trades of the other kind.
        StoreUnavailable: Kafka does not answer.
    """
    kind = await exchange_kind(http, rest_url or settings.exchange_rest_url, writer.intake.market)
    if kind is None:
        is_local = rest_url is None and not settings.is_external("exchange_rest_url")
        kind = "simulated" if is_local else "real"
    claim_home(settings, writer, kind)


def claim_home(settings: Settings, writer: Writer, kind: Kind) -> None:
    """Record the kind of market of the home; the records of a synthetic market are marked.

    Raises:
        ConfigurationError: The home, or the Kafka that it writes to, holds trades of the other
            kind.
        StoreUnavailable: Kafka does not answer.
    """
    if kind_of(settings.home) is None and (present := _kind_in_kafka(writer.reader)) is not None:
        claim(settings.home, present)
    claim(settings.home, kind)
    writer.intake.is_simulated = kind == "simulated"


def _kind_in_kafka(reader: TopicLog) -> Kind | None:
    """Return the kind of the newest trade in Kafka: a new home may use an old Kafka."""
    bounds = reader.bounds(TRADES)
    for part, (low, high) in bounds.items():
        if low >= high:
            continue
        start = {other: end for other, (_, end) in bounds.items()} | {part: high - 1}
        for message in reader.read(TRADES, start):
            with suppress(RejectedRecord):  # not ours: the streaming job sends it to its dead letters
                source = decode("trade", message.value() or b"")["source"]
                return "simulated" if source == SIMULATED else "real"
    return None
