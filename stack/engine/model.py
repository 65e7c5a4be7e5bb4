"""The typed form of a service definition, `stack/<service>/service.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import ConfigurationError
from common.settings import REPO

# Holds one folder per service.
STACK = REPO / "stack"

# Ten times the start of the slowest server on an idle machine with two cores.
READY_TIMEOUT_S = 300.0


class _DefinitionPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fetch(_DefinitionPart):
    """What must be in the cache before the service starts.

    Each field maps a name to a source; templates use the fetched path as `fetched.<name>`.

    Args:
        poms: A pom (repository path); its jars are in one folder.
        archives: Maven coordinates of a tar.gz or zip, which is unpacked.
        wheels: `module:path/inside` of an installed wheel.
        built: `module:function`; it takes the progress callback, fills the cache where something is
            missing, and returns the path.
        go: A Go module `path@version`, built at the first start of the service and not by
            `make setup`.
        debian: A file of pinned Debian packages (repository path), unpacked at the first start of
            the service and not by `make setup`.
        source: A folder of the repository that `stack.engine.source_build` builds; `make setup`
            starts the build in the background.
    """

    poms: dict[str, str] = {}
    archives: dict[str, str] = {}
    wheels: dict[str, str] = {}
    built: dict[str, str] = {}
    go: dict[str, str] = {}
    debian: dict[str, str] = {}
    source: dict[str, str] = {}


class ConfigFile(_DefinitionPart):
    """One Jinja2 template and its target path.

    Written with mode 0600, because it may hold a password.
    """

    template: str
    target: str


class Ready(_DefinitionPart):
    """The readiness probe; exactly one of `tcp`, `http`, `command` and `call` is given.

    Args:
        tcp: `host:port` that accepts connections.
        http: A URL that responds with one of `status`.
        status: The HTTP status codes that count as ready.
        command: A command that exits with 0.
        call: `module:function` that takes the service context and returns true.
        timeout_s: How long a start may take.
    """

    tcp: str | None = None
    http: str | None = None
    status: tuple[int, ...] = (200, 204)
    command: tuple[str, ...] | None = None
    call: str | None = None
    timeout_s: float = READY_TIMEOUT_S

    @model_validator(mode="after")
    def _one_kind(self) -> Ready:
        given = [kind for kind in (self.tcp, self.http, self.command, self.call) if kind is not None]
        if len(given) != 1:
            raise ValueError(f"Expected exactly one of tcp, http, command, call, was {len(given)}")
        return self


class Stop(_DefinitionPart):
    """The signal that stops the service, and the seconds until SIGKILL.

    `first` names programs that stop before the others, because they need the others to end cleanly.
    """

    signal: Literal["TERM", "INT", "QUIT"] = "TERM"
    wait_s: int = Field(default=30, ge=1)
    first: tuple[str, ...] = ()


class Setup(_DefinitionPart):
    """Idempotent `module:function` hooks, each taking the service context.

    `before_start` and `after_ready` run only for a service that we start; `provision` runs for an
    external one as well.
    """

    before_start: tuple[str, ...] = ()
    after_ready: tuple[str, ...] = ()
    provision: tuple[str, ...] = ()


class ProgramDefinition(_DefinitionPart):
    """One supervised process: argument list and additional environment, both Jinja2 templates."""

    command: tuple[str, ...]
    env: dict[str, str] = {}


class Service(_DefinitionPart):
    """One service: how it is fetched, configured, started, probed and stopped.

    Args:
        depends_on: Services that start before and stop after this one.
        stops_before: Services that this one uses but does not need to start; they stop after it.
        depends_when: Setting to value to the services that are needed with that value only.
        home_file: A file in the home. The service is wanted while there is one: then each `up` of a
            profile with the core starts it, and otherwise no profile has it.
        external_setting: A settings field. When it is set from outside, the service is only probed.
        is_unprivileged: The server refuses to run as root.
    """

    name: str
    title: str
    profiles: tuple[str, ...]
    depends_on: tuple[str, ...] = ()
    stops_before: tuple[str, ...] = ()
    depends_when: dict[str, dict[str, tuple[str, ...]]] = {}
    home_file: str = ""
    external_setting: str | None = None
    fetch: Fetch = Fetch()
    files: tuple[ConfigFile, ...] = ()
    command: tuple[str, ...] | None = None
    programs: dict[str, ProgramDefinition] = {}
    env: dict[str, str] = {}
    ports: tuple[str, ...] = ()
    ready: Ready
    stop: Stop = Stop()
    setup: Setup = Setup()
    start_retries: int = Field(default=2, ge=0)
    memory_mb: int
    is_unprivileged: bool = False

    @model_validator(mode="after")
    def _command_or_programs(self) -> Service:
        if (self.command is None) == (not self.programs):
            raise ValueError("Expected either command or programs")
        return self

    def needed(self, settings: object) -> tuple[str, ...]:
        """Return the services that this one needs with these settings."""
        chosen = [by.get(str(getattr(settings, name)), ()) for name, by in self.depends_when.items()]
        return (*self.depends_on, *(service for services in chosen for service in services))

    def all_programs(self) -> dict[str, ProgramDefinition]:
        """Return program by name; a service with one `command` has one program of its own name."""
        if self.command is not None:
            return {self.name: ProgramDefinition(command=self.command)}
        return self.programs


def read_service(path: Path) -> Service:
    """Read one `service.yaml`.

    Raises:
        ConfigurationError: It does not fit the model; the message names file and field.
    """
    try:
        service = Service.model_validate(yaml.safe_load(path.read_text()))
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} is not a service definition: {error}") from error
    if service.name != path.parent.name:
        raise ConfigurationError(f"{path}: expected the name of its folder, was {service.name!r}.")
    return service


def read_catalog(folder: Path) -> dict[str, Service]:
    """Read every `<folder>/<service>/service.yaml`, by name."""
    services = [read_service(path) for path in sorted(folder.glob("*/service.yaml"))]
    return {service.name: service for service in services}
