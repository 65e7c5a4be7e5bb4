"""`tickhouse dlq`: dead letters, their reasons, and sending them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tickhouse.dlq.letters import Letter
    from tickhouse.dlq.redrive import Redrive, RedriveOutcome

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
    """Count dead letters per topic and error class; resolved: the event was delivered since."""
    from common.settings import load_settings
    from tickhouse.cli.notification_letters import letter_groups
    from tickhouse.cli.output import print_json
    from tickhouse.dlq.letters import grouped
    from tickhouse.dlq.reader import dead_letter_topics, letters
    from tickhouse.dlq.redrive import connected
    from tickhouse.dlq.resolved import ResolvedLetters

    settings = load_settings()
    with connected(settings) as drive:
        topics = dead_letter_topics(drive.kafka)
        all_letters = (letter for topic in topics for letter in letters(drive.kafka, topic))
        resolved = ResolvedLetters.of(drive.kafka)
        groups = [group.document() for group in grouped(all_letters, drive.audit.sent(), resolved)]
    groups += letter_groups(settings)
    if json:
        print_json({"topics": topics, "groups": groups})
        return
    columns = ("topic", "reason", "writer", "letters", "redriven", "resolved", "example")
    rows = [(*(str(group[name]) for name in columns), moment(group["last_ms"])) for group in groups]
    _table((*columns, "last"), rows, f"No dead letter in {', '.join(topics)}.")


def show(
    topic: Annotated[str, typer.Argument(help="A dead-letter topic, e.g. dlq.spark, or the queue notify.dead.")],
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest to show.")] = 20,
    json: JsonOption = False,
) -> None:
    """List the newest dead letters of a topic."""
    from collections import deque

    from common.settings import load_settings
    from tickhouse.cli import notification_letters
    from tickhouse.cli.output import print_json
    from tickhouse.dlq.reader import letters
    from tickhouse.dlq.redrive import connected

    if topic == notification_letters.QUEUE:
        notification_letters.show(reason, limit, json)
        return
    with connected(load_settings()) as drive:
        newest = deque(letters(drive.kafka, topic, reason), maxlen=limit)
    documents = [letter.document() for letter in newest]
    if json:
        print_json(documents)
        return
    rows = [
        (row["place"], moment(row["at_ms"]), row["reason"], row["detail"], str(row["key"]), row["preview"])
        for row in documents
    ]
    _table(("letter", "at", "reason", "detail", "key", "value"), rows, "No such dead letter.")


def explain(
    place: Annotated[str, typer.Argument(help="TOPIC:PARTITION:OFFSET of the letter, as `dlq show` lists it.")],
    json: JsonOption = False,
) -> None:
    """Explain one dead letter: its error, how to fix it, and how often it was sent again."""
    from common.settings import load_settings
    from tickhouse.cli.output import print_json
    from tickhouse.dlq.explain import explanation
    from tickhouse.dlq.letters import Place
    from tickhouse.dlq.redrive import connected

    with connected(load_settings()) as drive:
        document = explanation(drive, Place.parse(place))
    if json:
        print_json(document)
        return
    rows = [(name, str(value)) for name, value in document.items() if name not in ("headers", "record", "tries")]
    rows += [(f"header {name}", value[:300]) for name, value in document["headers"].items()]
    rows += [(f"field {name}", str(value)) for name, value in (document["record"] or {}).items()]
    rows += [(f"try {row['try']}", f"{row['state']} {row['at']} by {row['by']}") for row in document["tries"]]
    _table(("", ""), rows, "")


def redrive(
    target: Annotated[
        str, typer.Argument(help="A dead-letter topic, TOPIC:PARTITION:OFFSET of one letter, or the queue notify.dead.")
    ],
    reason: ReasonOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most letters to send, oldest first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Send dead letters again under the same event id, at most three times per record.

    Each try has an audit row. Letters are never removed; those that were already
    sent again are skipped. Exit code 5 when a letter is refused.
    """
    from itertools import islice

    from common.errors import RejectedRecord
    from common.settings import load_settings
    from tickhouse.cli import notification_letters
    from tickhouse.cli.output import console, print_json
    from tickhouse.dlq.redrive import connected

    if target == notification_letters.QUEUE:
        notification_letters.redrive(reason, limit, is_dry=dry_run, json=json)
        return
    role = "reader" if dry_run else "operator"
    outcomes: list[RedriveOutcome] = []
    with connected(load_settings(), role=role, is_dry=dry_run) as drive, console().status("reading") as status:
        for outcome in drive.run(islice(_target_letters(drive, target, reason), limit)):
            outcomes.append(outcome)
            status.update(f"{len(outcomes):,} letters")
    if json:
        print_json([outcome.document() for outcome in outcomes])
    else:
        _show_outcomes(outcomes)
    refused = [outcome for outcome in outcomes if outcome.result == "refused"]
    if refused:
        raise RejectedRecord("redrive_refused", f"{len(refused)} of {len(outcomes)} letters: {refused[0].why}")


def _target_letters(drive: Redrive, target: str, reason: str | None) -> Iterator[Letter]:
    from tickhouse.dlq.letters import Place
    from tickhouse.dlq.reader import letter_at, letters

    if ":" in target:
        yield letter_at(drive.kafka, Place.parse(target))
    else:
        # All letters are read before the first is sent, because a sent one may become a new letter.
        yield from list(letters(drive.kafka, target, reason))


def _show_outcomes(outcomes: list[RedriveOutcome]) -> None:
    from collections import Counter

    from rich.console import Console

    names = ("letter", "result", "try", "event_id", "topic", "why")
    rows = [tuple(str(row[name] or "") for name in names) for row in (outcome.document() for outcome in outcomes)]
    _table(("letter", "result", "try", "event id", "topic", "why"), rows, "No such dead letter.")
    counts = Counter(outcome.result for outcome in outcomes)
    Console().print(", ".join(f"{count:,} {result}" for result, count in sorted(counts.items())))


def moment(at_ms: int) -> str:
    """Return milliseconds since 1970 as UTC text."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]], empty: str) -> None:
    from tickhouse.cli.render.tables import show_table

    show_table(columns, rows, empty=empty, optional=("writer", "redriven", "key", "value"))
