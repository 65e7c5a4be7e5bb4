"""What a service's templates, hooks and probes may know."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2

from stack.engine.fetch import java
from stack.engine.model import Service
from tickhouse.errors import ConfigurationError
from tickhouse.settings import REPO, Settings, cache_dir, home, ports

# What a service inherits from the shell; everything else it gets from its definition, so that a start does not
# depend on who starts it. Certificates and proxies: Spark and Maven inside tasks need them.
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "USER",
    "JAVA_HOME",
    "JDK_JAVA_OPTIONS",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
)
_INHERITED_PREFIXES = ("TICKHOUSE_", "SSL_CERT_", "REQUESTS_CA_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

# Present in the environment of every process we start, and inherited by what those start in turn.
MARKER = "TICKHOUSE_SUPERVISED_BY"


@dataclass(frozen=True)
class ServiceContext:
    """One service with its places, addresses and credentials."""

    service: Service
    settings: Settings
    fetched: Mapping[str, Path] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """Return the home of this stack."""
        return home()

    @property
    def conf(self) -> Path:
        """Return the folder of rendered configuration."""
        return home() / "conf" / self.service.name

    @property
    def data(self) -> Path:
        """Return the folder of what must outlive a restart."""
        return home() / "data" / self.service.name

    @cached_property
    def names(self) -> dict[str, Any]:
        """Return what a template may use."""
        return {
            "home": self.home,
            "repo": REPO,
            "cache": cache_dir(),
            "conf": self.conf,
            "data": self.data,
            "logs": logs_dir(),
            "python": sys.executable,
            "venv": Path(sys.prefix) / "bin",
            "port": ports(),
            "fetched": self.fetched,
            "settings": self.settings,
            "secret": self._secret,
            "jvm": _jvm,
            "java_home": _java_home,
            "database_address": urlsplit(self.settings.database_url.get_secret_value()).netloc.rpartition("@")[2],
            "env": os.environ.get,
        }

    def _secret(self, name: str) -> str:
        return str(getattr(self.settings, name).get_secret_value())

    def render(self, text: str) -> str:
        """Render one template text.

        Raises:
            ConfigurationError: It uses a name that does not exist.
        """
        try:
            return _ENVIRONMENT.from_string(text).render(self.names)
        except jinja2.TemplateError as error:
            raise ConfigurationError(f"Template of {self.service.name} does not render: {error}.") from error

    def env(self, own: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment of one program: inherited, the service's, then the program's `own`."""
        rendered = {name: self.render(value) for name, value in {**self.service.env, **(own or {})}.items()}
        return inherited() | self.declared_addresses() | rendered | {MARKER: str(self.home)}

    @staticmethod
    def declared_addresses() -> dict[str, str]:
        """Return the settings that the shell gives: a supervised process must see the same addresses as the CLI."""
        names = (name.upper() for name in Settings.model_fields)
        return {name: os.environ[name] for name in names if name in os.environ}

    def argv(self, command: tuple[str, ...]) -> list[str]:
        """Return a rendered argument list; an argument that renders to nothing is left out."""
        return [*self.prefix, *(item for item in map(self.render, command) if item)]


def logs_dir() -> Path:
    """Return the folder of all logs."""
    return home() / "logs"


def inherited() -> dict[str, str]:
    """Return the part of the shell's environment that services inherit."""
    chosen = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.upper().startswith(_INHERITED_PREFIXES)
    }
    # Our own programs first (airflow, spark-submit), whether or not the shell activated the environment.
    path = f"{Path(sys.prefix) / 'bin'}:{chosen.get('PATH', os.defpath)}"
    return {"LANG": "C.UTF-8", **chosen, "PATH": path, "TICKHOUSE_HOME": str(home()), "TZ": "UTC"}


def call(location: str, context: ServiceContext) -> object:
    """Call a hook given as `module:function` and return what it returns.

    Raises:
        ConfigurationError: There is no such function.
    """
    module, _, function = location.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{context.service.name}: no step {location!r}: {error}.") from error
    result: object = found(context)
    return result


def _jvm() -> str:
    return str(java())


def _java_home() -> str:
    return str(java().resolve().parent.parent)


_ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - configuration files, not HTML
    keep_trailing_newline=True,
)
