from __future__ import annotations

import base64
from pathlib import Path

from common.settings import Settings
from stack.engine.secrets import GENERATORS, ensure_secrets, read_secrets


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"

    ensure_secrets(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secrets.env"]


def test_a_mode_that_was_loosened_is_tightened(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    ensure_secrets(path)
    path.chmod(0o644)

    ensure_secrets(path)

    assert path.stat().st_mode & 0o777 == 0o600


def test_existing_secrets_are_not_generated_again(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    assert ensure_secrets(path) == list(GENERATORS)
    before = path.read_bytes()

    assert ensure_secrets(path) == []
    assert path.read_bytes() == before


def test_missing_secrets_are_added_and_existing_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    path.write_text("# mine\nREDIS_PASSWORD=chosen=by-hand\n")

    added = ensure_secrets(path)

    assert "REDIS_PASSWORD" not in added
    assert read_secrets(path)["REDIS_PASSWORD"] == "chosen=by-hand"
    assert set(read_secrets(path)) == set(GENERATORS)


def test_every_name_is_a_setting_and_every_value_has_its_form(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    ensure_secrets(path)
    values = read_secrets(path)

    assert {name.lower() for name in values} <= set(Settings.model_fields)
    assert values["LAKEFS_ACCESS_KEY_ID"].startswith("AKIA")
    assert len(values["LAKEFS_ACCESS_KEY_ID"]) == 20
    assert len(base64.urlsafe_b64decode(values["AIRFLOW_FERNET_KEY"])) == 32
    assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
    assert len(set(values.values())) == len(values)


def test_the_settings_load_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    ensure_secrets(path)

    settings = Settings(_env_file=path)

    assert settings.redis_password.get_secret_value() == read_secrets(path)["REDIS_PASSWORD"]
    assert settings.origin("redis_password") == "secrets file"
