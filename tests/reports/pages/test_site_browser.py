"""A site in a real browser: every link leads somewhere, nothing is asked for, tables sort, phones fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import REPORT_READY, chromium, opened, wait_for
from tests.support.report_world import ReportWorld

from pinpoint_harness.api import score
from pinpoint_harness.reports.pages import ReportOptions, write_site

pytestmark = pytest.mark.browser

PLAIN = "main"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    world = ReportWorld(tmp_path_factory.mktemp("site"))
    world.run("part", limit=10, every=2)
    score(world.a, protocol="haversine-6371-le")
    options = ReportOptions(location=world.location)
    return write_site(world.home / "runs", world.registry, world.home / "site", options).parent


def board(site: Path) -> Path:
    (path,) = site.glob("toy-*/wgs84-lt.html")
    return path


def addresses(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all("a[href]", "links => links.map(one => one.href)")
    return found


def test_all_pages_are_reached_from_the_index_and_ask_for_nothing(site: Path) -> None:
    with opened(site / "index.html", PLAIN) as (page, watch):
        left, seen = addresses(page), {page.url}
        while left:
            address = left.pop().partition("#")[0]
            if address not in seen:
                seen.add(address)
                page.goto(address)
                wait_for(page, REPORT_READY if "report" in address else PLAIN)
                left += addresses(page)
        assert seen == {path.resolve().as_uri() for path in site.rglob("*.html")}
        assert len(seen) == 4  # the index, two protocols, a report
        assert sorted(watch.requests) == sorted(seen)
        assert watch.complaints == []


def test_a_name_opens_the_report_with_that_run_chosen(site: Path) -> None:
    with opened(board(site), PLAIN) as (page, watch):
        page.get_by_role("link", name="third").click()
        wait_for(page, REPORT_READY)
        sentence = page.inner_text("#s0-sentence")
        assert "A, third, " in sentence
        assert "B, even <b>rows</b>, " in sentence  # the best, which is A without that
        page.goto((board(site).parent / "report.html").resolve().as_uri())
        wait_for(page, REPORT_READY)
        assert "A, even <b>rows</b>, " in page.inner_text("#s0-sentence")
        assert watch.complaints == []


def test_the_table_sorts_by_keyboard_and_a_partial_run_keeps_its_place(site: Path) -> None:
    with opened(board(site), PLAIN) as (page, watch):

        def column() -> list[float]:
            cells = page.locator("#results tbody tr:not(.heading) td.figure:nth-child(3)").all_inner_texts()
            return [float(re.match(r"[\d.]+", text)[0]) for text in cells]  # type: ignore[index]

        assert column() == [50.0, 35.0, 50.0]  # the last is of ten photos
        button = page.get_by_role("button", name="25 km", exact=True)
        button.focus()
        button.press("Enter")
        button.press("Enter")
        assert button.locator("..").get_attribute("aria-sort") == "ascending"
        assert column() == [35.0, 50.0, 50.0]
        assert "part (10 of 40)" in page.locator("#results tbody").last.inner_text()
        page.locator("summary", has_text="Columns").click()
        page.get_by_label("GeoScore", exact=True).uncheck()
        assert not page.get_by_role("button", name="GeoScore").is_visible()
        assert watch.complaints == []


@pytest.mark.parametrize(("theme", "paper"), [("dark", "rgb(20, 23, 27)"), ("light", "rgb(255, 255, 255)")])
def test_pages_fit_a_phone_in_either_theme(site: Path, theme: str, paper: str) -> None:
    phone = {"viewport": {"width": 390, "height": 800}, "color_scheme": theme}
    with opened(site / "index.html", PLAIN, **phone) as (page, watch):
        for path in (site / "index.html", board(site)):
            page.goto(path.resolve().as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
        assert watch.complaints == []


def test_paper_is_light_and_nothing_on_it_is_folded(site: Path) -> None:
    with opened(board(site), PLAIN, color_scheme="dark") as (page, _):
        facts = page.locator("dl").first
        assert not facts.is_visible()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert facts.is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
