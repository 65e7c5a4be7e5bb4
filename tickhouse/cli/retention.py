"""`tickhouse retention`: how long each store keeps its data, and removing what is older."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from tickhouse.retention.policy import Policy, StorePlan

StoreOption = Annotated[list[str] | None, typer.Option(help="Only this store.")]

retention = typer.Typer(
    name="retention", no_args_is_help=True, help="Remove old data as stack/retention.yaml declares."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(retention)


@retention.command()
def plan(*, store: StoreOption = None, json: JsonOption = False) -> None:
    """Show the size and retention of each store, and what `apply` would do; changes nothing."""
    from tickhouse.retention.run import require_all_done

    plans = _plans(store)
    _show(plans, json=json)
    require_all_done(plans)


@retention.command()
def apply(*, store: StoreOption = None, json: JsonOption = False) -> None:
    """Carry out the plan; safe to repeat at any time, also after a kill."""
    from datetime import UTC, datetime

    from common.settings import load_settings
    from tickhouse.cli.output import console
    from tickhouse.retention import run

    settings = load_settings()
    done = run.apply(settings, _policies(store), datetime.now(UTC), console().print)
    _show(done, json=json)
    run.require_all_done(done)


def _policies(stores: list[str] | None) -> list[Policy]:
    from common.errors import ConfigurationError
    from common.settings import load_settings
    from tickhouse.retention.policies import policies

    all_policies = policies(load_settings())
    known = [policy.store for policy in all_policies]
    unknown = [name for name in stores or () if name not in known]
    if unknown:
        raise ConfigurationError(f"Expected stores of {', '.join(known)}, was {', '.join(unknown)}.")
    return [policy for policy in all_policies if not stores or policy.store in stores]


def _plans(stores: list[str] | None) -> list[StorePlan]:
    from datetime import UTC, datetime

    from tickhouse.retention.run import plan

    return plan(_policies(stores), datetime.now(UTC))


def _show(plans: list[StorePlan], *, json: bool) -> None:
    from tickhouse.cli.output import print_json

    if json:
        print_json({"stores": [plan.document() for plan in plans], "frees_bytes": sum(plan.frees for plan in plans)})
    else:
        _table(plans)


def _table(plans: list[StorePlan]) -> None:
    from rich.text import Text

    from tickhouse.cli.render.retention import figure, step_text
    from tickhouse.cli.render.tables import show_table

    rows = []
    for plan in plans:
        due = [Text(line) for line in (*map(step_text, plan.steps), *plan.notes)]
        if plan.error:
            due.append(Text(plan.error, "red"))
        text = Text("\n").join(due) if due else "nothing"
        rows.append((plan.store, figure(plan.bytes), plan.declared, text, figure(plan.frees or None)))
    show_table(("store", "bytes", "kept", "due", "frees"), rows, right=("bytes", "frees"))
