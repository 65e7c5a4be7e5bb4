"""Progress that is not shown on a terminal: each phase, and of a long phase a line now and then."""

from __future__ import annotations

import pytest

from tickhouse.cli import output


def test_a_long_phase_says_now_and_then_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: clock[0])
    with output.Progress() as report:
        report("minio", "fetching")
        for package in range(60):
            clock[0] += 1
            report("minio", "fetching", f"{package} packages")
        report("minio", "starting")
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "minio: fetching", "minio: fetching 15 packages", "minio: fetching 31 packages",
        "minio: fetching 47 packages", "minio: starting",
    ]  # fmt: skip
