"""`tickhouse service`: start this lakehouse at boot, with systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from tickhouse.systemd.installation import UnitPlace

SystemOption = Annotated[
    bool, typer.Option("--system", help="The machine's systemd (needs root), and not the user's own.")
]

service = typer.Typer(name="service", no_args_is_help=True, help="Start this lakehouse at boot, with systemd.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(service)


@service.command()
def install(
    *,
    system: SystemOption = False,
    profile: Annotated[str, typer.Option(help="What to start: core, full, ...")] = "core",
    memory_max_mb: Annotated[
        int | None, typer.Option(min=512, help="Most memory of all processes together; no limit without it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit; write nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Write the unit and enable it; starts and stops nothing."""
    from tickhouse.cli.output import print_json
    from tickhouse.systemd import installation

    place = installation.UnitPlace(system)
    text = installation.plan(place, profile, memory_max_mb).text()
    _warn(place)
    left = [] if dry_run else installation.install(place, text)
    if json:
        print_json({"path": str(place.path), "unit": text, "is_written": not dry_run, "commands": left})
    elif dry_run:
        typer.echo(f"# {place.path}\n{text}", nl=False)
    else:
        typer.echo(f"Wrote {place.path}.")
        _show_commands(left)


@service.command()
def uninstall(
    *,
    system: SystemOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
    json: JsonOption = False,
) -> None:
    """Disable and remove the unit; the services go on, and the data stays."""
    from tickhouse.cli.output import print_json
    from tickhouse.systemd import installation

    place = installation.UnitPlace(system)
    is_removed = place.path.exists() and not dry_run
    left = installation.uninstall(place) if is_removed else []
    if json:
        print_json({"path": str(place.path), "is_removed": is_removed, "commands": left})
    elif is_removed:
        typer.echo(f"Removed {place.path}. The services go on until tickhouse down.")
        _show_commands(left)
    else:
        typer.echo(f"Would remove {place.path}." if place.path.exists() else f"There is no {place.path}.")


@service.command()
def status(*, system: SystemOption = False, json: JsonOption = False) -> None:
    """Show whether the unit is there, up to date, enabled and active."""
    from tickhouse.cli.output import print_json
    from tickhouse.systemd import installation

    place = installation.UnitPlace(system)
    profile = installation.profile_of(place, "core")
    found = installation.status(place, installation.plan(place, profile).text())
    if json:
        print_json(found.as_dict())
        return
    if not found.is_installed:
        typer.echo(f"not installed: there is no {found.path}")
        return
    current = "up to date" if found.is_current else "differs from what install would write now"
    typer.echo(f"{found.path}: {current}")
    if found.is_systemd_running:
        typer.echo(f"enabled: {found.enabled}   active: {found.active}")
    else:
        typer.echo("systemd does not run this machine, so nothing starts it")


def _warn(place: UnitPlace) -> None:
    from tickhouse.systemd import installation

    if names := installation.not_kept():
        typer.echo(
            f"Not in the unit, because it may hold passwords: {', '.join(names)}. Put them into "
            f"{place.environment_file} (mode 0600), a line NAME=value each.",
            err=True,
        )
    if not installation.is_booted():
        typer.echo("systemd does not run this machine; the unit works where it does.", err=True)


def _show_commands(commands: list[str]) -> None:
    if commands:
        typer.echo("Run:")
    for command in commands:
        typer.echo(f"  {command}")
