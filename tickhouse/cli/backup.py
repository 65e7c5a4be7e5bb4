"""`tickhouse backup` and `tickhouse restore`: save a whole home, and make one from a backup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from tickhouse.backup.manifest import BackupManifest, SavedPart
    from tickhouse.backup.save import PartReporter

SECRETS_NOTE = (
    "The backup holds secrets.env, the passwords of this home, in clear (mode 0600). Keep it as safe as the home, "
    "or make it --without-secrets."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder to make; an interrupted backup of this name goes on.")],
    *,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the services, save, and start the same ones again.")
    ] = False,
    without_secrets: Annotated[
        bool, typer.Option("--without-secrets", help="Leave out secrets.env; restore then needs --secrets.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Save every store of this home to a folder, with hashes; the services must be stopped."""
    from time import monotonic

    from common.settings import load_settings
    from tickhouse.backup.save import refuse_target, save
    from tickhouse.cli.output import console, print_json

    began = monotonic()
    target = refuse_target(folder)
    if not without_secrets:
        console().print(f"[yellow]{SECRETS_NOTE}[/]")
    with _services_stopped(is_wanted=stop), _parts_shown() as report:
        stopped_at = monotonic()
        manifest = save(load_settings(), target, report, with_secrets=not without_secrets)
        copied_s = monotonic() - stopped_at
    if json:
        seconds = {"seconds": round(monotonic() - began, 1), "copied_s": round(copied_s, 1)}
        print_json({"folder": str(target), **seconds, **manifest.document()})
    else:
        _show_saved(target, manifest, copied_s)


@contextmanager
def _services_stopped(*, is_wanted: bool) -> Iterator[None]:
    from tickhouse.backup.running_stack import stopped
    from tickhouse.cli.output import Progress

    if not is_wanted:
        yield
        return
    with Progress() as progress, stopped(progress):
        yield


@contextmanager
def _parts_shown() -> Iterator[PartReporter]:
    from tickhouse.cli.output import console

    errors = console()
    with errors.status("saving") as status:

        def report(name: str, part: SavedPart | None) -> None:
            if part is None:
                status.update(f"saving {name}")
            else:
                errors.print(f"{name}: {_size(part.bytes)} in {part.files:,} files")

        yield report


def _show_saved(target: Path, manifest: BackupManifest, seconds: float) -> None:
    typer.echo(f"{target}: {_size(manifest.bytes)} in {manifest.files:,} files, {seconds:.1f} s")
    if manifest.external:
        typer.echo(f"Not in it, because they are external: {', '.join(manifest.external)}")
    typer.echo(f"Restore it: TICKHOUSE_HOME=<empty folder> tickhouse restore {target}")


def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that tickhouse backup made.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only compare every file with its hash.")] = False,
    secrets: Annotated[
        Path | None, typer.Option(help="The secrets.env of a backup that was made --without-secrets.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fill this home, which must be empty, from a backup; an interrupted restore goes on."""
    from common.settings import home
    from tickhouse.backup import restore as steps
    from tickhouse.backup.manifest import read_manifest
    from tickhouse.cli.output import console, print_json

    source = folder.expanduser().resolve()
    manifest = read_manifest(source)
    what = f"{_size(manifest.bytes)} in {manifest.files:,} files of {manifest.made_at}"
    if not check:
        steps.refuse_newer(source, manifest)
        _require_consent(f"Restore {what} into {home()}?", is_given=yes)
    with console().status("reading") as status:
        if check:
            steps.check(source, manifest, lambda name: status.update(f"checking {name}"))
        else:
            steps.restore(source, manifest, lambda name: status.update(f"restoring {name}"), secrets)
    if json:
        print_json(_outcome(source, manifest, is_check=check))
    elif check:
        typer.echo(f"{source}: every file is as it was saved ({what})")
    else:
        _show_restored(manifest)


def _outcome(source: Path, manifest: BackupManifest, *, is_check: bool) -> dict[str, Any]:
    from common.settings import home

    return {**manifest.document(), "folder": str(source), "home": None if is_check else str(home())}


def _require_consent(question: str, *, is_given: bool) -> None:
    import sys

    from common.errors import ConfigurationError

    if is_given:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "A restore asks before it writes, and nobody can answer here.",
            safe="Nothing was changed.",
            next_command="add --yes",
        )
    typer.confirm(question, abort=True, err=True)


def _show_restored(manifest: BackupManifest) -> None:
    from common.settings import home, ports

    typer.echo(f"{home()} is as it was at {manifest.made_at}. Next: tickhouse up, then tickhouse reconcile")
    if manifest.lake:
        typer.echo(f"lake: {', '.join(f'{name} {commit[:12]}' for name, commit in manifest.lake.items())}")
    if manifest.port_base != min(ports().values()):
        typer.echo(f"Links in reports lead to the old ports; the same ones: TICKHOUSE_PORT_BASE={manifest.port_base}")
    if manifest.external:
        typer.echo(f"Not restored, because they are external: {', '.join(manifest.external)}")


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
