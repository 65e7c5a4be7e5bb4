"""Command lines in the docs against the program and the Makefile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from common.settings import REPO
from tickhouse.cli import app
from tickhouse.cli.reference import is_argument

_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=.*")
_SEPARATORS = {"|", "&&", "||", ";"}
TARGETS = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))


def command_lines(block: str) -> Iterator[list[str]]:
    """Yield the words of every `tickhouse` and `make` call in a shell block, the program first."""
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        for words in _split(list(lexer)):
            programs = [word.rpartition("/")[2] for word in words]
            place = next((index for index, name in enumerate(programs) if name in ("tickhouse", "make")), None)
            if place is not None and _starts_command(words[:place]):
                yield [programs[place], *words[place + 1 :]]


def _split(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in _SEPARATORS:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def _starts_command(before: list[str]) -> bool:
    # Assignments, or `docker compose exec SERVICE`, may stand before the program; a mere argument
    # may not.
    return before[:3] == ["docker", "compose", "exec"] or all(_ASSIGNMENT.fullmatch(word) for word in before)


def problem(words: list[str]) -> str:
    """Return what is wrong with one call; empty when the program would take it."""
    program, *rest = words
    if program == "make":
        wrong = [word for word in rest if not _ASSIGNMENT.fullmatch(word) and word not in TARGETS]
        return f"no such verb: {wrong}" if wrong else ""
    return _problem_of_call(get_command(app), rest)


def _problem_of_call(command: Any, words: list[str]) -> str:
    if words[:1] == ["--demo"]:
        words = words[1:]
    while hasattr(command, "commands"):
        if words[:1] == ["--help"] or not words:
            return ""
        if command.invoke_without_command and words[0].startswith("-"):
            return _problem_of_parameters(command, words)
        if words[0] not in command.commands and (default := getattr(command, "default_command", "")):
            words = [default, *words]
        if words[0] not in command.commands:
            return f"no such command: {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return _problem_of_parameters(command, words)


def _problem_of_parameters(command: Any, words: list[str]) -> str:
    if "--help" in words:
        return ""
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts) if not is_argument(one)}
    given, places, queue = set(), 0, list(words)
    while queue:
        word, equals, _ = queue.pop(0).partition("=")
        if not word.startswith("-"):
            places += 1
        elif word not in options:
            return f"no such option: {word}"
        else:
            given.add(options[word].name)
            if not options[word].is_flag and not equals and queue:
                queue.pop(0)
    return _problem_of_counts(command, given, places)


def _problem_of_counts(command: Any, given: set[str], places: int) -> str:
    missing = [one.opts[0] for one in command.params if not is_argument(one) and one.required and one.name not in given]
    arguments = [one for one in command.params if is_argument(one)]
    least = sum(one.required for one in arguments)
    most = 1_000 if any(one.nargs != 1 for one in arguments) else len(arguments)
    if missing:
        return f"missing: {missing}"
    return "" if least <= places <= most else f"expected {least} to {most} arguments, was {places}"
