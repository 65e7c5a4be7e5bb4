"""`tickhouse alerts …`: what rang, the rules, and a test of the whole way."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

alerts = typer.Typer(name="alerts", no_args_is_help=True, help="Alerts: what rang, the rules, a test.")
SHOWN = ("raised_at", "severity", "kind", "subject", "summary")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(alerts)


@alerts.command("list")
def list_alerts(
    since: Annotated[str | None, typer.Option(help="Only alerts since this day or time (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 20,
    historic: Annotated[bool, typer.Option("--historic", help="Also those about old data, e.g. a replayed file.")] = (
        False
    ),
    json: JsonOption = False,
) -> None:
    """List the newest alerts, newest first."""
    from common.settings import load_settings
    from tickhouse.alerts.log import recent
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    found = recent(load_settings(), since=_moment(since), limit=limit, with_historic=historic)
    documents = [{"number": one.number, **one.document} for one in found]
    if json:
        print_json(documents)
        return
    rows = [(document["raised_at"][:19], *(str(document[name]) for name in SHOWN[1:])) for document in documents]
    show_table(SHOWN, rows, empty="No alert rang.", optional=("kind",))
    for rule, page in sorted({(one["rule"], one["values"].get("runbook", "")) for one in documents}):
        if page:
            typer.echo(f"More about {rule}: {page}")


@alerts.command()
def rules(json: JsonOption = False) -> None:
    """Show the alert rules."""
    from common.runbook import page_path
    from common.settings import load_settings
    from tickhouse.alerts.rule_stores import present_rules
    from tickhouse.alerts.rules import PAGES, rule_document
    from tickhouse.cli.output import print_json
    from tickhouse.cli.render.tables import show_table

    present = present_rules(load_settings()).rules().values()
    documents = [rule_document(rule) | {"runbook": page_path(PAGES[rule.kind])} for rule in present]
    if json:
        print_json(documents)
        return
    common = ("id", "kind", "severity", "is_enabled", "cooldown_minutes")
    rows = []
    for document in documents:
        own = {name: value for name, value in document.items() if name not in common and value not in ([], None)}
        fields = ", ".join(f"{name} {value}" for name, value in own.items())
        rows.append((*(str(document[name]) for name in common), fields))
    show_table((*common, "fields"), rows, empty="No rule.", optional=("cooldown_minutes",))


@alerts.command("test")
def send_test(
    text: Annotated[str, typer.Option(help="What the notification says.")] = "a test of the alerts",
    json: JsonOption = False,
) -> None:
    """Send a test alert the whole way: Kafka, watcher, RabbitMQ, every enabled channel."""
    from common.settings import load_settings
    from tickhouse.alerts.trial import announce_test
    from tickhouse.cli.output import print_json
    from tickhouse.notifications.channels import enabled_names

    settings = load_settings()
    alert_id = announce_test(settings, text)
    channels = enabled_names(settings)
    if json:
        print_json({"alert_id": alert_id, "channels": channels})
        return
    typer.echo(f"Sent; alert {alert_id}. Enabled channels: {', '.join(channels)}. Next: tickhouse alerts list")


def _moment(text: str | None) -> Any:
    from datetime import UTC, datetime

    from common.errors import ConfigurationError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"Expected a day or a time like 2024-08-08T12:00, was {text!r}.") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
