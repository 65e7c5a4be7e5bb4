"""Make the secrets that docker-compose.yml reads: `python3 compose/prepare.py`. Standard library only, any Python 3.9+.

`.tickhouse/secrets.env` is the file of the native stack, made by the same code and never made again. From it follow
the files under `.tickhouse/compose/`: each image gets its own secrets, under the names it knows, and no others.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import runpy
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
HOME = REPO / ".tickhouse"


def main() -> int:
    """Write every file and say where."""
    write_all(HOME)
    sys.stderr.write(f"Secrets are in {HOME}. Next: docker compose --profile core up -d --build\n")
    return 0


def write_all(home: Path) -> None:
    """Write `secrets.env` where it is missing, and the files of the images; all with mode 0600."""
    home.mkdir(mode=0o711, exist_ok=True)
    # By path: importing the package would need the Python environment that a machine with Docker does without.
    secrets = runpy.run_path(str(REPO / "stack" / "engine" / "secrets.py"))
    secrets["ensure_secrets"](home / "secrets.env")
    folder = home / "compose"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, values in image_secrets(secrets["read_secrets"](home / "secrets.env")).items():
        _write(folder / f"{name}.env", values)


def image_secrets(secrets: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return each image's environment, by file name (pure: the same secrets give the same files)."""
    registry = _derived(secrets, "registry")
    database = f"airflow:{secrets['POSTGRES_AIRFLOW_PASSWORD']}@postgres:21030/airflow"
    return {
        "postgres": {"POSTGRES_PASSWORD": secrets["POSTGRES_SUPERUSER_PASSWORD"], "REGISTRY_PASSWORD": registry},
        "registry": {"APICURIO_DATASOURCE_PASSWORD": registry},
        "redis": {"REDIS_PASSWORD": secrets["REDIS_PASSWORD"], "REDISCLI_AUTH": secrets["REDIS_PASSWORD"]},
        "lakefs": {
            "LAKEFS_INSTALLATION_ACCESS_KEY_ID": secrets["LAKEFS_ACCESS_KEY_ID"],
            "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": secrets["LAKEFS_SECRET_ACCESS_KEY"],
            "LAKEFS_AUTH_ENCRYPT_SECRET_KEY": _derived(secrets, "lakefs"),
        },
        "lake-gate": {name: secrets[name] for name in ("LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY")},
        "airflow": {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__CORE__FERNET_KEY": secrets["AIRFLOW_FERNET_KEY"],
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets["AIRFLOW_JWT_SECRET"],
        },
    }


def _derived(secrets: dict[str, str], purpose: str) -> str:
    # Secrets that only the composed stack has: derived, since Settings refuses keys it does not know in secrets.env.
    key = secrets["POSTGRES_SUPERUSER_PASSWORD"].encode()
    return hmac.new(key, f"compose {purpose}".encode(), hashlib.sha256).hexdigest()


def _write(path: Path, values: dict[str, str]) -> None:
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
