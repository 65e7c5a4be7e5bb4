"""`tickhouse lake …`: branches, history, publication and reading of the lake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lakefs.models import Commit

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Limit = Annotated[int, typer.Option(min=1, help="Rows to show at most.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    lake = typer.Typer(no_args_is_help=True, help="The lake: branches, history, publication, reading as of a commit.")
    app.add_typer(lake, name="lake")
    for add in (_add_branches, _add_writes, _add_moves, _add_reads):
        add(lake)


def _add_branches(lake: typer.Typer) -> None:
    @lake.command()
    def branch(
        name: Annotated[str, typer.Argument(help="Branch to make; without it all are listed.")] = "",
        source: Annotated[str, typer.Option("--from", help="Branch, tag or commit to make it from.")] = "main",
        delete: Annotated[bool, typer.Option("--delete", help="Delete the branch instead.")] = False,
        json: Json = False,
    ) -> None:
        """List branches, make one, or delete one."""
        from tickhouse.lake import branches, looking
        from tickhouse.settings import load_settings

        settings = load_settings()
        if name and delete:
            branches.delete(settings, name)
        elif name:
            branches.ensure_branch(settings, name, source)
        rows = [one for one in looking.names(settings, "branch") if not name or one["branch"] == name]
        _show(rows, json, ("branch", "commit"))

    @lake.command()
    def tag(
        name: Annotated[str, typer.Argument(help="Tag to make; without it all are listed.")] = "",
        ref: Annotated[str, typer.Argument(help="Branch, tag or commit to tag.")] = "main",
        json: Json = False,
    ) -> None:
        """List tags, or make one; a name that another commit has gets a number, for tags never move."""
        from tickhouse.lake import branches, looking
        from tickhouse.settings import load_settings

        settings = load_settings()
        made = branches.tag(settings, name, ref) if name else ""
        rows = [one for one in looking.names(settings, "tag") if not made or one["tag"] == made]
        _show(rows, json, ("tag", "commit"))


def _add_writes(lake: typer.Typer) -> None:
    @lake.command()
    def commit(
        branch: Annotated[str, typer.Argument(help="Branch to commit.")],
        message: Annotated[str, typer.Option("--message", "-m", help="What changed, and why.")],
        meta: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the commit's metadata.")] = None,
        json: Json = False,
    ) -> None:
        """Commit what was written to a branch; nothing written, nothing changes."""
        from tickhouse.lake import branches
        from tickhouse.settings import load_settings

        made = branches.commit(load_settings(), branch, message, _pairs(meta or ()))
        _show([{"branch": branch, "commit": made}], json, ("branch", "commit"))

    @lake.command()
    def merge(
        source: Annotated[str, typer.Argument(help="Branch, tag or commit to merge.")],
        into: Annotated[str, typer.Option(help="Branch to merge into.")] = "main",
        tag: Annotated[str, typer.Option(help="Tag the merge.")] = "",
        json: Json = False,
    ) -> None:
        """Merge; into main only what a passed audit has seen (exit code 8)."""
        from tickhouse.lake import branches
        from tickhouse.settings import load_settings

        settings = load_settings()
        if into == "main":
            made = branches.merge_audited(settings, source, tag=tag)
        else:
            made = branches.merge(settings, source, into)
            if tag:
                branches.tag(settings, tag, made)
        _show([{"branch": into, "commit": made}], json, ("branch", "commit"))


def _add_moves(lake: typer.Typer) -> None:
    @lake.command()
    def rollback(
        to: Annotated[str, typer.Argument(help="Commit or tag of main's past.")],
        json: Json = False,
    ) -> None:
        """Bring main back to a commit or tag, by a new commit; the lake only, the DAG lake_rollback does the tables."""
        from tickhouse.lake.rollback import rollback
        from tickhouse.settings import load_settings

        made = rollback(load_settings(), to)
        _show([{"branch": "main", "commit": made}], json, ("branch", "commit"))

    @lake.command()
    def export(
        ref: Annotated[str, typer.Argument(help="Branch, tag or commit.")] = "main",
        json: Json = False,
    ) -> None:
        """Copy silver and gold of a reference to HDFS, at /lake/COMMIT; done once a commit."""
        from dataclasses import asdict

        from tickhouse.lake.export import export
        from tickhouse.settings import load_settings

        row = asdict(export(load_settings(), ref))
        _show([row], json, ("path", "files", "size_bytes"))


def _add_reads(lake: typer.Typer) -> None:
    @lake.command()
    def log(
        ref: Annotated[str, typer.Argument(help="Branch, tag or commit.")] = "main",
        limit: Limit = 20,
        json: Json = False,
    ) -> None:
        """Show the commits of a reference, newest first, each with its audit."""
        from tickhouse.lake import looking
        from tickhouse.settings import load_settings

        rows = [_commit_row(one) for one in looking.log(load_settings(), ref, limit)]
        _show(rows, json, ("commit", "committed_at", "message", "audit", "report"))

    @lake.command()
    def diff(
        left: Annotated[str, typer.Argument(help="Branch, tag or commit; alone: a branch's uncommitted changes.")],
        right: Annotated[str, typer.Argument(help="What it is compared with.")] = "",
        prefix: Annotated[str, typer.Option(help="Only objects whose path begins so.")] = "",
        limit: Limit = 1000,
        json: Json = False,
    ) -> None:
        """Show what differs between two references, or what a branch has uncommitted."""
        from tickhouse.lake import looking
        from tickhouse.settings import load_settings

        rows = looking.diff(load_settings(), left, right, prefix=prefix, limit=limit)
        _show(rows, json, ("type", "path", "size_bytes"))

    @lake.command()
    def query(  # noqa: PLR0917  # typer makes each an option
        table: Annotated[str, typer.Argument(help="As gold/candles_1m or silver/trades; the layer may be left out.")],
        as_of: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
        symbol: Annotated[str, typer.Option(help="The exchange's symbol, as BTCUSDT.")] = "",
        where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE; also != < <= > >=.")] = None,
        columns: Annotated[str, typer.Option(help="Columns to show, with commas.")] = "",
        limit: Limit = 20,
        json: Json = False,
    ) -> None:
        """Read rows of a table as they were at a commit, tag or branch (what is not committed is not read)."""
        from tickhouse.lake.query import Question, query
        from tickhouse.settings import load_settings

        conditions = (*(where or ()), *((f"symbol={symbol.upper()}",) if symbol else ()))
        chosen = tuple(name.strip() for name in columns.split(",") if name.strip())
        answer = query(load_settings(), as_of, Question(table, conditions, chosen, limit)).document()
        if json:
            from tickhouse.cli._show import print_json

            print_json(answer)
        else:
            names = tuple(answer["rows"][0]) if answer["rows"] else ()
            _table(answer["rows"], names, f"{answer['table']} as of {answer['commit'][:12]}")


def _commit_row(commit: Commit) -> dict[str, Any]:
    from datetime import UTC, datetime

    metadata = commit.metadata or {}
    return {
        "commit": commit.id,
        "committed_at": datetime.fromtimestamp(commit.creation_date, UTC).isoformat(),
        "message": commit.message,
        "parents": list(commit.parents),
        "audit": {"true": "passed", "false": "failed"}.get(metadata.get("audit.ok", ""), ""),
        "report": metadata.get("audit.report", ""),
        "metadata": metadata,
    }


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    from tickhouse.errors import ConfigurationError

    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise ConfigurationError(f"Expected --meta KEY=VALUE, was {wrong[0]!r}.", safe="Nothing was committed.")
    return dict(text.split("=", 1) for text in texts)


def _show(rows: list[dict[str, Any]], json: bool, columns: tuple[str, ...]) -> None:
    from tickhouse.cli._show import print_json

    if json:
        print_json(rows)
    else:
        _table(rows, columns)


def _table(rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...], title: str = "") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(row[name])[:12] if name == "commit" else str(row[name]) for name in columns))
    Console(highlight=False).print(table)
