"""Entries of Geode's regions, over the developer REST API (docs/reference/geode.md).

A value is a JSON object. Two writers of one entry use `compare_and_set`: it replaces the value only
while the entry still holds the value that the writer has read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings

STATISTICS, MINUTES = "statistics_24h", "statistics_minutes"
RULES, STATES = "alert_rules", "alert_states"
# The regions of stack/geode/cache.xml.
REGIONS = (STATISTICS, MINUTES, RULES, STATES)

ROOT = "/geode/v1"
ANSWER_S = 30.0
# Keys are in the address, and the official image refuses a request line of more than 8,192 bytes.
MOST_KEY_BYTES = 6_000
# The API decodes a key twice and separates keys by commas, so these would change a key's meaning.
_REFUSED_IN_KEYS = frozenset("%+,/\\")

Value = dict[str, Any]


class Geode:
    """The entries that one user may read or write.

    Args:
        url: Address of the REST API.
        login: User and password.
        transport: Replaces the network in tests.
    """

    def __init__(self, url: str, login: tuple[str, str], *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=url, auth=login, timeout=ANSWER_S, transport=transport, trust_env=False)

    @classmethod
    def of(cls, settings: Settings, role: str) -> Geode:
        """Return a client as one of `common.settings.GEODE_ROLES`."""
        address, user, password = settings.geode_login(role)
        return cls(address, (user, password))

    def __enter__(self) -> Geode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, region: str, key: str) -> Value | None:
        """Return one value, None when there is no such entry.

        Raises:
            ConfigurationError: The user may not read the region, or there is no such region.
            StoreUnavailable: Geode does not answer, or refuses the login.
        """
        return self.get_all(region, [key]).get(key)

    def get_all(self, region: str, keys: Sequence[str]) -> dict[str, Value]:
        """Return the values of those keys that have one. It raises what `get` raises."""
        found: dict[str, Value] = {}
        for part in _parts(keys):
            # One key more, so that a single key is not answered in another form than several.
            address = f"{part.address},{_quoted(part.keys[0])}"
            values = self._call("GET", f"{region}?keys={address}&ignoreMissingKey=true").json()[region]
            found |= {key: value for key, value in zip(part.keys, values[:-1], strict=True) if value is not None}
        return found

    def keys(self, region: str) -> list[str]:
        """Return all keys of a region, sorted. It raises what `get` raises."""
        return sorted(self._call("GET", f"{region}/keys").json()["keys"])

    def values(self, region: str) -> list[Value]:
        """Return all values of a region. It raises what `get` raises."""
        found: list[Value] = self._call("GET", f"{region}?limit=ALL").json()[region]
        return found

    def count(self, region: str) -> int:
        """Return the number of entries of a region. It raises what `get` raises."""
        return int(self._call("HEAD", region).headers["Resource-Count"])

    def query(self, statement: str) -> list[Any]:
        """Return the rows of an OQL statement.

        Raises:
            ConfigurationError: The statement is wrong, or the user may not read every region.
            StoreUnavailable: Geode does not answer, or refuses the login.
        """
        rows: list[Any] = self._call("GET", f"queries/adhoc?q={quote(statement, safe='')}").json()
        return rows

    def put(self, region: str, key: str, value: Value) -> None:
        """Set one value. It raises what `put_all` raises."""
        self.put_all(region, {key: value})

    def put_all(self, region: str, entries: Mapping[str, Value]) -> None:
        """Set the values of several keys.

        Raises:
            ConfigurationError: The user may not write the region, there is no such region, or a key
                has a character that the API does not carry.
            StoreUnavailable: Geode does not answer; some of the entries may be set.
        """
        for part in _parts(list(entries)):
            body: Any = [entries[key] for key in part.keys]
            self._call("PUT", f"{region}?keys={part.address}", body if len(body) > 1 else body[0])

    def compare_and_set(self, region: str, key: str, before: Value | None, after: Value) -> bool:
        """Set a value if the entry still has the value `before`; return whether it was set.

        Args:
            region: The region.
            key: The key.
            before: The value that the caller has read; None for no entry.
            after: The new value.

        Raises:
            ConfigurationError: As for `put_all`.
            StoreUnavailable: Geode does not answer; the value may be set.
        """
        operation = "CREATE" if before is None else "CAS"
        body = after if before is None else {"@old": before, "@new": after}
        path = f"{region}?keys={_quoted(key)}&op={operation}"
        return self._call("PUT", path, body, also=(HTTPStatus.NOT_FOUND,)).is_success

    def delete(self, region: str, keys: Collection[str]) -> None:
        """Delete entries; a missing one is ignored. It raises what `put_all` raises."""
        for part in _parts(sorted(keys)):
            answer = self._call("DELETE", f"{region}/{part.address}", also=(HTTPStatus.NOT_FOUND,))
            if answer.is_success or len(part.keys) == 1:
                continue
            # The API deletes nothing when one of the keys is missing.
            self.delete(region, self.get_all(region, part.keys).keys())

    def _call(self, method: str, path: str, body: Any = None, *, also: tuple[HTTPStatus, ...] = ()) -> httpx.Response:
        """Send a request; return the answer if it is a success, a conflict, or one of `also`."""
        try:
            answer = self._http.request(method, f"{ROOT}/{path}", json=body)
        except httpx.HTTPError as error:
            raise _unavailable(str(error) or type(error).__name__) from error
        if answer.status_code == HTTPStatus.UNAUTHORIZED or answer.is_server_error:
            raise _unavailable(f"{answer.status_code} {_cause(answer)}")
        if answer.is_success or answer.status_code in (HTTPStatus.CONFLICT, *also):
            return answer
        raise ConfigurationError(f"Geode refuses {method} {path[:100]}: {answer.status_code} {_cause(answer)}")


@contextmanager
def connected(settings: Settings, role: str) -> Iterator[Geode]:
    """Open a client as one of `common.settings.GEODE_ROLES`, and close it."""
    with Geode.of(settings, role) as client:
        yield client


class _Part(NamedTuple):
    """Keys, and the same keys as a part of an address."""

    keys: list[str]
    address: str


def _parts(keys: Sequence[str]) -> Iterator[_Part]:
    """Yield keys in parts whose length in an address is limited."""
    part: list[str] = []
    quoted: list[str] = []
    size = 0
    for key in keys:
        text = _quoted(key)
        # The first key may follow once more.
        if part and size + len(quoted[0]) + len(text) + 2 > MOST_KEY_BYTES:
            yield _Part(part, ",".join(quoted))
            part, quoted, size = [], [], 0
        part.append(key)
        quoted.append(text)
        size += len(text) + 1
    if part:
        yield _Part(part, ",".join(quoted))


def _quoted(key: str) -> str:
    if not key or not _REFUSED_IN_KEYS.isdisjoint(key):
        raise ConfigurationError(f"Expected a key without any of %+,/\\ was {key!r}.")
    return quote(key, safe="")


def _unavailable(cause: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"Geode does not answer: {cause}", safe="Its query catches up later.", next_command="tickhouse logs geode"
    )


def _cause(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["cause"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
