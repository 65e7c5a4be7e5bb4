"""Hooks of Kafka Connect: the plugin folder, secret fields, readiness."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import httpx

from common.errors import ServiceNotReady
from common.settings import REPO, cache_dir
from stack.connect.secret_fields import document
from stack.engine.cache import cached_folder
from stack.engine.context import ServiceContext
from stack.engine.fetch import jar_dir, java_program, run_maven
from stack.engine.probe import PROBE_TIMEOUT_S
from stack.engine.progress import LineReporter

KAFKA_POM = REPO / "stack" / "kafka" / "pom.xml"

# One folder with a pom per plugin. The next `tickhouse up` installs what was added here.
PLUGIN_POMS = REPO / "stack" / "connect" / "plugins"

# Our own plugins: a Maven module, built in the cache and not in the clone.
MODULE = REPO / "connectors" / "plugins"
BUILD = ("resources:resources", "compiler:compile", "jar:jar", "dependency:copy-dependencies")


def plugin_folder(progress: LineReporter) -> Path:
    """Return the folder of all plugins: those of `stack/connect/plugins` and our own.

    ServiceLoader manifests are added, so that the worker can start with
    `plugin.discovery=service_load`: in 9 s instead of 43 s, because it need not open every class.
    The text of all poms and sources is the cache key.

    Raises:
        ServiceNotReady: Maven failed, or Kafka's tool that adds the manifests.
    """
    poms = sorted(PLUGIN_POMS.glob("*/pom.xml"))
    libs = jar_dir(KAFKA_POM, progress)
    jars = {pom.parent.name: jar_dir(pom, progress) for pom in poms} | {"tickhouse": module_dir(progress)}
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in (KAFKA_POM, *poms, *module_files()))).hexdigest()[:16]

    def fill(folder: Path) -> None:
        for name, source in jars.items():
            shutil.copytree(source, folder / name)
        _add_manifests(libs, folder)

    return cached_folder(cache_dir() / "connect-plugins" / key, fill)


def module_files() -> list[Path]:
    """Return the files that our module is built from."""
    return [MODULE / "pom.xml", *sorted(path for path in (MODULE / "src" / "main").rglob("*") if path.is_file())]


def module_dir(progress: LineReporter) -> Path:
    """Return the folder with the jar of our module and its dependencies, built when a file changed.

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
        run_maven(["-f", str(work / "pom.xml"), *goals], progress)
        (jar,) = (work / "target").glob("*.jar")
        shutil.move(jar, folder / jar.name)
        shutil.rmtree(work)

    return cached_folder(target, fill)


def declare_secret_fields(context: ServiceContext) -> None:
    """Write which secret the connector files use where.

    The worker reads the file at each request.
    """
    (context.conf / "secret-fields.json").write_text(document(REPO / "connectors"))


def is_ready(context: ServiceContext) -> bool:
    """Return whether the worker lists its connectors, which it can after joining its group."""
    url, user, password = context.settings.connect_login()
    try:
        response = httpx.get(f"{url}/connectors", auth=(user, password), timeout=PROBE_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError:
        return False
    return response.status_code == httpx.codes.OK


def make_extension_folder(context: ServiceContext) -> None:
    """Make the folder of locally built plugins; the worker refuses a missing plugin path."""
    (context.home / "connect" / "plugins").mkdir(parents=True, exist_ok=True)


def _add_manifests(libs: Path, folder: Path) -> None:
    tool = ["org.apache.kafka.tools.ConnectPluginPath", "sync-manifests", "--plugin-path", str(folder)]
    command = [
        str(java_program()),
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{libs}/*",
        *tool,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceNotReady(
            f"Adding plugin manifests failed: {done.stdout}{done.stderr}", next_command="tickhouse doctor"
        )
