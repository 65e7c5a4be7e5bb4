"""Data Docs that need no network, and their index."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from common.settings import Settings
from stack.data_docs import report_site
from stack.data_docs.html_page import chip
from stack.data_docs.index_page import MOST_AUDITS

FORK = multiprocessing.get_context("fork")
PAGE = """
<link rel="stylesheet" href="https://cdn.example.org/bootstrap/4.3.1/css/bootstrap.min.css" integrity="sha384-x">
<link rel="stylesheet" href="https://cdn.example.org/css/unknown.css"/>
<script src="https://code.example.org/jquery-3.7.1.min.js"></script>
<script src="https://cdn.example.org/npm/vega@5"></script>
<img src="https://assets.example.org/logo-long.png?d=2026&dataContextId=1"/>
<a href="https://greatexpectations.io">GX</a>
<link rel="shortcut icon" href="./static/images/favicon.ico">
"""


def test_local_files_are_linked_and_other_links_are_removed(tmp_path: Path) -> None:
    for name in ("bootstrap.min.css", "jquery-3.7.1.min.js"):
        (tmp_path / name).touch()
    page = report_site.offline(PAGE, "../../", tmp_path)

    assert '<link rel="stylesheet" href="../../assets/bootstrap.min.css">' in page
    assert '<script src="../../assets/jquery-3.7.1.min.js"></script>' in page
    assert 'src="../../assets/logo-long.png"' in page
    assert '<a href="https://greatexpectations.io">' in page
    assert 'href="../../assets/favicon.ico"' in page
    assert [word for word in ("example.org", "vega", "unknown") if word in page] == []


def test_a_page_about_a_synthetic_market_begins_with_a_banner() -> None:
    assert report_site.with_banner(PAGE, "") == PAGE
    page = report_site.with_banner("<html><BODY class='x'><h1>Audit</h1></body></html>", "SIMULATED & more")
    assert page.index("<BODY class='x'>") < page.index("SIMULATED &amp; more") < page.index("<h1>")
    assert "SIMULATED" in report_site.with_banner("no body", "SIMULATED")


def test_the_index_lists_the_newest_first_and_escapes(tmp_path: Path) -> None:
    for name, at, broken in (("a" * 16, "1", []), ("b" * 16, "2", ["candles: low <= open"])):
        site = tmp_path / f"{name}-lake"
        site.mkdir()
        report = {"commit_id": name, "what": "lake", "days": "2024-08-08", "ok": not broken, "broken": broken}
        (site / report_site.REPORT).write_text(json.dumps({**report, "at": at}))
    report_site.write_index(tmp_path)

    page = (tmp_path / "index.html").read_text()
    assert page.index("b" * 16) < page.index("a" * 16)
    assert "low &lt;= open" in page
    assert page.count(chip("failed")) == 1


def finish_sites(root: Path, first: int) -> None:
    for number in range(first, first + 40):
        site = root / f"site-{number}"
        site.mkdir()
        report_site.finish(site, {"commit_id": f"{number:016}", "what": "lake", "days": "2024-08-08", "ok": True})
        if number % 2:
            (site / report_site.REPORT).unlink()


def test_audits_and_retention_at_once_leave_an_index_of_every_report(tmp_path: Path) -> None:
    root = tmp_path / "data_docs"
    root.mkdir()
    processes = [FORK.Process(target=finish_sites, args=(root, first)) for first in (0, 100, 200)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]

    report_site.write_index(root)
    assert len(report_site.reports(root)) == 60
    assert (root / "audits.html").read_text().count('data-name="verdict"') == 60
    assert (root / "index.html").read_text().count('data-name="verdict"') == MOST_AUDITS
    assert "All 60 audits" in (root / "index.html").read_text()


def test_two_audits_in_one_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKHOUSE_HOME", str(tmp_path))
    made = [report_site.new_site(Settings(), "c-lake-2024-08-08") for _ in range(5)]
    assert len(set(made)) == 5
    assert all(site.is_dir() for site in made)


def test_data_docs_keep_two_pictures_of_the_library(tmp_path: Path) -> None:
    site = tmp_path / "data_docs" / "one"
    images = site / report_site.DATA_DOCS / "static" / "images"
    images.mkdir(parents=True)
    for name in (*report_site.PICTURES, "scroller.gif"):
        (images / name).write_text(name)
    report_site.finish(site, {"commit_id": "c", "what": "lake", "days": "2024-08-08", "ok": True})

    assert sorted(path.name for path in (site.parent / report_site.ASSETS).iterdir()) == sorted(report_site.PICTURES)
    assert not images.parent.exists()


def test_the_index_of_ninety_days_takes_less_than_two_seconds(tmp_path: Path) -> None:
    """Three audits per day, each with as many laws as the checkpoint `lake` has."""
    root = tmp_path / "data_docs"
    law = {"suite": "silver", "law": "x" * 80, "outcome": "passed", "severity": "critical", "is_broken": False}
    for number in range(270):
        report = {"commit_id": f"{number:064}", "what": "lake", "days": "2024-08-08", "ok": True, "at": str(number)}
        site = root / f"site-{number}"
        site.mkdir(parents=True)
        (site / report_site.REPORT).write_text(json.dumps({**report, "laws": [law | {"rows": 0}] * 75}))

    began = time.process_time()
    report_site.write_index(root)
    took_s = time.process_time() - began

    print(f"{took_s:.3f} s, {(root / 'audits.html').stat().st_size / 1000:.0f} kB")  # noqa: T201
    assert took_s < 2
