"""The service definitions: a rename or a changed flag shows in the diff of the snapshot."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import ConfigurationError
from common.settings import PORTS_FILE, REPO, Settings, ports
from stack.engine import context as contexts
from stack.engine.context import ServiceContext
from stack.engine.lifecycle import catalog
from stack.engine.model import STACK, Fetch, Service, read_service
from stack.engine.secrets import GENERATORS

SNAPSHOT = Path(__file__).parent / "snapshots" / "services.json"

# TICKHOUSE_UPDATE_SNAPSHOTS=1 pytest tests/unit/stack/engine rewrites the snapshot. Read its diff
# before you commit it.
IS_UPDATE = os.environ.get("TICKHOUSE_UPDATE_SNAPSHOTS") == "1"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in (*(field.upper() for field in Settings.model_fields), "TICKHOUSE_PORT_BASE", "SPARK_MASTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TICKHOUSE_HOME", "/home-of-the-stack")
    monkeypatch.setattr(contexts, "_jvm", lambda: "java")
    ports.cache_clear()
    yield Settings(**{name.lower(): f"<{name.lower()}>" for name in GENERATORS})
    ports.cache_clear()


def rendered(service: Service, settings: Settings) -> dict[str, Any]:
    fetch: Fetch = service.fetch
    names = [name for kind in type(fetch).model_fields for name in getattr(fetch, kind)]
    context = ServiceContext(service, settings, {name: Path(f"/fetched/{name}") for name in names})
    programs = {
        name: {
            "argv": context.argv(program.command),
            "env": {key: context.env(program.env)[key] for key in sorted({**service.env, **program.env})},
        }
        for name, program in service.all_programs().items()
    }
    files = {
        context.render(file.target): context.render((STACK / service.name / file.template).read_text())
        for file in service.files
    }
    definition = service.model_dump(mode="json", exclude={"command", "programs", "env", "files"})
    return {"definition": definition, "programs": programs, "files": files}


def test_services_are_as_in_the_snapshot(settings: Settings) -> None:
    document = {name: rendered(service, settings) for name, service in catalog().items()}
    text = json.dumps(document, indent=1, sort_keys=True)
    for place, name in ((str(Path(sys.prefix) / "bin"), "<venv>"), (sys.executable, "<python>"), (str(REPO), "<repo>")):
        text = text.replace(place, name)
    if IS_UPDATE:
        SNAPSHOT.write_text(text + "\n")

    assert json.loads(text) == json.loads(SNAPSHOT.read_text())


def test_secrets_are_on_no_command_line(settings: Settings) -> None:
    for service in catalog().values():
        for program in rendered(service, settings)["programs"].values():
            assert not [item for item in program["argv"] if "password>" in item or "secret" in item]


def test_every_listener_is_on_the_loopback(settings: Settings) -> None:
    for service in catalog().values():
        assert "0.0.0.0" not in json.dumps(rendered(service, settings))  # noqa: S104 - looked for, not bound


def test_every_name_used_exists() -> None:
    known = catalog()
    offsets = yaml.safe_load(PORTS_FILE.read_text())["offsets"]
    for service in known.values():
        assert set(service.depends_on) <= set(known)
        assert set(service.stops_before) <= set(known)
        assert set(service.stop.first) <= set(service.all_programs())
        for setting, by in service.depends_when.items():
            assert setting in Settings.model_fields
            assert {one for services in by.values() for one in services} <= set(known)
        assert set(service.ports) <= set(offsets)
        assert service.external_setting is None or service.external_setting in Settings.model_fields


def test_every_hook_exists() -> None:
    for service in catalog().values():
        hooks = service.setup
        locations = [*hooks.before_start, *hooks.after_ready, *hooks.provision, *service.fetch.built.values()]
        locations += [service.ready.call] if service.ready.call else []
        for location in locations:
            module, _, function = location.partition(":")
            assert callable(getattr(import_module(module), function)), location


def test_a_template_with_an_unknown_name_is_refused(settings: Settings) -> None:
    context = ServiceContext(catalog()["redis"], settings)

    with pytest.raises(ConfigurationError, match=r"Template of redis.*prot"):
        context.render("{{ prot.redis }}")


def test_an_argument_that_renders_to_nothing_is_left_out(settings: Settings) -> None:
    context = ServiceContext(catalog()["redis"], settings)

    assert context.argv(("a", "{{ env('NOT_SET_ANYWHERE', '') }}", "b")) == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"redy": {}}, "redy"),
        ({"ready": {"tcp": "a:1", "http": "http://a"}}, "exactly one of tcp"),
        ({"command": None}, "either command or programs"),
        ({"stop": {"signal": "HUP"}}, "signal"),
        ({"name": "other"}, "name of its folder"),
    ],
)
def test_a_wrong_definition_is_refused_with_its_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    right = {
        "name": "x",
        "title": "X",
        "profiles": ["core"],
        "command": ["true"],
        "ready": {"tcp": "a:1"},
        "memory_mb": 1,
    }
    path = tmp_path / "x" / "service.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(right))
    assert read_service(path).name == "x"

    path.write_text(yaml.safe_dump({**right, **change}))
    with pytest.raises(ConfigurationError, match=message):
        read_service(path)
