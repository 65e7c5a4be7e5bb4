"""Bring what a service runs on into the cache, keyed by what was asked for, so that a second start finds it.

Cache folders are written beside their place and renamed when whole: an interrupted download is never taken for one.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.engine.model import Service
from tickhouse.errors import PrerequisiteMissing, ServiceNotReady
from tickhouse.settings import REPO, cache_dir

# One plugin version for every fetch: what Maven picks by itself differs between Maven versions.
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

# One artifact by itself: this old version does not ask for the artifact's parent pom, and the registry's
# (io.apicurio:apicurio-registry:pom:3.0.9) cannot be had.
COPY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8"

Progress = Callable[[str], None]


def _silent(_line: str) -> None:
    """Take no notice of progress."""


def jar_dir(pom_path: Path, progress: Progress = _silent) -> Path:
    """Return the folder with all runtime jars of a pom, fetched at the first call.

    Args:
        pom_path: A pom of packaging `pom`; the folder is keyed by the hash of its text.
        progress: Called with one line at a time while Maven works.

    Raises:
        PrerequisiteMissing: Maven is not installed.
        ServiceNotReady: Maven failed; the message holds the end of its output.
    """
    key = hashlib.sha256(pom_path.read_bytes()).hexdigest()[:16]
    target = cache_dir() / "jars" / f"{_pom_name(pom_path)}-{key}"

    def fill(folder: Path) -> None:
        goal = f"{DEPENDENCY_PLUGIN}:copy-dependencies"
        # The pom is copied: Maven writes beside it, and two poms in one reactor folder would mix.
        pom = folder.with_name(f"{folder.name}.pom.xml")
        shutil.copy(pom_path, pom)
        try:
            maven([goal, "-f", str(pom), "-DincludeScope=runtime", f"-DoutputDirectory={folder}"], progress)
        finally:
            pom.unlink()

    return once(target, fill)


def archive_dir(coordinates: str, progress: Progress = _silent) -> Path:
    """Return the folder with the unpacked archive of Maven coordinates `group:artifact:version:type[:classifier]`.

    The type is tar.gz or zip.

    Raises:
        PrerequisiteMissing: Maven is not installed.
        ServiceNotReady: Maven failed.
    """
    _, artifact, version, *_ = coordinates.split(":")

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as download:
            goal = f"{COPY_PLUGIN}:copy"
            maven([goal, f"-Dartifact={coordinates}", f"-DoutputDirectory={download}"], progress)
            (archive,) = Path(download).iterdir()
            _unpack(archive, folder)

    return once(cache_dir() / "archives" / f"{artifact}-{version}", fill)


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix != ".zip":
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        return
    with zipfile.ZipFile(archive) as container:
        for member in container.infolist():
            path = Path(container.extract(member, folder))
            if path.is_file():  # zipfile forgets what is a program
                path.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)


def class_dir(sources: list[Path], libs: Path) -> Path:
    """Return the folder with the compiled classes of a few Java files.

    Args:
        sources: The files; with the name of `libs` their text is the key.
        libs: Folder of the jars they need; a cache folder, its name says its content.

    Raises:
        PrerequisiteMissing: There is no Java compiler.
        ServiceNotReady: They do not compile; the message holds the compiler's.
    """
    text = b"\0".join(path.read_bytes() for path in sources) + str(libs.relative_to(cache_dir())).encode()
    key = hashlib.sha256(text).hexdigest()[:16]

    def fill(folder: Path) -> None:
        compiler = java().resolve().with_name("javac")
        if not compiler.exists():
            raise PrerequisiteMissing("There is no javac.", next_command="apt-get install openjdk-17-jdk-headless")
        command = [
            str(compiler),
            "--release",
            "17",
            "-nowarn",
            "-cp",
            f"{libs}/*",
            "-d",
            str(folder),
            *map(str, sources),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServiceNotReady(f"javac: {done.stdout}{done.stderr}", next_command="tickhouse doctor")

    return once(cache_dir() / "classes" / f"{sources[0].parent.name}-{key}", fill)


def wheel_path(location: str) -> Path:
    """Return a path inside an installed wheel, given as `module:path/inside`; the module is not imported.

    Raises:
        PrerequisiteMissing: The wheel is not installed, or has no such path.
    """
    module, inside = location.split(":")
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin).parent / inside if spec and spec.origin else None
    if path is None or not path.exists():
        raise PrerequisiteMissing(f"Expected {location} in this Python environment.", next_command="make setup")
    return path


def fetch(service: Service, progress: Progress = _silent) -> dict[str, Path]:
    """Fetch everything one service declares and return path by name."""
    declared = service.fetch
    found = {name: jar_dir(REPO / pom, progress) for name, pom in declared.poms.items()}
    found |= {name: archive_dir(coordinates, progress) for name, coordinates in declared.archives.items()}
    found |= {name: wheel_path(location) for name, location in declared.wheels.items()}
    found |= {name: _built(location, progress) for name, location in declared.built.items()}
    return found | {name: _go(module, progress) for name, module in declared.go.items()}


def _go(module: str, progress: Progress) -> Path:
    from stack.engine.gobuild import program  # which imports us

    return program(module, progress)


def _built(location: str, progress: Progress) -> Path:
    module, _, function = location.partition(":")
    path: Path = getattr(importlib.import_module(module), function)(progress)
    return path


def java() -> Path:
    """Return the java program: of `JAVA_HOME` if set, else the first on PATH.

    Raises:
        PrerequisiteMissing: There is none.
    """
    beside_home = Path(os.environ.get("JAVA_HOME", "/nonexistent")) / "bin" / "java"
    found = str(beside_home) if beside_home.exists() else shutil.which("java")
    if found is None:
        raise PrerequisiteMissing("Java is not installed.", next_command="apt-get install openjdk-17-jdk-headless")
    return Path(found)


def _pom_name(pom_path: Path) -> str:
    # stack/kafka/pom.xml -> stack-kafka: tells a person what a cache folder is for.
    folder = pom_path.resolve().parent
    return "-".join(folder.relative_to(REPO).parts) if folder.is_relative_to(REPO) else folder.name


def once(target: Path, fill: Callable[[Path], None], lock: str = "writer") -> Path:
    """Return a cache folder, filled by `fill(partial folder)` when it is not there yet; all of it or nothing.

    Args:
        target: The folder.
        fill: Puts its content into a folder beside it.
        lock: Fills under one lock wait for each other: those by Maven must, a Go build of minutes has its own.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _one_writer(lock):
        if target.is_dir():  # another process fetched it while we waited
            return target
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            fill(partial)
            partial.chmod(0o755)
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


@contextmanager
def _one_writer(lock: str) -> Iterator[None]:
    # One at a time on the machine: Maven's local repository does not stand two writers.
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / f"{lock}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def maven(arguments: list[str], progress: Progress) -> None:
    """Run Maven; every line of its output goes to `progress`.

    Raises:
        PrerequisiteMissing: It is not installed.
        ServiceNotReady: It failed; the message holds the end of its output.
    """
    program = shutil.which("mvn")
    if program is None:
        raise PrerequisiteMissing("Maven is not installed.", next_command="apt-get install maven")
    # -U: a download that failed is asked for again, and not remembered as missing for a day.
    command = [program, "-B", "-U", "--strict-checksums", *arguments]
    tail: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            tail = [*tail[-30:], line.rstrip()]
            progress(line.rstrip())
    if process.returncode != 0:
        output = "\n".join(tail)
        raise ServiceNotReady(
            f"Maven ended with {process.returncode}:\n{output}",
            safe="Nothing was put into the cache.",
            next_command="tickhouse doctor",
        )
