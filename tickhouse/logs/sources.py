"""The declaration of log sources, `observe/logs/sources.yaml`."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from common.settings import REPO

SOURCES_FILE = REPO / "observe" / "logs" / "sources.yaml"
# supervisord renames a full log to `<program>.log.1`.
_PROGRAM_LOG = re.compile(r"logs/([^/]+)\.log(?:\.\d+)?")

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error", "critical")


class _SourcePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeFormat(_SourcePart):
    """How the time of a line is written: `iso`, `epoch` or strptime, and for Logstash."""

    python: str
    logstash: str | tuple[str, ...]


class LogFormat(_SourcePart):
    """One format of log lines; `kind` says who parses a line that no pattern describes."""

    kind: Literal["pattern", "ecs", "airflow", "plain"] = "pattern"
    start: str
    pattern: str = ""
    time: TimeFormat | None = None

    @model_validator(mode="after")
    def _has_pattern(self) -> LogFormat:
        if (self.kind == "pattern") != bool(self.pattern and self.time):
            raise ValueError("Expected a pattern and a time, or another kind")
        return self

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """Return the pattern in Python's syntax; `.` matches line ends too."""
        return re.compile(self.pattern.replace("(?<", "(?P<"), re.DOTALL)


class LogFiles(_SourcePart):
    """Further log files: paths below the home, with wildcards."""

    paths: tuple[str, ...]
    formats: tuple[str, ...]


class LogSources(_SourcePart):
    """The content of the file."""

    levels: dict[LogLevel, tuple[str, ...]]
    formats: dict[str, LogFormat]
    programs: dict[str, tuple[str, ...]]
    files: dict[str, LogFiles]
    compose: dict[str, str]

    @cached_property
    def level_by_name(self) -> dict[str, LogLevel]:
        """Return our level by the level in a log."""
        return {name: level for level, names in self.levels.items() for name in names}

    def source_of(self, path: str) -> tuple[str, tuple[LogFormat, ...]]:
        """Return (source, formats) of a file.

        Args:
            path: Below the home, with `/`. A file that is not declared is plain text.
        """
        found = _PROGRAM_LOG.fullmatch(path)
        program = found[1] if found else path
        for name, files in self.files.items():
            if any(fnmatchcase(path, pattern) for pattern in files.paths):
                return name, self._formats(files.formats)
        return program, self._formats(self.programs.get(program, ("plain",)))

    def _formats(self, names: tuple[str, ...]) -> tuple[LogFormat, ...]:
        return tuple(self.formats[name] for name in names)


@cache
def log_sources() -> LogSources:
    """Return the declaration."""
    return LogSources.model_validate(yaml.safe_load(SOURCES_FILE.read_text()))
