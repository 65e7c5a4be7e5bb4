"""Everything that is fetched, beside the Python packages, is in NOTICE with its licence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import yaml

from common.settings import REPO
from stack.engine.model import read_catalog
from stack.engine.npm_packages import npm_packages
from stack.engine.source_build import SourceBuild

MAVEN = {"m": "http://maven.apache.org/POM/4.0.0"}
LISTED = {line.split()[0] for line in (REPO / "NOTICE").read_text().splitlines() if re.match(r"  \S+ {2,}\S", line)}


def test_every_maven_group_is_listed() -> None:
    poms = [*REPO.glob("stack/**/pom.xml"), *REPO.glob("spark/*/pom.xml"), REPO / "connectors/plugins/pom.xml"]
    groups = {
        dependency.findtext("m:groupId", namespaces=MAVEN)
        for pom in poms
        for dependency in ElementTree.parse(pom).getroot().findall("m:dependencies/m:dependency", MAVEN)  # noqa: S314
    }
    assert len(groups) > 10
    assert groups <= LISTED


def test_every_server_that_is_fetched_is_listed() -> None:
    assert set(_fetched()) <= LISTED


def _fetched() -> Iterator[str]:
    for service in read_catalog(REPO / "stack").values():
        yield from (coordinates.split(":")[0] for coordinates in service.fetch.archives.values())
        yield from (place.split(":")[0] for place in service.fetch.wheels.values())
        yield from (module.split("@")[0] for module in service.fetch.go.values())
        yield from (SourceBuild(folder).file.package.partition("/cmd/")[0] for folder in service.fetch.source.values())
    text = (REPO / "stack/elasticsearch/setup.py").read_text()
    yield from re.findall(r'"(org\.elasticsearch\.[\w.-]+):', text)


def test_every_npm_package_is_listed() -> None:
    assert {*npm_packages()} <= LISTED


def test_every_image_is_listed() -> None:
    services = yaml.safe_load((REPO / "docker-compose.yml").read_text())["services"].values()
    images = {service["image"] for service in services if "image" in service}
    images |= set(re.findall(r"^FROM (\S+:\S+)", (REPO / "compose/Dockerfile").read_text(), re.MULTILINE))
    names = {image.split(":")[0] for image in images}
    assert {name for name in names if not name.startswith("tickhouse")} <= LISTED


def test_no_release_of_lakefs_under_another_licence_is_used() -> None:
    texts = [(REPO / name).read_text() for name in ("requirements.txt", "docker-compose.yml")]
    releases = [found for text in texts for found in re.findall(r"lakefs(?:-sdk==|:)1\.(\d+)", text)]
    assert len(releases) == 2
    assert max(map(int, releases)) < 87
