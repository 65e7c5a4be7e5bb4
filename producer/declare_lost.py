"""Close gaps as unfillable because a person declares that the exchange lost their ids."""

from __future__ import annotations

import getpass
from typing import Any

import msgspec

from common.clients.kafka import TopicLog
from common.errors import ConfigurationError
from common.settings import Settings
from common.topics import GAPS
from producer.ledger.gaps import GapBook
from producer.ledger.stream_ledger import StreamLedger
from producer.writer.open_writer import now_us
from producer.writer.outbox import Outbox


def declare_unfillable(
    settings: Settings, stream: tuple[str, str, str], ids: tuple[int, int], reason: str
) -> list[dict[str, Any]]:
    """Close as unfillable the given ids that are in open gaps, and return the gaps that changed.

    A running live producer continues to request the ids from REST, and closes a gap as filled when
    its ids arrive after all.

    Args:
        settings: Addresses.
        stream: Market, symbol and stream.
        ids: First and last id, both included.
        reason: Why; stored in the gap ledger with the name of the user.

    Raises:
        ConfigurationError: None of the ids is in an open gap.
        StoreUnavailable: Kafka does not answer.
    """
    market, symbol, name = stream
    book, ledger = GapBook(), StreamLedger(market, symbol, name, "declare")
    reader = TopicLog(settings.kafka_bootstrap_servers)
    try:
        book.restore(reader.latest(GAPS).values(), market)
    finally:
        reader.close()
    if not book.declare_unfillable(ledger, *ids, now_us=now_us(), reason=f"declared by {getpass.getuser()}: {reason}"):
        raise ConfigurationError(
            f"No open gap of {symbol} {name} ({market}) holds an id of {ids[0]}..{ids[1]}.",
            safe="Nothing was changed.",
            next_command=f"tickhouse gaps --state open --symbol {symbol}",
        )
    outbox = Outbox.connect(settings.kafka_bootstrap_servers)
    changed = [msgspec.to_builtins(gap) for gap in book.take_changed()]
    for gap in changed:
        key = "/".join((*stream, str(gap["first_id"])))
        outbox.send(GAPS, msgspec.json.encode(gap), key.encode())
    outbox.flush()
    return [gap for gap in changed if gap["symbol"] == symbol]
