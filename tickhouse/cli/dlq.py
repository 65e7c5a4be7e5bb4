"""`tickhouse dlq`: what was refused, why, and sending it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickhouse.dlq.letters import Letter
    from tickhouse.dlq.redrive import Outcome, Redrive

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
ReasonOption = Annotated[str | None, typer.Option(help="Only this error class, as `dlq ls` names it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    dlq = typer.Typer(no_args_is_help=True, help="Dead letters: list, explain, send again.")
    app.add_typer(dlq, name="dlq")
    dlq.command("ls")(ls)
    dlq.command("show")(show)
    dlq.command("explain")(explain)
    dlq.command("redrive")(redrive)


def ls(json: JsonOption = False) -> None:
    """Count the dead letters of every topic by error class."""
    from tickhouse.cli._show import print_json
    from tickhouse.dlq.letters import grouped
    from tickhouse.dlq.redrive import connected
    from tickhouse.dlq.topics import dead_letter_topics, letters
    from tickhouse.settings import load_settings

    with connected(load_settings()) as drive:
        topics = dead_letter_topics(drive.topics)
        found = (letter for topic in topics for letter in letters(drive.topics, topic))
        groups = [group.document() for group in grouped(found, drive.audit.sent())]
    if json:
        print_json({"topics": topics, "groups": groups})
        return
    columns = ("topic", "reason", "writer", "letters", "redriven", "example")
    rows = [(*(str(group[name]) for name in columns), moment(group["last_ms"])) for group in groups]
    _table((*columns, "last"), rows, f"No dead letter in {', '.join(topics)}.")


def show(
    topic: Annotated[str, typer.Argument(help="A dead-letter topic, e.g. dlq.spark.")],
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    json: JsonOption = False,
) -> None:
    """List the newest dead letters of a topic."""
    from collections import deque

    from tickhouse.cli._show import print_json
    from tickhouse.dlq.redrive import connected
    from tickhouse.dlq.topics import letters
    from tickhouse.settings import load_settings

    with connected(load_settings()) as drive:
        newest = deque(letters(drive.topics, topic, reason), maxlen=limit)
    documents = [letter.document() for letter in newest]
    if json:
        print_json(documents)
        return
    rows = [
        (one["place"], moment(one["at_ms"]), one["reason"], one["detail"][:100], str(one["key"]), one["preview"])
        for one in documents
    ]
    _table(("letter", "at", "reason", "detail", "key", "value"), rows, "No such dead letter.")


def explain(
    place: Annotated[str, typer.Argument(help="TOPIC:PARTITION:OFFSET of the letter, as `dlq show` lists it.")],
    json: JsonOption = False,
) -> None:
    """Say what one dead letter is, what its error means, what mends it, and how often it was sent again."""
    from tickhouse.cli._show import print_json
    from tickhouse.dlq.explain import explanation
    from tickhouse.dlq.letters import Place
    from tickhouse.dlq.redrive import connected
    from tickhouse.settings import load_settings

    with connected(load_settings()) as drive:
        document = explanation(drive, Place.parse(place))
    if json:
        print_json(document)
        return
    rows = [(name, str(value)) for name, value in document.items() if name not in ("headers", "record", "tries")]
    rows += [(f"header {name}", value[:300]) for name, value in document["headers"].items()]
    rows += [(f"field {name}", str(value)) for name, value in (document["record"] or {}).items()]
    rows += [(f"try {one['try']}", f"{one['state']} {one['at']} by {one['by']}") for one in document["tries"]]
    _table(("", ""), rows, "")


def redrive(
    target: Annotated[str, typer.Argument(help="A dead-letter topic, or TOPIC:PARTITION:OFFSET of one letter.")],
    reason: ReasonOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many letters, the oldest first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Send dead letters again, under the event id they had; at most three times a record, each with an audit row.

    A letter is never removed. One that was sent again before is skipped. Exit code 5 when a letter is refused.
    """
    from itertools import islice

    from tickhouse.cli._show import console, print_json
    from tickhouse.dlq.redrive import connected
    from tickhouse.errors import RejectedRecord
    from tickhouse.settings import load_settings

    role = "reader" if dry_run else "operator"
    outcomes: list[Outcome] = []
    with connected(load_settings(), role=role, is_dry=dry_run) as drive, console().status("reading") as status:
        for outcome in drive.run(islice(_chosen(drive, target, reason), limit)):
            outcomes.append(outcome)
            status.update(f"{len(outcomes):,} letters")
    if json:
        print_json([one.document() for one in outcomes])
    else:
        _show_outcomes(outcomes)
    refused = [one for one in outcomes if one.result == "refused"]
    if refused:
        raise RejectedRecord("redrive_refused", f"{len(refused)} of {len(outcomes)} letters: {refused[0].why}")


def _chosen(drive: Redrive, target: str, reason: str | None) -> Iterator[Letter]:
    from tickhouse.dlq.letters import Place
    from tickhouse.dlq.topics import letter_at, letters

    if ":" in target:
        yield letter_at(drive.topics, Place.parse(target))
    else:
        # All at once: what is sent may come back as a letter while we read.
        yield from list(letters(drive.topics, target, reason))


def _show_outcomes(outcomes: list[Outcome]) -> None:
    from collections import Counter

    from rich.console import Console

    rows = [
        tuple(str(one.document()[name] or "") for name in ("letter", "result", "try", "event_id", "topic", "why"))
        for one in outcomes
    ]
    _table(("letter", "result", "try", "event id", "topic", "why"), rows, "No such dead letter.")
    counts = Counter(one.result for one in outcomes)
    Console().print(", ".join(f"{count:,} {result}" for result, count in sorted(counts.items())))


def moment(at_ms: int) -> str:
    """Return milliseconds since 1970 as UTC text."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]], empty: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        Console().print(empty)
        return
    table = Table(*columns, box=None, pad_edge=False, show_header=any(columns))
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # a frame's brackets are no markup
    Console(highlight=False).print(table)
