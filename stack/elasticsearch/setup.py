"""Elasticsearch: the server with its one missing handler, users of the file realm, index templates, readiness."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack.elasticsearch.realm import user_files
from stack.engine.context import ServiceContext
from stack.engine.fetch import Progress, archive_dir, class_dir, once
from tickhouse.errors import StoreUnavailable
from tickhouse.settings import REPO, SINK_ROLES, cache_dir
from tickhouse.stores.elasticsearch import connected

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

VERSION = "8.19.21"
COORDINATES = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
HERE = REPO / "stack" / "elasticsearch"
PLUGIN = HERE / "rest-root"
TEMPLATES = REPO / "connectors" / "elasticsearch"


def server(progress: Progress) -> Path:
    """Return the server's folder, our handler for `GET /` in its plugins."""
    archive = archive_dir(COORDINATES, progress) / f"elasticsearch-{VERSION}"
    classes = class_dir([PLUGIN / "RootPlugin.java"], archive / "lib")
    descriptor = PLUGIN / "plugin-descriptor.properties"
    key = hashlib.sha256(classes.name.encode() + descriptor.read_bytes()).hexdigest()[:16]

    def fill(folder: Path) -> None:
        # Hard links: the same files twice in the cache, once on the disk.
        shutil.copytree(archive, folder, copy_function=os.link, dirs_exist_ok=True)
        plugin = folder / "plugins" / "rest-root"
        plugin.mkdir(parents=True)
        shutil.copy(descriptor, plugin)
        with zipfile.ZipFile(plugin / "rest-root.jar", "w") as jar:
            for path in sorted(classes.rglob("*.class")):
                jar.write(path, path.relative_to(classes))

    return once(cache_dir() / "elasticsearch" / f"{VERSION}-{key}", fill)


def prepare(context: ServiceContext) -> None:
    """Put the configuration, with users and roles of the file realm, where the server's own user can read it."""
    config = context.data / "config"
    (config / "jvm.options.d").mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "logs", "data"):
        (context.data / folder).mkdir(exist_ok=True)
    for name in ("jvm.options", "log4j2.properties"):
        shutil.copy(context.fetched["server"] / "config" / name, config / name)
    shutil.copy(context.conf / "heap.options", config / "jvm.options.d" / "heap.options")
    for name in ("elasticsearch.yml", "roles.yml"):
        shutil.copy(context.conf / name, config / name)
    passwords = {role: context.settings.elasticsearch_login(role)[2] for role in SINK_ROLES}
    for name, text in user_files(passwords).items():
        (config / name).write_text(text)
    _give_to_owner(context.data)


def _give_to_owner(folder: Path) -> None:
    """Let what we wrote belong to whom the folder belongs: the server may run as another user than we."""
    owner = folder.stat()
    for path in folder.rglob("*"):
        if path.lstat().st_uid != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def answers(context: ServiceContext) -> bool:
    """Return whether the server lets our administrator in and all its indices are there."""
    try:
        with connected(context.settings, "admin") as client:
            health = client.cluster.health(wait_for_status="yellow", timeout="1s")
            return not health["timed_out"]
    except StoreUnavailable:
        return False


def put_templates(context: ServiceContext) -> None:
    """Put every index template, and its mapping into the indices that are there already.

    Raises:
        StoreUnavailable: Elasticsearch does not answer, or a changed mapping does not fit the indices.
    """
    with connected(context.settings, "admin") as client:
        for path in sorted(TEMPLATES.glob("*.json")):
            template = json.loads(path.read_text())
            client.indices.put_index_template(name=path.stem, body=template)
            for pattern in template["index_patterns"]:
                _widen(client, pattern, template["template"]["mappings"])


def _widen(client: Elasticsearch, pattern: str, mappings: dict[str, Any]) -> None:
    if client.indices.get(index=pattern, allow_no_indices=True):
        client.indices.put_mapping(index=pattern, properties=mappings["properties"])
