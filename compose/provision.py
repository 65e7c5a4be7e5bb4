"""Prepare the services of docker compose: `python -m compose.provision [sinks | stores]`.

It runs at every start and calls the hooks of the service definitions, so the same code as in
`tickhouse up` makes topics, schemas, roles, migrations and Airflow's tables. Only the repository on
the real lakeFS is made here. Every hook is idempotent.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from common.errors import TickhouseError
from common.settings import Settings, load_settings
from stack.engine.context import ServiceContext, call_hook
from stack.engine.lifecycle import catalog
from stack.engine.model import STACK, Service


def main() -> int:
    """Run every hook and return the exit code."""
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
    """Run every hook of profile `core`, in order.

    Raises:
        TickhouseError: A hook failed; all hooks may be run again.
    """
    create_repository(settings)
    for name, hooks in core_hooks(known).items():
        prepare_folders(ServiceContext(known[name], settings))
        _run_hooks(ServiceContext(known[name], settings), hooks)


def run_sinks(settings: Settings, known: Mapping[str, Service]) -> None:
    """Prepare the stores of profile `sinks` and deploy their connectors.

    Raises:
        TickhouseError: A hook failed; all hooks may be run again.
    """
    from common.clients.connect import Worker
    from tickhouse.connectors.files import read
    from tickhouse.connectors.plan import apply

    for name, hooks in profile_hooks("sinks", known).items():
        _run_hooks(ServiceContext(known[name], settings), hooks)
    with Worker.of(settings) as worker:
        apply(worker, settings, read())


def run_stores(settings: Settings, known: Mapping[str, Service]) -> None:
    """Prepare the stores of profile `stores`.

    Raises:
        TickhouseError: A hook failed; all hooks may be run again.
    """
    for name, hooks in profile_hooks("stores", known).items():
        _run_hooks(ServiceContext(known[name], settings), hooks)


def _run_hooks(context: ServiceContext, hooks: tuple[str, ...]) -> None:
    for hook in hooks:
        sys.stderr.write(f"{context.service.name}: {hook}\n")
        call_hook(hook, context)


def core_hooks(known: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Return the hooks of profile `core` by service, without those for a server's own files."""
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


def profile_hooks(profile: str, known: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Return the hooks of the services of a profile, by service."""
    stores = [service for service in known.values() if profile in service.profiles]
    return {service.name: (*service.setup.after_ready, *service.setup.provision) for service in stores}


def create_repository(settings: Settings) -> None:
    """Create the lake's repository on the block store of lakeFS.

    Raises:
        StoreUnavailable: lakeFS does not respond.
        ConfigurationError: lakeFS refuses the keys.
    """
    from common.clients.lakefs import lake_errors, repository

    with lake_errors(settings):
        repository(settings).create(storage_namespace=storage_namespace(settings), exist_ok=True)


def storage_namespace(settings: Settings) -> str:
    """Return the storage namespace of the repository.

    It must match the block store of `prepare.py`.
    """
    if settings.lake_store == "minio":
        return f"s3://{settings.lake_bucket}/{settings.lake_repository}"
    return f"local://{settings.lake_repository}"


def prepare_folders(context: ServiceContext) -> None:
    """Make a service's folders in the home and render Airflow's file of logins, mode 0600."""
    for folder in (context.conf, context.data):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = context.service.files if context.service.name == "airflow" else ()
    for file in files:
        target = Path(context.render(file.target))
        target.touch(mode=0o600)
        target.write_text(context.render((STACK / context.service.name / file.template).read_text()))


if __name__ == "__main__":
    sys.exit(main())
