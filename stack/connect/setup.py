"""Kafka Connect: the folder of plugins."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from stack.engine.context import ServiceContext
from stack.engine.fetch import Progress, jar_dir, java, once
from tickhouse.errors import ServiceNotReady
from tickhouse.settings import REPO, cache_dir

KAFKA_POM = REPO / "stack" / "kafka" / "pom.xml"

# One folder a plugin, each with a pom: put another beside it and the next `tickhouse up` takes it in.
PLUGIN_POMS = REPO / "stack" / "connect" / "plugins"


def plugin_folder(progress: Progress) -> Path:
    """Return the plugin path with every plugin of `stack/connect/plugins`, ServiceLoader manifests added.

    With manifests the worker starts on `plugin.discovery=service_load`: 9 s instead of 43 (recipe), because it
    need not open every class. Keyed by the text of all poms.

    Raises:
        ServiceNotReady: Kafka's tool that adds the manifests failed.
    """
    poms = sorted(PLUGIN_POMS.glob("*/pom.xml"))
    libs = jar_dir(KAFKA_POM, progress)
    jars = {pom.parent.name: jar_dir(pom, progress) for pom in poms}
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in (KAFKA_POM, *poms))).hexdigest()[:16]

    def fill(folder: Path) -> None:
        for name, source in jars.items():
            shutil.copytree(source, folder / name)
        _add_manifests(libs, folder)

    return once(cache_dir() / "connect-plugins" / key, fill)


def make_extension_folder(context: ServiceContext) -> None:
    """Make the folder for plugins built in this clone: the worker refuses a plugin path that is not there."""
    (context.home / "connect" / "plugins").mkdir(parents=True, exist_ok=True)


def _add_manifests(libs: Path, folder: Path) -> None:
    tool = ["org.apache.kafka.tools.ConnectPluginPath", "sync-manifests", "--plugin-path", str(folder)]
    command = [str(java()), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{libs}/*", *tool]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceNotReady(f"Connect's plugins: {done.stdout}{done.stderr}", next_command="tickhouse doctor")
