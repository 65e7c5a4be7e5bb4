"""What `tickhouse logs search` asks for (pure)."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.errors import ConfigurationError
from tickhouse.logs.sources import LEVELS, LogLevel

_AGE = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What to search.

    Args:
        words: All of them must be in a message; a word may be a phrase.
        since: The earliest time, in UTC.
        services: Values of `service.name`; empty for all.
        level: The lowest level.
        limit: How many of the newest messages.
    """

    words: tuple[str, ...]
    since: datetime
    services: tuple[str, ...] = ()
    level: LogLevel = "debug"
    limit: int = 100

    @property
    def levels(self) -> tuple[LogLevel, ...]:
        """Return the wanted levels."""
        return LEVELS[LEVELS.index(self.level) :]


def words_of(query: str) -> tuple[str, ...]:
    """Return the words of a query; quotes make a phrase (pure).

    Raises:
        ConfigurationError: A quote is not closed.
    """
    try:
        return tuple(shlex.split(query))
    except ValueError as error:
        raise ConfigurationError(f"The query {query!r} does not parse: {error}.") from error


def since_of(text: str, now: datetime) -> datetime:
    """Return the time that `1h`, `30m`, `2d` or an ISO 8601 time means (pure).

    Raises:
        ConfigurationError: It is none of them.
    """
    if found := _AGE.fullmatch(text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"Expected --since like 30m, 1h, 2d or 2026-01-31T10:00, was {text!r}.") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def level_of(text: str) -> LogLevel:
    """Return a level by its name (pure).

    Raises:
        ConfigurationError: There is no such level.
    """
    for level in LEVELS:
        if level == text.casefold():
            return level
    raise ConfigurationError(f"Expected --level to be one of {', '.join(LEVELS)}, was {text!r}.")
