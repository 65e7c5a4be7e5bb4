"""Links lead somewhere, command lines exist, and nothing of one machine is in the docs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from common.settings import PORTS_FILE, REPO
from tests.unit.docs.commands import TARGETS, command_lines, problem
from tests.unit.docs.pages import anchors, fenced, links, pages, prose_lines, table_rows
from tickhouse.demo.home import PORT_SHIFT

PAGES = pages()
GENERATED = REPO / "docs" / "reference" / "cli.md"

# Anything else is a registry's or a machine's address, or must be added here on purpose.
KNOWN_HOSTS = {
    *("lakefs.io", "docs.lakefs.io", "github.com", "www.apache.org", "avro.apache.org"),
    *("stream.binance.com", "api.binance.com", "data.binance.vision"),
    *("fstream.binance.com", "fapi.binance.com", "dstream.binance.com", "dapi.binance.com"),
}
URL = re.compile(r"\b(?:https?|wss?|postgresql|redis)://[^\s)>`\"'|,;]+")
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:work|root|home/[a-z]+|Users/[A-Za-z]+|workspace|mnt)/")
SECRET = re.compile(
    r"AKIA[A-Z2-7]{16}|\b[0-9a-f]{32}\b|://[^/\s:@]+:[^/\s:@*]+@|(?i:password|secret|token|api_?key)\s*[=:]\s*[\w+/-]{6,}"
)


def name_of(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), link
        assert found.is_relative_to(REPO), link
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found.read_text()), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_exist(page: Path) -> None:
    calls = [words for block in fenced(page.read_text(), "sh") for words in command_lines(block)]

    assert {" ".join(words): problem(words) for words in calls if problem(words)} == {}


def test_command_lines_are_found_at_all() -> None:
    calls = [words for page in PAGES for block in fenced(page.read_text(), "sh") for words in command_lines(block)]

    assert {words[0] for words in calls} == {"tickhouse", "make"}
    assert {words[1] for words in calls if words[0] == "tickhouse"} >= {"up", "down", "replay", "reconcile", "explain"}


@pytest.mark.parametrize(
    "line",
    [
        "tickhouse nothing",
        "tickhouse up --no-such",
        "tickhouse explain",
        "tickhouse replay FILE",
        "tickhouse config nothing",
        "tickhouse status extra",
        "true && TICKHOUSE_HOME=x .venv/bin/tickhouse down --purged",
        "docker compose exec airflow-scheduler tickhouse compare",
        "make nothing",
    ],
)
def test_a_wrong_command_line_is_seen(line: str) -> None:
    (words,) = command_lines(line)

    assert problem(words)


@pytest.mark.parametrize(
    "line",
    [
        "tickhouse replay a b --market spot --no-wait",
        "tickhouse logs kafka -f -n 20   # comment --no-such",
        "tickhouse reconcile --json | python3 -m json.tool",
        "tickhouse config show --json",
        "tickhouse up --profile=core",
        "make setup TICKHOUSE_HOME=x",
    ],
)
def test_a_right_command_line_passes(line: str) -> None:
    (words,) = command_lines(line)

    assert problem(words) == ""


def test_the_name_as_an_argument_is_no_call() -> None:
    assert list(command_lines("grep tickhouse Makefile; apt-get install make")) == []


def test_verbs_named_in_the_readme_exist() -> None:
    named = re.findall(r"^    make (\w+)", (REPO / "README.md").read_text(), re.MULTILINE)

    assert named[:2] == ["demo", "test"]
    assert set(named) <= TARGETS


def test_readme_is_short() -> None:
    lines = (REPO / "README.md").read_text().splitlines()

    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 100] == []


def test_readme_gives_the_addresses_of_both_lakehouses() -> None:
    ports = yaml.safe_load(PORTS_FILE.read_text())
    known = {ports["base"] + offset for offset in ports["offsets"].values()}
    rows = table_rows((REPO / "README.md").read_text(), "## Addresses")
    found = [re.findall(r"127\.0\.0\.1:(\d+)", " ".join(row)) for row in rows]

    assert rows
    for row, (*yours, demo) in zip(rows, found, strict=True):
        port = int(demo) - PORT_SHIFT
        assert port in known, row
        assert yours in ([], [str(port)]), row


@pytest.mark.parametrize("page", [page for page in PAGES if page != GENERATED], ids=name_of)
def test_prose_is_wrapped(page: Path) -> None:
    numbered = prose_lines(page.read_text())

    assert [f"{name_of(page)}:{number}" for number, line in numbered if len(line) > 100] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_addresses_are_known_ones(page: Path) -> None:
    hosts = {urlsplit(url).hostname or "" for url in URL.findall(page.read_text())}
    public = {host for host in hosts if re.search(r"[a-z]\.[a-z]", host) and not host.endswith(".example.org")}

    assert public <= KNOWN_HOSTS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_path_of_a_machine(page: Path) -> None:
    assert MACHINE_PATH.findall(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_secret(page: Path) -> None:
    assert SECRET.findall(page.read_text()) == []


@pytest.mark.parametrize(
    "text", ["PASSWORD=hunter22", "redis://:abcdef@host", "postgresql://me:pass@host/db", "AKIA" + "A" * 16, "0f" * 16]
)
def test_a_secret_would_be_seen(text: str) -> None:
    assert SECRET.search(text.replace("redis://:", "redis://user:"))


@pytest.mark.parametrize("text", ["in /work/main", "cd /root/x", "see /home/me/src"])
def test_a_machine_path_would_be_seen(text: str) -> None:
    assert MACHINE_PATH.search(text)


def test_every_page_is_in_the_index() -> None:
    index = REPO / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index.read_text())}

    unlinked = {page for page in (REPO / "docs").rglob("*.md") if not linked & {page, page.parent}}
    assert unlinked == {index}


def test_hooks_call_the_tools_of_the_environment() -> None:
    config = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]

    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks} == {"system"}
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert tools == {"ruff", "mypy", "lint-imports", "python"}
