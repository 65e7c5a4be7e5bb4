"""Every error Tickhouse raises on purpose, in one tree.

    TickhouseError
    ├── TerminalError                 retrying cannot help: fix the cause, then run again
    │   ├── ConfigurationError        change a setting or an argument
    │   │   └── UnknownName           use one of the names in the message
    │   ├── PrerequisiteMissing       install what the message names
    │   ├── SchemaIncompatible        change the schema so that every earlier version still fits
    │   ├── RejectedRecord            fix the input: it became a dead letter with a `reason`
    │   ├── DagPaused                 unpause the DAG that the message names
    │   ├── LeaseHeld                 wait for the other driver or producer, or stop it
    │   ├── ReconcileFailed           a store is wrong: read the table above the error
    │   ├── AuditMissing              audit the branch, then merge it
    │   ├── AuditFailed               read the report, fix the cause, run again
    │   ├── BackupUnusable            use another backup: this one is unfinished or damaged
    │   └── DriftFound                apply the connector files, or commit what runs
    └── TransientError                nothing is lost: retry with backoff
        ├── BranchOvertaken           prepare the branch again on the newer main, then audit it
        ├── ServiceNotReady           start the service or wait for it
        ├── ExchangeUnavailable       the exchange refuses or limits us: wait `retry_after_s`
        └── StoreUnavailable          a store is down: start it; its query catches up

Each message says what happened, what is not affected, and which command to run next. Each class
names its page of the runbook; classes that the reader repairs in the same way share a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from common.runbook import page_path


class TickhouseError(Exception):
    """Base of every error in the tree above.

    Args:
        message: What happened, in one sentence.
        safe: What is not affected, in one sentence.
        next_command: The command that fixes it or explains more.
        page: Name of the page of the runbook, when it is another one than that of the class.

    Attributes:
        runbook_page: Name of the page about this class of errors.
    """

    exit_code = 1
    runbook_page: ClassVar[str] = "command-failed"

    def __init__(self, message: str, *, safe: str = "", next_command: str = "", page: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.safe = safe
        self.next_command = next_command
        self._page = page or self.runbook_page

    @property
    def runbook(self) -> str:
        """Return the path of the page of the runbook."""
        return page_path(self._page)

    def __str__(self) -> str:
        tail = f" Next: {self.next_command}" if self.next_command else ""
        safe = f" {self.safe}" if self.safe else ""
        return f"{self.message}{safe}{tail}"


class TerminalError(TickhouseError):
    """Base of the errors for which retrying cannot help."""


class ConfigurationError(TerminalError):
    """A setting or an argument is wrong."""

    exit_code = 2
    runbook_page = "configuration-error"


class UnknownName(ConfigurationError):
    """There is no market, symbol, reference or id of that name."""


class PrerequisiteMissing(TerminalError):
    """A program or library that Tickhouse does not install itself is missing."""

    exit_code = 3
    runbook_page = "prerequisite-missing"


class SchemaIncompatible(TerminalError):
    """A schema and an earlier version cannot read each other's data."""

    exit_code = 4
    runbook_page = "schema-incompatible"


class RejectedRecord(TerminalError):
    """One input record is wrong.

    Args:
        reason: A stable slug by which dead letters are grouped.
        detail: The expected and the actual value ("Expected X, was Y").
    """

    exit_code = 5
    runbook_page = "rejected-input"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class LeaseHeld(TerminalError):
    """Another driver holds the lease of the checkpoints, or another producer that of a market."""

    exit_code = 6
    runbook_page = "lease-held"


class ReconcileFailed(TerminalError):
    """A store does not hold exactly what the exchange offered."""

    exit_code = 7
    runbook_page = "reconcile-failed"


class AuditMissing(TerminalError):
    """No audit has passed for the commit that is to be merged into `main`."""

    exit_code = 8
    runbook_page = "audit-missing"


class AuditFailed(TerminalError):
    """A check of the audit failed.

    Args:
        message: What happened, in one sentence.
        broken: The broken laws, a line each.
        report: Address of the report.
        days: The first and the last audited day, as YYYY-MM-DD; empty for all days.
        safe: What is not affected, in one sentence.
        next_command: The command that explains more.
    """

    exit_code = 9
    runbook_page = "audit-failed"

    def __init__(
        self,
        message: str,
        *,
        broken: Sequence[str] = (),
        report: str = "",
        days: tuple[str, str] | tuple[()] = (),
        safe: str = "",
        next_command: str = "",
    ) -> None:
        super().__init__(message, safe=safe, next_command=next_command)
        self.broken = tuple(broken)
        self.report = report
        self.days = days


class DriftFound(TerminalError):
    """The running connectors differ from their files."""

    exit_code = 10
    runbook_page = "connector-drift"


class BackupUnusable(TerminalError):
    """A backup is unfinished, damaged, or of a newer version."""

    exit_code = 14
    runbook_page = "backup-unusable"


class DagPaused(TerminalError):
    """A DAG whose run is needed is paused in Airflow."""

    exit_code = 13
    runbook_page = "dag-paused"


class TransientError(TickhouseError):
    """Base of the errors after which the caller may retry with backoff; nothing is lost."""

    exit_code = 20
    runbook_page = "service-not-ready"


class ServiceNotReady(TransientError):
    """A service did not answer its readiness probe in time."""

    exit_code = 21


class ExchangeUnavailable(TransientError):
    """The exchange does not answer, limits us, or closed the connection.

    Args:
        message: What happened.
        retry_after_s: Seconds to wait before the next request, as the exchange requested.
        safe: As in `TickhouseError`, as the next.
        next_command: What to do.
    """

    exit_code = 22
    runbook_page = "exchange-disconnected"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 0.0,
        safe: str = "Gaps are filled once it answers again.",
        next_command: str = "",
    ) -> None:
        super().__init__(message, safe=safe, next_command=next_command)
        self.retry_after_s = retry_after_s


class StoreUnavailable(TransientError):
    """A store is down; only its own query waits, and it catches up later."""

    exit_code = 23
    runbook_page = "store-down"


class BranchOvertaken(TransientError):
    """The lake's `main` got a new commit while a branch was prepared."""

    exit_code = 24
    runbook_page = "audit-missing"
