"""What a service is: the typed form of `stack/<service>/service.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tickhouse.errors import ConfigurationError

READY_TIMEOUT_S = 180.0


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fetch(_Strict):
    """What must be in the cache before the service starts; each value is usable in templates as `fetched.<name>`.

    `poms`: name to pom (repository path), resolved to one folder of jars. `archives`: name to Maven coordinates
    of a tar.gz, unpacked. `wheels`: name to `module:path/inside` of an installed wheel. `built`: name to
    `module:function`, which takes the progress callback, makes what is missing in the cache and returns its path.
    `go`: name to Go module `path@version`, built at the first start of the service (`make setup` leaves it).
    """

    poms: dict[str, str] = {}
    archives: dict[str, str] = {}
    wheels: dict[str, str] = {}
    built: dict[str, str] = {}
    go: dict[str, str] = {}


class ConfigFile(_Strict):
    """One Jinja2 template and where it is written, mode 0600: it may hold a password."""

    template: str
    target: str


class Ready(_Strict):
    """How readiness is seen; exactly one of the four is given.

    `tcp`: a port opens. `http`: a URL answers with one of `status`. `command`: exits with 0.
    `call`: `module:function` taking the service context returns true.
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


class Stop(_Strict):
    """The signal that stops the service and the seconds it gets before KILL.

    `first` names the programs that stop before the others: to end well they need them.
    """

    signal: Literal["TERM", "INT", "QUIT"] = "TERM"
    wait_s: int = Field(default=30, ge=1)
    first: tuple[str, ...] = ()


class Setup(_Strict):
    """Idempotent `module:function` steps, each taking the service context.

    `before_start` and `after_ready` run only for a service that we start; `provision` also for an external one.
    """

    before_start: tuple[str, ...] = ()
    after_ready: tuple[str, ...] = ()
    provision: tuple[str, ...] = ()


class Program(_Strict):
    """One supervised process: argument list and additional environment, both Jinja2 templates."""

    command: tuple[str, ...]
    env: dict[str, str] = {}


class Service(_Strict):
    """One service: how it is fetched, configured, started, probed and stopped.

    `depends_on` orders start and stop. `stops_before` orders only the stop: services that its work uses, though it
    starts without them. `depends_when`: setting to value to the services needed with that value only.
    `external_setting` names the settings field that, when given from outside, means that the service is probed and
    not started.
    """

    name: str
    title: str
    profiles: tuple[str, ...]
    depends_on: tuple[str, ...] = ()
    stops_before: tuple[str, ...] = ()
    depends_when: dict[str, dict[str, tuple[str, ...]]] = {}
    external_setting: str | None = None
    fetch: Fetch = Fetch()
    files: tuple[ConfigFile, ...] = ()
    command: tuple[str, ...] | None = None
    programs: dict[str, Program] = {}
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

    def all_programs(self) -> dict[str, Program]:
        """Return program by name; a service with one `command` has one program of its own name."""
        if self.command is not None:
            return {self.name: Program(command=self.command)}
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
