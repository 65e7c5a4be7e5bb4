"""Fetch the files that a service needs into the cache; the key is a hash or the version."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from common.errors import PrerequisiteMissing, ServiceNotReady
from common.settings import REPO, cache_dir
from stack.engine.cache import cached_folder
from stack.engine.debian_packages import unpacked_packages
from stack.engine.go_build import go_program
from stack.engine.model import Service
from stack.engine.progress import LineReporter, ignore_line
from stack.engine.source_build import program_of

# One plugin version for every download: Maven's own choice differs between Maven versions.
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

# For a single artifact. This old version does not ask for the artifact's parent pom, and the
# registry's parent pom (io.apicurio:apicurio-registry:pom:3.0.9) is not published.
COPY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8"


def jar_dir(pom_path: Path, progress: LineReporter = ignore_line) -> Path:
    """Return the folder with all runtime jars of a pom, downloaded by the first call.

    Args:
        pom_path: A pom of packaging `pom`; the hash of its text is the cache key.
        progress: Receives Maven's output line by line.

    Raises:
        PrerequisiteMissing: Maven is not installed.
        ServiceNotReady: Maven failed; the message holds the end of its output.
    """
    key = hashlib.sha256(pom_path.read_bytes()).hexdigest()[:16]
    target = cache_dir() / "jars" / f"{_pom_name(pom_path)}-{key}"

    def fill(folder: Path) -> None:
        goal = f"{DEPENDENCY_PLUGIN}:copy-dependencies"
        # Maven writes beside the pom, so it gets a copy outside the clone.
        pom = folder.with_name(f"{folder.name}.pom.xml")
        shutil.copy(pom_path, pom)
        try:
            run_maven([goal, "-f", str(pom), "-DincludeScope=runtime", f"-DoutputDirectory={folder}"], progress)
        finally:
            pom.unlink()

    return cached_folder(target, fill)


def archive_dir(coordinates: str, progress: LineReporter = ignore_line) -> Path:
    """Return the folder with an unpacked archive from Maven.

    Args:
        coordinates: `group:artifact:version:type[:classifier]`; the type is tar.gz or zip.
        progress: Receives Maven's output line by line.

    Raises:
        PrerequisiteMissing: Maven is not installed.
        ServiceNotReady: Maven failed; the message holds the end of its output.
    """
    _, artifact, version, *_ = coordinates.split(":")

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as download:
            goal = f"{COPY_PLUGIN}:copy"
            run_maven([goal, f"-Dartifact={coordinates}", f"-DoutputDirectory={download}"], progress)
            (archive,) = Path(download).iterdir()
            _unpack(archive, folder)

    return cached_folder(cache_dir() / "archives" / f"{artifact}-{version}", fill)


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix != ".zip":
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        return
    with zipfile.ZipFile(archive) as container:
        for member in container.infolist():
            path = Path(container.extract(member, folder))
            if path.is_file():  # zipfile does not restore the executable bit
                path.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)


def class_dir(sources: list[Path], libs: Path) -> Path:
    """Return the folder with the compiled classes of some Java files.

    Args:
        sources: The files; their text and the name of `libs` are the cache key.
        libs: The cache folder of the jars they need; its name already depends on its content.

    Raises:
        PrerequisiteMissing: There is no Java compiler.
        ServiceNotReady: The files do not compile; the message holds the compiler's output.
    """
    text = b"\0".join(path.read_bytes() for path in sources) + str(libs.relative_to(cache_dir())).encode()
    key = hashlib.sha256(text).hexdigest()[:16]

    def fill(folder: Path) -> None:
        compiler = java_program().resolve().with_name("javac")
        if not compiler.exists():
            raise PrerequisiteMissing("There is no javac.", next_command="apt-get install openjdk-17-jdk-headless")
        options = ["--release", "17", "-nowarn", "-cp", f"{libs}/*", "-d", str(folder)]
        command = [str(compiler), *options, *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServiceNotReady(f"javac failed: {done.stdout}{done.stderr}", next_command="tickhouse doctor")

    return cached_folder(cache_dir() / "classes" / f"{sources[0].parent.name}-{key}", fill)


def wheel_path(location: str) -> Path:
    """Return a path in an installed wheel, given as `module:path/inside`, without importing it.

    Raises:
        PrerequisiteMissing: The wheel is not installed, or has no such path.
    """
    module, inside = location.split(":")
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin).parent / inside if spec and spec.origin else None
    if path is None or not path.exists():
        raise PrerequisiteMissing(f"This Python environment has no {location}.", next_command="make setup")
    return path


def fetch(service: Service, progress: LineReporter = ignore_line) -> dict[str, Path]:
    """Fetch everything that a service declares and return path by name."""
    declared = service.fetch
    paths = {name: jar_dir(REPO / pom, progress) for name, pom in declared.poms.items()}
    paths |= {name: archive_dir(coordinates, progress) for name, coordinates in declared.archives.items()}
    paths |= {name: wheel_path(location) for name, location in declared.wheels.items()}
    paths |= {name: _build(location, progress) for name, location in declared.built.items()}
    paths |= {name: unpacked_packages(REPO / pins, progress) for name, pins in declared.debian.items()}
    paths |= {name: go_program(module, progress) for name, module in declared.go.items()}
    return paths | {name: program_of(folder, progress) for name, folder in declared.source.items()}


def _build(location: str, progress: LineReporter) -> Path:
    module, _, function = location.partition(":")
    path: Path = getattr(importlib.import_module(module), function)(progress)
    return path


def java_program() -> Path:
    """Return the java program: the one of `JAVA_HOME` if it is set, otherwise the first on PATH.

    Raises:
        PrerequisiteMissing: Java is not installed.
    """
    in_java_home = Path(os.environ.get("JAVA_HOME", "/nonexistent")) / "bin" / "java"
    java = str(in_java_home) if in_java_home.exists() else shutil.which("java")
    if java is None:
        raise PrerequisiteMissing("Java is not installed.", next_command="apt-get install openjdk-17-jdk-headless")
    return Path(java)


def _pom_name(pom_path: Path) -> str:
    # stack/kafka/pom.xml -> stack-kafka, so that a person can tell what a cache folder is for.
    folder = pom_path.resolve().parent
    return "-".join(folder.relative_to(REPO).parts) if folder.is_relative_to(REPO) else folder.name


def run_maven(arguments: list[str], progress: LineReporter) -> None:
    """Run Maven and pass every line of its output to `progress`.

    Raises:
        PrerequisiteMissing: Maven is not installed.
        ServiceNotReady: Maven failed; the message holds the end of its output.
    """
    program = shutil.which("mvn")
    if program is None:
        raise PrerequisiteMissing("Maven is not installed.", next_command="apt-get install maven")
    # -U: try a failed download again; by default Maven remembers it as missing for a day.
    command = [program, "-B", "-U", "--strict-checksums", *arguments]
    tail: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            tail = [*tail[-30:], line.rstrip()]
            progress(line.rstrip())
    if process.returncode != 0:
        output = "\n".join(tail)
        raise ServiceNotReady(
            f"Maven failed with exit code {process.returncode}:\n{output}",
            safe="Nothing was put into the cache.",
            next_command="tickhouse doctor",
        )
