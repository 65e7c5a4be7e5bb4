"""The lease of a market: one producer, also while others try, and free after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import LeaseHeld
from producer.market_lease import holder, lease_file, market_lease

HOLDER = """
import pathlib, signal, sys
from producer.market_lease import market_lease
with market_lease(pathlib.Path(sys.argv[1]), "spot"):
    print("held", flush=True); signal.pause()
"""


def test_a_second_producer_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            with pytest.raises(LeaseHeld) as refused, market_lease(tmp_path, "spot"):
                pass
            assert holder(tmp_path, "spot") == process.pid
            assert f"market spot runs already: process {process.pid}" in refused.value.message
            assert refused.value.exit_code == 6
            with market_lease(tmp_path, "usdm"):  # another market has a lease of its own
                pass
        finally:
            process.kill()
    assert holder(tmp_path, "spot") is None
    with market_lease(tmp_path, "spot"):
        pass


def test_nobody_holds_what_was_never_taken(tmp_path: Path) -> None:
    assert holder(tmp_path, "spot") is None
    assert not lease_file(tmp_path, "spot").exists()
