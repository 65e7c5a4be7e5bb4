"""The parser that rsyslog runs: `python -m tickhouse.logs.rsyslog_parser HOME`.

rsyslog's module mmexternal writes one message per line to standard input, and reads one line back:
the properties `$!id`, `$!day` and `$!document`, which it adds to the message. An answer that is
missing would shift all later ones, so every message gets one, and nothing else is written.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tickhouse.logs.parsing import UNPARSED, LogDocument, parse_message
from tickhouse.logs.sources import LogSources, log_sources


def main() -> None:
    """Answer until standard input ends."""
    home = Path(sys.argv[1])
    # mmexternal reads standard error as an answer, too.
    errors = os.open(home / "logs" / "log_shipper.parser.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(errors, sys.stderr.fileno())
    for answer in answers(log_sources(), home, sys.stdin.buffer):
        sys.stdout.write(answer)
        sys.stdout.flush()


def answers(sources: LogSources, home: Path, lines: Iterable[bytes]) -> Iterator[str]:
    """Yield one line for mmexternal per message.

    Args:
        sources: The declaration.
        home: The folder to which paths are relative.
        lines: Messages of rsyslog as JSON (`interface.input="fulljson"`).
    """
    prefix = f"{home}/"
    for line in lines:
        document = _document(sources, prefix, line)
        content = {"id": document.id, "day": document.day, "document": json.dumps(document.fields)}
        yield json.dumps({"$!": content}) + "\n"


def _document(sources: LogSources, prefix: str, line: bytes) -> LogDocument:
    now = datetime.now(UTC)
    try:
        message = json.loads(line.decode("utf-8", "replace"))
        metadata = message["$!"]["metadata"]
        received = datetime.fromisoformat(message["timegenerated"])
        path = str(metadata["filename"]).removeprefix(prefix)
        return parse_message(sources, path, message["rawmsg"], int(metadata["fileoffset"]), received)
    except (ValueError, KeyError, TypeError):
        text = line.decode("utf-8", "replace")
        document = parse_message(sources, "logs/log_shipper.log", text, 0, now)
        return LogDocument(document.id, {**document.fields, "tags": [UNPARSED]})


if __name__ == "__main__":
    main()
