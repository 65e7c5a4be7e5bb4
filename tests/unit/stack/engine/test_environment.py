"""Services inherit UTF-8, whatever the locale of the shell is."""

from __future__ import annotations

import os
import subprocess

import pytest

from stack.engine.context import inherited_environment


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1", ""])
def test_services_write_letters_of_every_script(monkeypatch: pytest.MonkeyPatch, locale: str) -> None:
    monkeypatch.setenv("LC_ALL", locale)

    found = inherited_environment()

    assert (found["LC_ALL"], found["LANG"], found["PYTHONUTF8"]) == ("C.UTF-8", "C.UTF-8", "1")


def test_java_uses_that_locale() -> None:
    """Java 17 takes its default charset from the locale."""
    command = ["java", "-XshowSettings:properties", "-version"]
    done = subprocess.run(
        command, env={**os.environ, **inherited_environment()}, capture_output=True, text=True, check=True
    )

    assert "file.encoding = UTF-8" in done.stderr
    assert "sun.jnu.encoding = UTF-8" in done.stderr
