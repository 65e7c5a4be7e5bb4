"""The context of a service: everything its templates, hooks and probes may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import yaml

from common.errors import ConfigurationError
from common.settings import REPO, Settings, cache_dir, home, is_light, ports
from stack.engine.fetch import java_program
from stack.engine.model import Service

# What a service inherits from the shell. Everything else comes from its definition, so that a start
# does not depend on the user's shell. Spark and Maven inside tasks need the certificates and
# proxies.
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

# An environment variable of every process that we start; their children inherit it.
MARKER = "TICKHOUSE_SUPERVISED_BY"


@dataclass(frozen=True)
class ServiceContext:
    """One service with its folders, addresses and credentials."""

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
        """Return the folder of the data that must survive a restart."""
        return home() / "data" / self.service.name

    @cached_property
    def names(self) -> dict[str, Any]:
        """Return the names that a template may use."""
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
            "sized": _sized,
            "retention": declared_retention(),
            "read_yaml": _read_yaml,
            "home_text": self._home_text,
        }

    def _home_text(self, path: str) -> str:
        """Return the text of a file in the home."""
        try:
            return (self.home / path).read_text()
        except FileNotFoundError:
            return ""

    def _secret(self, name: str) -> str:
        return str(getattr(self.settings, name).get_secret_value())

    def render(self, text: str) -> str:
        """Render the text of one template.

        Raises:
            ConfigurationError: The template uses a name that does not exist.
        """
        try:
            return _ENVIRONMENT.from_string(text).render(self.names)
        except jinja2.TemplateError as error:
            raise ConfigurationError(f"Template of {self.service.name} does not render: {error}.") from error

    def env(self, own: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a program: inherited, the service's, the program's `own`."""
        rendered = {name: self.render(value) for name, value in {**self.service.env, **(own or {})}.items()}
        return inherited_environment() | self.declared_addresses() | rendered | {MARKER: str(self.home)}

    @staticmethod
    def declared_addresses() -> dict[str, str]:
        """Return the settings of the shell, so that services use the same addresses as the CLI."""
        names = (name.upper() for name in Settings.model_fields)
        return {name: os.environ[name] for name in names if name in os.environ}

    def argv(self, command: tuple[str, ...]) -> list[str]:
        """Return the rendered argument list without arguments that render to nothing."""
        return [*self.prefix, *(item for item in map(self.render, command) if item)]


@cache
def declared_retention() -> dict[str, Any]:
    """Return the content of `stack/retention.yaml`, for servers that remove old data themselves."""
    document: dict[str, Any] = yaml.safe_load((REPO / "stack" / "retention.yaml").read_text())
    return document


def _read_yaml(path: str) -> Any:
    """Return the content of a YAML file of the repository."""
    return yaml.safe_load((REPO / path).read_text())


def _sized(normal: str, light: str) -> str:
    """Return one of two values by the size of the installation (`TICKHOUSE_SIZE`)."""
    return light if is_light() else normal


def logs_dir() -> Path:
    """Return the folder of all logs."""
    return home() / "logs"


def inherited_environment() -> dict[str, str]:
    """Return the part of the shell's environment that services inherit."""
    chosen = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.upper().startswith(_INHERITED_PREFIXES)
    }
    # The programs of our virtual environment (airflow, spark-submit) come first, whether or not the
    # shell activated it.
    path = f"{Path(sys.prefix) / 'bin'}:{chosen.get('PATH', os.defpath)}"
    # Symbols may contain letters of any script. With LC_ALL=C, Java 17 would write each as a
    # question mark.
    utf8 = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    return {**chosen, **utf8, "PATH": path, "TICKHOUSE_HOME": str(home()), "TZ": "UTC"}


def call_hook(location: str, context: ServiceContext) -> object:
    """Call a hook given as `module:function` and return its result.

    Raises:
        ConfigurationError: There is no such function.
    """
    module, _, function = location.partition(":")
    try:
        hook = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{context.service.name}: no hook {location!r}: {error}.") from error
    result: object = hook(context)
    return result


def _jvm() -> str:
    return str(java_program())


def _java_home() -> str:
    return str(java_program().resolve().parent.parent)


_ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - configuration files, not HTML
    keep_trailing_newline=True,
)
