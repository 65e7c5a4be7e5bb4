"""The CLI reference page, rendered from the commands themselves.

`python -m tickhouse.cli.reference > docs/reference/cli.md` writes it;
tests/unit/docs/test_cli_reference.py compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

HEAD = """# The command line

Generated from the program: `python -m tickhouse.cli.reference > docs/reference/cli.md`. Do not edit.

Results go to standard output, progress and errors to standard error. With `--json`, standard output holds one JSON
document and nothing else ([json.md](json.md)). Exit codes: [exit-codes.md](exit-codes.md).

`tickhouse --demo …` runs any command on the lakehouse that `tickhouse demo` left running, instead of your own.
"""


def render(app: Any) -> str:
    """Return the page (Markdown) of a Typer application."""
    from typer.main import get_command

    root = get_command(app)
    sections = [section(path, command) for path, command in commands(root, root.name or "")]
    return "\n".join([HEAD, *sections])


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (full name, command) of every command that can be run, sorted; groups cannot be run."""
    for name, command in sorted(group.commands.items()):
        full_name = f"{path} {name}"
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield full_name, command
            default = getattr(command, "default_command", "")
            if default:
                yield full_name, command.commands[default]
            yield from (one for one in commands(command, full_name) if one[0] != f"{full_name} {default}")
        elif not command.hidden:
            yield full_name, command


def section(path: str, command: Any) -> str:
    """Return one command: what it does, how it is called, its parameters."""
    shown = [parameter for parameter in command.params if parameter.name != "help" and not parameter.hidden]
    arguments = [name_of(parameter) for parameter in shown if is_argument(parameter)]
    usage = " ".join([path, *arguments, *(["[OPTIONS]"] if len(arguments) < len(shown) else [])])
    lines = [f"## `{path}`", "", (command.help or "").strip(), "", f"    {usage}", ""]
    if shown:
        lines += ["| parameter | value | default | meaning |", "|---|---|---|---|"]
        lines += [row(parameter) for parameter in shown]
        lines += [""]
    return "\n".join(lines)


def is_argument(parameter: Any) -> bool:
    """Return whether a parameter is positional."""
    return not parameter.opts[0].startswith("-")


def name_of(parameter: Any) -> str:
    """Return how a parameter is written: `FILES…`, or all its option names."""
    if is_argument(parameter):
        return f"{parameter.name.upper()}{'…' if parameter.nargs != 1 else ''}"
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def row(parameter: Any) -> str:
    """Return one row of the table of parameters."""
    meaning = (parameter.help or "") + (" May be repeated." if parameter.multiple else "")
    return f"| `{name_of(parameter)}` | {value_of(parameter)} | {default_of(parameter)} | {meaning} |"


def value_of(parameter: Any) -> str:
    """Return the kind of value a parameter takes, with its bounds; empty for a flag."""
    from typing import get_args

    if getattr(parameter, "is_flag", False):
        return ""
    annotation = parameter.type_descriptor.annotation
    while get_args(annotation):
        annotation = get_args(annotation)[0]
    kind = {"str": "text", "int": "integer", "float": "number", "Path": "path", "datetime": "UTC time"}
    least = f", at least {parameter.min}" if parameter.min is not None else ""
    return kind[annotation.__name__] + least


def default_of(parameter: Any) -> str:
    """Return a parameter's default: the value, `required`, or nothing."""
    if parameter.required:
        return "required"
    if getattr(parameter, "is_flag", False):
        return f"`{parameter.opts[0]}`" if parameter.default else ""
    return "" if parameter.default is None else f"`{parameter.default}`"
