"""Kafka Connect: the folder of plugins."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from stack.engine.context import ServiceContext
from stack.engine.fetch import Progress, jar_dir, java, maven, once
from tickhouse.errors import ServiceNotReady
from tickhouse.settings import REPO, cache_dir

KAFKA_POM = REPO / "stack" / "kafka" / "pom.xml"

# One folder a plugin, each with a pom: put another beside it and the next `tickhouse up` takes it in.
PLUGIN_POMS = REPO / "stack" / "connect" / "plugins"

# Our own plugins: a Maven module, built into the cache and never into the clone.
MODULE = REPO / "connectors" / "plugins"
BUILD = ("resources:resources", "compiler:compile", "jar:jar", "dependency:copy-dependencies")


def plugin_folder(progress: Progress) -> Path:
    """Return the plugin path with every plugin of `stack/connect/plugins` and our own, ServiceLoader manifests added.

    With manifests the worker starts on `plugin.discovery=service_load`: 9 s instead of 43 (recipe), because it
    need not open every class. Keyed by the text of all poms and sources.

    Raises:
        ServiceNotReady: Kafka's tool that adds the manifests failed, or Maven did.
    """
    poms = sorted(PLUGIN_POMS.glob("*/pom.xml"))
    libs = jar_dir(KAFKA_POM, progress)
    jars = {pom.parent.name: jar_dir(pom, progress) for pom in poms} | {"tickhouse": module_dir(progress)}
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in (KAFKA_POM, *poms, *module_files()))).hexdigest()[:16]

    def fill(folder: Path) -> None:
        for name, source in jars.items():
            shutil.copytree(source, folder / name)
        _add_manifests(libs, folder)

    return once(cache_dir() / "connect-plugins" / key, fill)


def module_files() -> list[Path]:
    """Return what our module is built from."""
    return [MODULE / "pom.xml", *sorted(path for path in (MODULE / "src" / "main").rglob("*") if path.is_file())]


def module_dir(progress: Progress) -> Path:
    """Return the folder with the jar of our module and all it needs, built when its text is new.

    Raises:
        ServiceNotReady: Maven failed; the message holds the end of its output.
    """
    text = b"\0".join(str(path.relative_to(MODULE)).encode() + path.read_bytes() for path in module_files())
    target = cache_dir() / "connect-module" / hashlib.sha256(text).hexdigest()[:16]

    def fill(folder: Path) -> None:
        work = folder / "build"
        for path in module_files():
            copy = work / path.relative_to(MODULE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        goals = [*BUILD, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        maven(["-f", str(work / "pom.xml"), *goals], progress)
        (jar,) = (work / "target").glob("*.jar")
        shutil.move(jar, folder / jar.name)
        shutil.rmtree(work)

    return once(target, fill)


def make_extension_folder(context: ServiceContext) -> None:
    """Make the folder for plugins built in this clone: the worker refuses a plugin path that is not there."""
    (context.home / "connect" / "plugins").mkdir(parents=True, exist_ok=True)


def _add_manifests(libs: Path, folder: Path) -> None:
    tool = ["org.apache.kafka.tools.ConnectPluginPath", "sync-manifests", "--plugin-path", str(folder)]
    command = [str(java()), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{libs}/*", *tool]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceNotReady(f"Connect's plugins: {done.stdout}{done.stderr}", next_command="tickhouse doctor")
