"""Hooks of Elasticsearch: the server files, users of the file realm, index templates, readiness."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.clients.elasticsearch import connected, move
from common.errors import StoreUnavailable
from common.settings import REPO, SINK_ROLES, cache_dir
from stack.elasticsearch.realm import user_files
from stack.engine.cache import cached_folder
from stack.engine.context import ServiceContext
from stack.engine.fetch import archive_dir, class_dir
from stack.engine.progress import LineReporter

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

VERSION = "8.19.21"
COORDINATES = f"org.elasticsearch.distribution.integ-test-zip:elasticsearch:{VERSION}:zip"
HERE = REPO / "stack" / "elasticsearch"
PLUGIN = HERE / "rest-root"
TEMPLATES = REPO / "connectors" / "elasticsearch"
SHARD_LIMIT = "cluster.max_shards_per_node"
DAILY = re.compile(r"crypto-(trades|ticks)-\d{4}\.\d{2}\.\d{2}", re.ASCII)


def server(progress: LineReporter) -> Path:
    """Return the server's folder, with our handler for `GET /` as a plugin."""
    archive = archive_dir(COORDINATES, progress) / f"elasticsearch-{VERSION}"
    classes = class_dir([PLUGIN / "RootPlugin.java"], archive / "lib")
    descriptor = PLUGIN / "plugin-descriptor.properties"
    key = hashlib.sha256(classes.name.encode() + descriptor.read_bytes()).hexdigest()[:16]

    def fill(folder: Path) -> None:
        # Hard links, so that the files take space on disk only once.
        shutil.copytree(archive, folder, copy_function=os.link, dirs_exist_ok=True)
        plugin = folder / "plugins" / "rest-root"
        plugin.mkdir(parents=True)
        shutil.copy(descriptor, plugin)
        with zipfile.ZipFile(plugin / "rest-root.jar", "w") as jar:
            for path in sorted(classes.rglob("*.class")):
                jar.write(path, path.relative_to(classes))

    return cached_folder(cache_dir() / "elasticsearch" / f"{VERSION}-{key}", fill)


def prepare(context: ServiceContext) -> None:
    """Copy the configuration, users and roles to where the server's user can read them."""
    config = context.data / "config"
    (config / "jvm.options.d").mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "logs", "data"):
        (context.data / folder).mkdir(exist_ok=True)
    shutil.copy(context.fetched["server"] / "config" / "jvm.options", config / "jvm.options")
    shutil.copy(context.conf / "heap.options", config / "jvm.options.d" / "heap.options")
    for name in ("elasticsearch.yml", "roles.yml", "log4j2.properties"):
        shutil.copy(context.conf / name, config / name)
    passwords = {role: context.settings.elasticsearch_login(role)[2] for role in SINK_ROLES}
    for name, text in user_files(passwords).items():
        (config / name).write_text(text)
    _give_to_owner(context.data)


def _give_to_owner(folder: Path) -> None:
    """Give the new files the owner of their folder: the server may run as another user."""
    owner = folder.stat()
    for path in folder.rglob("*"):
        if path.lstat().st_uid != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def is_ready(context: ServiceContext) -> bool:
    """Return whether our administrator can log in and all indices are available."""
    try:
        with connected(context.settings, "admin") as client:
            health = client.cluster.health(wait_for_status="yellow", timeout="1s")
            return not health["timed_out"]
    except StoreUnavailable:
        return False


def put_templates(context: ServiceContext) -> None:
    """Put every index template, and its mapping into the existing indices.

    Raises:
        StoreUnavailable: Elasticsearch does not respond, or a changed mapping does not fit the
            existing indices.
    """
    with connected(context.settings, "admin") as client:
        for path in sorted(TEMPLATES.glob("*.json")):
            template = json.loads(path.read_text())
            client.indices.put_index_template(name=path.stem, body=template)
            for pattern in template["index_patterns"]:
                _put_mapping(client, pattern, template["template"]["mappings"])


def merge_daily_indices(context: ServiceContext) -> None:
    """Move the documents of daily indices, made before docs/adr/0021, to monthly ones.

    Raises:
        StoreUnavailable: Elasticsearch does not respond or refused a document; documents that were
            not moved stay where they are.
    """
    with connected(context.settings, "admin") as client:
        daily = sorted(filter(DAILY.fullmatch, client.indices.get(index="crypto-*", allow_no_indices=True)))
        # The daily indices may use all shards of the node, and the first monthly one needs another.
        if daily:
            client.cluster.put_settings(persistent={SHARD_LIMIT: 2000})
    for name in daily:
        move(context.settings, name, name[: -len(".08")])
    if daily:
        with connected(context.settings, "admin") as client:
            client.cluster.put_settings(persistent={SHARD_LIMIT: None})


def _put_mapping(client: Elasticsearch, pattern: str, mappings: dict[str, Any]) -> None:
    if client.indices.get(index=pattern, allow_no_indices=True):
        client.indices.put_mapping(index=pattern, properties=mappings["properties"])
