"""A report in a real browser: it asks for nothing, sorts, filters, and shows the photo that it says."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.browser import Watch, chromium, opened
from tests.support.report_world import HOSTILE, RED_STEP, ReportWorld

from pinpoint_harness.reports.pages import ReportOptions, write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ReportWorld:
    chromium()
    return ReportWorld(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def report(world: ReportWorld) -> Path:
    path = world.home / "report.html"
    options = ReportOptions(location=world.location, every_protocol=True)
    write_report([world.a, world.b], world.registry, path, options)
    return path


@pytest.fixture
def seen(report: Path) -> Iterator[tuple[Any, Watch]]:
    with opened(report, viewport={"width": 1280, "height": 900}) as (page, watch):
        yield page, watch
        assert watch.complaints == []
        assert watch.requests == [report.resolve().as_uri()]


def sentence(page: Any) -> str:
    text: str = page.inner_text("#s0-sentence")
    return text


def choose(page: Any, name: str, label: str) -> None:
    page.locator(f"#s0-{name} select").select_option(label=label)


def outcome(page: Any, beginning: str) -> None:
    select = page.locator("#s0-outcome select")
    (label,) = [text for text in select.locator("option").all_inner_texts() if text.startswith(beginning)]
    select.select_option(label=label)


def test_filters_leave_the_photos_that_the_runs_say(world: ReportWorld, seen: tuple[Any, Watch]) -> None:
    page, _ = seen
    a, b = world.a.predictions(), world.b.predictions()
    right_a, right_b = (frame["error_km"].to_numpy() < 25 for frame in (a, b))
    assert sentence(page).startswith("40 of 40 photos selected")
    choose(page, "a", "even <b>rows</b>")
    choose(page, "b", "third")
    assert "A, even <b>rows</b>, 20 of 40 (50.0 %); B, third, 14 of 40 (35.0 %)" in sentence(page)
    outcome(page, "A right, B wrong")
    assert sentence(page).startswith(f"{(right_a & ~right_b).sum()} of 40")
    choose(page, "continent", "East")
    east = np.arange(40) >= 20
    assert sentence(page).startswith(f"{(right_a & ~right_b & east).sum()} of 40")
    outcome(page, "both wrong")
    choose(page, "continent", "all")
    assert sentence(page).startswith(f"{(~right_a & ~right_b).sum()} of 40")
    choose(page, "radius", "2500 km")
    assert sentence(page).startswith("0 of 40")
    page.get_by_role("button", name="Show all photos again").click()
    assert sentence(page).startswith("40 of 40")


def test_the_curves_of_a_selection_are_those_of_its_photos(
    world: ReportWorld, seen: tuple[Any, Watch]
) -> None:
    page, _ = seen
    choose(page, "a", "even <b>rows</b>")
    choose(page, "continent", "East")
    curve = page.evaluate(
        """() => {
          const plots = Bokeh.documents[0].roots().filter((root) => root.type === "Figure");
          const legends = plots.flatMap((plot) => plot.center).filter((one) => one.type === "Legend");
          const item = legends.flatMap((one) => one.items).find((one) => one.label.value === "A, selection");
          const data = item.renderers[0].data_source.data;
          return data.km.map((km, at) => [km, data.share[at]]);
        }"""
    )
    error_km = world.a.predictions()["error_km"].to_numpy()[20:]
    for km, share in curve:
        assert share == pytest.approx(100 * np.mean(error_km <= km)), km


def test_the_map_shows_the_selection_and_says_how_many(seen: tuple[Any, Watch]) -> None:
    page, _ = seen
    assert page.inner_text("#s0-map-note").startswith("40 photos in view: each mark is a photo")
    outcome(page, "both wrong")
    assert not page.inner_text("#s0-map-note").startswith("40 ")


def test_a_click_on_a_card_shows_that_photo_and_its_candidates(
    world: ReportWorld, seen: tuple[Any, Watch]
) -> None:
    page, _ = seen
    choose(page, "a", "even <b>rows</b>")
    choose(page, "order", "worst of A")
    card = page.locator("#s0-photos button").first
    row = int(card.get_attribute("data-row"))
    worst = world.a.predictions()["error_km"].to_numpy()
    assert worst[row] == pytest.approx(worst.max(), rel=1e-3)  # as finely as the page keeps errors
    card.click()
    detail = page.locator("#s0-detail")
    assert detail.locator("h4").inner_text().startswith("Photo")
    assert mean_red(detail.locator(".query img")) == pytest.approx(RED_STEP * row, abs=4)
    first = detail.locator("ol.candidates").first.locator("li").first
    gallery_row = 10 + row % 10
    assert f"toy photo-{gallery_row}" in first.inner_text()
    assert "probability 70.0 %" in first.inner_text()
    assert mean_red(first.locator("img")) == pytest.approx(RED_STEP * gallery_row, abs=4)


def mean_red(image: Any) -> float:
    """Of the middle of an embedded picture."""
    address = image.get_attribute("src")
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    return float(np.asarray(picture)[40:56, 40:56, 0].mean())


def test_the_table_sorts_within_a_block_and_columns_can_be_hidden(seen: tuple[Any, Watch]) -> None:
    page, _ = seen

    def column() -> list[list[float]]:
        blocks = page.locator("#s0-table tbody[data-sortable]").all()
        cells = [block.locator("tr:not(.heading) td:nth-child(3)").all_inner_texts() for block in blocks]
        return [[float(re.match(r"[\d.]+", text)[0]) for text in block] for block in cells]  # type: ignore[index]

    assert len(column()) > 1  # a block for each protocol
    button = page.locator("#s0-table").get_by_role("button", name="25 km", exact=True)
    button.click()
    assert all(block == sorted(block, reverse=True) for block in column())
    button.press("Enter")
    assert all(block == sorted(block) for block in column())
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("25 km", exact=True).uncheck()
    assert not button.is_visible()


def test_hostile_names_are_text(seen: tuple[Any, Watch]) -> None:
    page, _ = seen
    choose(page, "order", "best of A")
    text = page.inner_text("body")
    assert "Toys <script>alert(2)</script>" in text
    assert "drawn </script><img src=x onerror=alert(3)>" in text
    choose(page, "a", "even <b>rows</b>")
    page.get_by_role("button", name="Show all photos again").click()
    found = []
    for order in ("best of A", "worst of A", "biggest gain of A over B", "biggest loss of A to B"):
        choose(page, "order", order)
        found += page.locator("#s0-photos bdi").all_inner_texts()
    shown = "\n".join(found)
    assert HOSTILE[0] in shown
    assert "turned\\u{202e}gpj.exe" in shown
    assert "(10,240 characters)" in shown


def test_a_phone_in_the_dark_needs_no_sideways_scrolling(report: Path) -> None:
    with opened(report, viewport={"width": 390, "height": 800}, color_scheme="dark") as (page, watch):
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        assert watch.complaints == []


def test_paper_has_the_colours_of_keys_and_leaves_the_page_as_it_was(seen: tuple[Any, Watch]) -> None:
    page, _ = seen
    folded = page.locator("details:not([open])").count()
    assert folded > 0
    page.evaluate(
        """addEventListener("beforeprint", () => {
          window.unfolded = document.querySelectorAll("details[open]").length;
        })"""
    )
    page.pdf(format="A4")
    assert page.evaluate("unfolded") == page.locator("details").count()
    assert page.locator("details:not([open])").count() == folded
    page.emulate_media(media="print")
    style = "(selector, name) => getComputedStyle(document.querySelector(selector))[name]"
    for selector, name, value in (
        (".swatch", "printColorAdjust", "exact"),
        ("h3", "breakAfter", "avoid-page"),
        ("section", "breakInside", "auto"),  # longer than a page: its first one would stay empty
        ("figure", "breakInside", "avoid-page"),
    ):
        assert page.evaluate(f"([selector, name]) => ({style})(selector, name)", [selector, name]) == value
