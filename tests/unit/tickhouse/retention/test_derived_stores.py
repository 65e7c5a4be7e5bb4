"""What Geode's own declaration says must be what the retention declares."""

from __future__ import annotations

from xml.etree import ElementTree

from common.clients.geode import MINUTES, REGIONS, RULES, STATES, STATISTICS
from common.settings import REPO
from tickhouse.retention.declaration import load

XML = {"g": "http://geode.apache.org/schema/cache"}
DAY_S = 86_400


def regions() -> dict[str, ElementTree.Element]:
    root = ElementTree.parse(REPO / "stack" / "geode" / "cache.xml").getroot()  # noqa: S314
    return {str(region.get("name")): region for region in root.findall("g:region", XML)}


def time_to_live_s(region: ElementTree.Element) -> int | None:
    found = region.find(".//g:entry-time-to-live/g:expiration-attributes", XML)
    return None if found is None else int(found.attrib["timeout"])


def test_entries_live_as_long_as_declared() -> None:
    declared_s = load().geode.days * DAY_S

    assert {name: time_to_live_s(region) for name, region in regions().items()} == {
        STATISTICS: declared_s,
        MINUTES: declared_s + DAY_S,  # the first minute of a window is a day older than its last
        RULES: None,
        STATES: declared_s,
    }


def test_the_client_knows_every_region_and_all_are_on_the_disk() -> None:
    found = {name: region.find("g:region-attributes", XML) for name, region in regions().items()}

    assert {*REGIONS} == {*found}
    assert {one.attrib["data-policy"] for one in found.values() if one is not None} == {"persistent-partition"}
