"""`tickhouse lake …`: branches, history, publication and queries of the lake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickhouse.cli.options import JsonOption

if TYPE_CHECKING:
    from lakefs.models import Commit

LimitOption = Annotated[int, typer.Option(min=1, help="Most rows to show.")]

lake = typer.Typer(name="lake", no_args_is_help=True, help="Branches, history, publication and queries of the lake.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(lake)


@lake.command()
def branch(
    name: Annotated[str, typer.Argument(help="Branch to create; without it all are listed.")] = "",
    source: Annotated[str, typer.Option("--from", help="Branch, tag or commit to create it from.")] = "main",
    delete: Annotated[bool, typer.Option("--delete", help="Delete the branch instead.")] = False,
    json: JsonOption = False,
) -> None:
    """List branches, create one, or delete one."""
    from common.settings import load_settings
    from tickhouse.lake import branches, refs

    settings = load_settings()
    if name and delete:
        branches.delete(settings, name)
    elif name:
        branches.ensure_branch(settings, name, source)
    rows = [row for row in refs.names(settings, "branch") if not name or row["branch"] == name]
    _show(rows, json, ("branch", "commit"))


@lake.command()
def tag(
    name: Annotated[str, typer.Argument(help="Tag to create; without it all are listed.")] = "",
    ref: Annotated[str, typer.Argument(help="Branch, tag or commit to tag.")] = "main",
    json: JsonOption = False,
) -> None:
    """List tags, or create one. Tags never move: a name that is taken gets a number appended."""
    from common.settings import load_settings
    from tickhouse.lake import branches, refs

    settings = load_settings()
    made = branches.tag(settings, name, ref) if name else ""
    rows = [row for row in refs.names(settings, "tag") if not made or row["tag"] == made]
    _show(rows, json, ("tag", "commit"))


@lake.command()
def commit(
    branch: Annotated[str, typer.Argument(help="Branch to commit.")],
    message: Annotated[str, typer.Option("--message", "-m", help="What changed, and why.")],
    meta: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for the commit's metadata.")] = None,
    json: JsonOption = False,
) -> None:
    """Commit the changes of a branch; without changes there is no new commit."""
    from common.settings import load_settings
    from tickhouse.lake import branches

    made = branches.commit(load_settings(), branch, message, _parse_metadata(meta or ()))
    _show([{"branch": branch, "commit": made}], json, ("branch", "commit"))


@lake.command()
def merge(
    source: Annotated[str, typer.Argument(help="Branch, tag or commit to merge.")],
    into: Annotated[str, typer.Option(help="Branch to merge into.")] = "main",
    tag: Annotated[str, typer.Option(help="Tag for the merge commit.")] = "",
    json: JsonOption = False,
) -> None:
    """Merge a reference into a branch; main takes only audited data (exit code 8 if it is not)."""
    from common.settings import load_settings
    from tickhouse.lake import branches

    settings = load_settings()
    if into == "main":
        made = branches.merge_audited(settings, source, tag=tag)
    else:
        made = branches.merge(settings, source, into)
        if tag:
            branches.tag(settings, tag, made)
    _show([{"branch": into, "commit": made}], json, ("branch", "commit"))


@lake.command()
def migrate(json: JsonOption = False) -> None:
    """Move manifests of older versions into folders per day; DAG lake_commit does this as well."""
    from common.settings import load_settings
    from tickhouse.lake.manifest_migration import migrate

    _show([{"moved": migrate(load_settings())}], json, ("moved",))


@lake.command()
def rollback(
    to: Annotated[str, typer.Argument(help="Commit or tag in the history of main.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the metadata of the new commit.")] = "",
    json: JsonOption = False,
) -> None:
    """Restore an earlier state of main by a new commit; DAG lake_rollback also restores tables."""
    from common.settings import load_settings
    from tickhouse.lake.rollback import rollback

    made = rollback(load_settings(), to, reason=reason)
    _show([{"branch": "main", "commit": made}], json, ("branch", "commit"))


@lake.command()
def export(
    ref: Annotated[str, typer.Argument(help="Branch, tag or commit.")] = "main",
    json: JsonOption = False,
) -> None:
    """Copy silver and gold of a reference to HDFS at /lake/COMMIT; each commit is copied once."""
    from dataclasses import asdict

    from common.settings import load_settings
    from tickhouse.lake.hdfs_export import export

    row = asdict(export(load_settings(), ref))
    _show([row], json, ("path", "files", "size_bytes"))


@lake.command()
def log(
    ref: Annotated[str, typer.Argument(help="Branch, tag or commit.")] = "main",
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> None:
    """Show the commits of a reference, newest first, each with its audit."""
    from common.settings import load_settings
    from tickhouse.lake import refs

    rows = [_commit_row(commit) for commit in refs.log(load_settings(), ref, limit)]
    _show(rows, json, ("commit", "committed_at", "message", "audit", "report"))


@lake.command()
def diff(
    left: Annotated[str, typer.Argument(help="Branch, tag or commit; without RIGHT, a branch.")],
    right: Annotated[str, typer.Argument(help="Branch, tag or commit to compare with.")] = "",
    prefix: Annotated[str, typer.Option(help="Only objects whose path begins with this.")] = "",
    limit: LimitOption = 1000,
    json: JsonOption = False,
) -> None:
    """Show the differences between two references, or a branch's uncommitted changes."""
    from common.settings import load_settings
    from tickhouse.lake import refs

    rows = refs.diff(load_settings(), left, right, prefix=prefix, limit=limit)
    _show(rows, json, ("type", "path", "size_bytes"))


@lake.command()
def query(  # noqa: PLR0917  # typer makes each an option
    table: Annotated[str, typer.Argument(help="Such as gold/candles_1m; the layer may be left out.")],
    as_of: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    symbol: Annotated[str, typer.Option(help="The exchange's symbol, such as BTCUSDT.")] = "",
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE; also != < <= > >=.")] = None,
    columns: Annotated[str, typer.Option(help="Columns to show, separated by commas.")] = "",
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> None:
    """Read rows of a table as of a commit, tag or branch; uncommitted files are not read."""
    from common.settings import load_settings
    from common.symbols import upper_latin
    from tickhouse.cli.output import print_json
    from tickhouse.lake.table_query import TableQuery, query

    conditions = [*(where or ()), *([f"symbol={upper_latin(symbol)}"] if symbol else [])]
    chosen = tuple(name.strip() for name in columns.split(",") if name.strip())
    wanted = TableQuery(table, tuple(conditions), chosen, limit)
    result = query(load_settings(), as_of, wanted, _warn).document()
    if json:
        print_json(result)
    else:
        names = tuple(result["rows"][0]) if result["rows"] else ()
        _table(result["rows"], names, f"{result['table']} as of {result['commit'][:12]}")


def _warn(line: str) -> None:
    typer.echo(f"warning: {line}", err=True)


def _commit_row(commit: Commit) -> dict[str, Any]:
    from datetime import UTC, datetime

    metadata = commit.metadata or {}
    return {
        "commit": commit.id,
        "committed_at": datetime.fromtimestamp(commit.creation_date, UTC).isoformat(),
        "message": commit.message,
        "parents": list(commit.parents),
        "audit": _verdict(metadata),
        "report": metadata.get("audit.report", ""),
        "metadata": metadata,
    }


def _verdict(metadata: Mapping[str, str]) -> str:
    from tickhouse.lake.audit_verdict import OK, warnings_in

    verdict = {"true": "passed", "false": "failed"}.get(metadata.get(OK, ""), "")
    warnings = len(warnings_in(metadata))
    return f"{verdict}, {warnings} warnings" if verdict and warnings else verdict


def _parse_metadata(texts: Iterable[str]) -> dict[str, str]:
    from common.errors import ConfigurationError

    invalid = [text for text in texts if "=" not in text]
    if invalid:
        raise ConfigurationError(f"Expected --meta KEY=VALUE, was {invalid[0]!r}.", safe="Nothing was committed.")
    return dict(text.split("=", 1) for text in texts)


def _show(rows: list[dict[str, Any]], json: bool, columns: tuple[str, ...]) -> None:
    from tickhouse.cli.output import print_json

    if json:
        print_json(rows)
    else:
        _table(rows, columns)


def _table(rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...], title: str = "") -> None:
    from tickhouse.cli.render.tables import show_table

    cells = [[str(row[name])[:12] if name == "commit" else row[name] for name in columns] for row in rows]
    show_table(columns, cells, title=title)
