"""A secret in a log is seen when a test's home is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.engine.home_folder import HOME_MARK
from stack.engine.secrets import ensure_secrets, read_secrets
from tests.homes import own_home
from tests.leaks import leaks


def test_a_password_in_a_log_fails_the_session() -> None:
    with pytest.raises(AssertionError, match=r"logs/kafka.log has REDIS_PASSWORD"):
        run_session()


def run_session() -> None:
    with own_home() as home:
        (home / HOME_MARK).touch()
        ensure_secrets(home / "secrets.env")
        (home / "logs").mkdir()
        (home / "logs" / "kafka.log").write_text(f"started with {read_secrets(home / 'secrets.env')['REDIS_PASSWORD']}")


@pytest.mark.parametrize(("mode", "is_seen"), [(0o644, True), (0o600, False)])
def test_a_rendered_template_is_for_its_owner(tmp_path: Path, mode: int, is_seen: bool) -> None:
    tmp_path.chmod(0o755)
    ensure_secrets(tmp_path / "secrets.env")
    (tmp_path / "conf").mkdir(mode=0o755)
    file = tmp_path / "conf" / "redis.conf"
    file.write_text(read_secrets(tmp_path / "secrets.env")["REDIS_PASSWORD"])
    file.chmod(mode)

    assert bool(leaks(tmp_path)) == is_seen
