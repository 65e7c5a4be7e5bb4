"""The sender of the logs, started by rsyslog: `python -m tickhouse.logs.rsyslog_sender FILE.json`.

It speaks the protocol of rsyslog's module omprog. rsyslog writes one line per message, between
`BEGIN` and `COMMIT`, and waits for one line of answer to each:

1. `BEGIN` is answered with `OK`, and a message with `DEFER_COMMIT`: it is not safe yet.
2. At `COMMIT` the batch is sent to Elasticsearch. `OK` means that each message is in the index, or
   was refused for good and is in the file of refused messages.
3. Any other answer makes rsyslog keep the batch and send it again later. Ids make that harmless.

Whatever fails between, no message is confirmed that is in neither place.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from elasticsearch import ApiError, Elasticsearch, TransportError
from elasticsearch.helpers import streaming_bulk

from tickhouse.logs.parsing import UNPARSED, LogDocument, parse_message
from tickhouse.logs.sources import LogSources, log_sources

REQUEST_S = 60.0
# rsyslog waits for an answer for two minutes.
LONGEST_PAUSE_S = 15.0
MOST_BYTES = 4 * 1024 * 1024
INDEX = "tickhouse-logs-"
REFUSED_FILE = "refused_logs/refused.jsonl"
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500

Send = Callable[[list[LogDocument]], None]


class NotStored(Exception):
    """Elasticsearch may take the batch later."""


def main() -> None:
    """Answer until standard input ends."""
    given = json.loads(Path(sys.argv[1]).read_text())
    home = Path(given["home"])
    login = (given["user"], given["password"]) if given["password"] else None
    with Elasticsearch(given["address"], basic_auth=login, request_timeout=REQUEST_S, max_retries=0) as client:
        sender = BulkSender(client, home / REFUSED_FILE)
        for answer in answers(log_sources(), home, sys.stdin.buffer, sender, time.sleep):
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()


class BulkSender:
    """Stores documents; those that the index refuses for good are written to a file.

    Args:
        client: Of Elasticsearch.
        refused: The file, a line of JSON per document.
    """

    def __init__(self, client: Elasticsearch, refused: Path) -> None:
        self._client, self._refused = client, refused

    def __call__(self, documents: list[LogDocument]) -> None:
        """Store documents.

        Raises:
            NotStored: Elasticsearch does not answer, or cannot take all of them now.
        """
        actions = (
            {"_op_type": "index", "_index": f"{INDEX}{one.day}", "_id": one.id, "_source": one.fields}
            for one in documents
        )
        try:
            results = list(
                streaming_bulk(self._client, actions, max_chunk_bytes=MOST_BYTES, raise_on_error=False, max_retries=0)
            )
        except (ApiError, TransportError) as error:
            raise NotStored(f"Elasticsearch does not answer: {error!r}") from error
        failed = {item["index"]["_id"]: item["index"] for is_stored, item in results if not is_stored}
        later = [one for one in failed.values() if is_temporary(int(one["status"]))]
        if later:
            raise NotStored(f"Elasticsearch takes {len(later)} messages later: {later[0].get('error')}")
        self._keep([one for one in documents if one.id in failed], failed)

    def _keep(self, documents: list[LogDocument], failed: dict[str, Any]) -> None:
        if not documents:
            return
        with self._refused.open("a") as file:
            for one in documents:
                file.write(json.dumps({"answer": failed[one.id].get("error"), "document": one.fields}) + "\n")


def is_temporary(status: int) -> bool:
    """Return whether a document may be stored later although it was not now (pure)."""
    return status == TOO_MANY_REQUESTS or status >= SERVER_ERROR


def answers(
    sources: LogSources, home: Path, lines: Iterable[bytes], send: Send, pause: Callable[[float], None]
) -> Iterator[str]:
    """Yield the answer to each line of omprog, and first that the program is ready.

    Args:
        sources: The declaration.
        home: The folder to which paths are relative.
        lines: `BEGIN`, messages as JSON, `COMMIT`.
        send: Stores the documents of a batch, or raises `NotStored`.
        pause: Waits for some seconds after a failure.
    """
    yield "OK"
    batch: list[LogDocument] = []
    failures = 0
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\n")
        if text == "BEGIN":
            batch = []
            yield "OK"
        elif text == "COMMIT":
            try:
                send(batch)
            except NotStored as error:
                failures += 1
                pause(min(2.0**failures, LONGEST_PAUSE_S))  # rsyslog repeats at once
                yield f"Error: {str(error)[:500]}".replace("\n", " ")
            else:
                failures = 0
                yield "OK"
        else:
            batch.append(document_of(sources, f"{home}/", text))
            yield "DEFER_COMMIT"


def document_of(sources: LogSources, prefix: str, line: str) -> LogDocument:
    """Return the document of one message of rsyslog; one that does not parse is a document too."""
    try:
        message = json.loads(line)
        metadata = message["$!"]["metadata"]
        received = datetime.fromisoformat(message["timegenerated"])
        path = str(metadata["filename"]).removeprefix(prefix)
        return parse_message(sources, path, message["rawmsg"], int(metadata["fileoffset"]), received)
    except (ValueError, KeyError, TypeError):
        document = parse_message(sources, "logs/log_shipper.log", line, 0, datetime.now(UTC))
        return LogDocument(document.id, {**document.fields, "tags": [UNPARSED]})


if __name__ == "__main__":
    main()
