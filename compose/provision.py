"""Prepare the composed services, at every start: `python -m compose.provision [sinks | stores]`. Idempotent.

The steps are those of the service definitions, so topics, schemas, roles, migrations and Airflow's tables are made by
the code that `tickhouse up` runs. Only what natively is not needed is here: the lake's repository on the real lakeFS.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from stack.engine.context import ServiceContext, call
from stack.engine.lifecycle import STACK, catalog
from stack.engine.model import Service
from tickhouse.errors import TickhouseError
from tickhouse.settings import Settings, load_settings


def main() -> int:
    """Run every step and return the exit code."""
    try:
        if "sinks" in sys.argv[1:]:
            run_sinks(load_settings(), catalog())
        elif "stores" in sys.argv[1:]:
            run_stores(load_settings(), catalog())
        else:
            run(load_settings(), catalog())
    except TickhouseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def run(settings: Settings, known: Mapping[str, Service]) -> None:
    """Run every step, in order.

    Raises:
        TickhouseError: A step failed; every step may be run again.
    """
    create_repository(settings)
    for name, steps in steps_of(known).items():
        prepare_folders(ServiceContext(known[name], settings))
        _run_steps(ServiceContext(known[name], settings), steps)


def run_sinks(settings: Settings, known: Mapping[str, Service]) -> None:
    """Prepare the stores of profile `sinks` and deploy their connectors.

    Raises:
        TickhouseError: A step failed; every step may be run again.
    """
    from tickhouse.connectors.files import read
    from tickhouse.connectors.plan import apply
    from tickhouse.connectors.worker import Worker

    for name, steps in steps_in("sinks", known).items():
        _run_steps(ServiceContext(known[name], settings), steps)
    with Worker(settings.connect_url) as worker:
        apply(worker, settings, read())


def run_stores(settings: Settings, known: Mapping[str, Service]) -> None:
    """Prepare the stores of profile `stores`.

    Raises:
        TickhouseError: A step failed; every step may be run again.
    """
    for name, steps in steps_in("stores", known).items():
        _run_steps(ServiceContext(known[name], settings), steps)


def _run_steps(context: ServiceContext, steps: tuple[str, ...]) -> None:
    for step in steps:
        sys.stderr.write(f"{context.service.name}: {step}\n")
        call(step, context)


def steps_of(known: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Return the steps by service: those that concern what a server holds, not the server's own files (pure)."""
    postgres = known["postgres"].setup
    return {
        "postgres": (*postgres.after_ready, *postgres.provision),
        "kafka": known["kafka"].setup.provision,
        "registry": known["registry"].setup.provision,
        "lakefs": known["lakefs"].setup.provision,
        "lake_gate": known["lake_gate"].setup.provision,
        "airflow": known["airflow"].setup.before_start,
        "data_docs": known["data_docs"].setup.before_start,
    }


def steps_in(profile: str, known: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Return the steps of the stores of a profile, by service (pure)."""
    stores = [service for service in known.values() if profile in service.profiles]
    return {service.name: (*service.setup.after_ready, *service.setup.provision) for service in stores}


def create_repository(settings: Settings) -> None:
    """Make the lake's repository on the block store of lakeFS.

    Raises:
        StoreUnavailable: lakeFS does not answer.
        ConfigurationError: lakeFS refuses the keys.
    """
    from tickhouse.lake.client import lake_errors, repository

    with lake_errors(settings):
        repository(settings).create(storage_namespace=storage_namespace(settings), exist_ok=True)


def storage_namespace(settings: Settings) -> str:
    """Return where lakeFS keeps the repository's blocks: what compose/prepare.py told it, for the same LAKE_STORE."""
    if settings.lake_store == "minio":
        return f"s3://{settings.lake_bucket}/{settings.lake_repository}"
    return f"local://{settings.lake_repository}"


def prepare_folders(context: ServiceContext) -> None:
    """Make a service's folders in the home and render its files (Airflow's logins), mode 0600."""
    for folder in (context.conf, context.data):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = context.service.files if context.service.name == "airflow" else ()
    for file in files:
        target = Path(context.render(file.target))
        target.touch(mode=0o600)
        target.write_text(context.render((STACK / context.service.name / file.template).read_text()))


if __name__ == "__main__":
    sys.exit(main())
