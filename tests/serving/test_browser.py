"""The served page in a real browser: a dropped photo gets the answer of `pinpoint locate`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import Watch, chromium, opened
from tests.support.locate_world import World, located_world
from tests.support.served import Served, served

from pinpoint_harness.home import find_home
from pinpoint_harness.images.loose import printable_name
from pinpoint_harness.serving import ServedMethods, Worker

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=alert(1)>\u202egpj.png'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    chromium()
    with located_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[Served]:
    settings = {"gallery": "toy/drawn", "backbone": "colours"}
    methods = ServedMethods(
        world.registry, find_home(world.folder), ["nearest-photo", "stating"], settings, device="cpu"
    )
    with served(Worker(methods)) as one:
        yield one


@pytest.fixture
def seen(site: Served) -> Iterator[tuple[Any, Watch]]:
    with opened(site.address, "#map[viewBox]", viewport={"width": 1200, "height": 900}) as (page, watch):
        yield page, watch
        assert watch.complaints == []
        assert all(request.startswith(site.address) for request in watch.requests)


def drop(page: Any, *files: tuple[str, bytes]) -> None:
    let_go(page, *files)
    page.locator("#state", has_text="got a place").wait_for()


def let_go(page: Any, *files: tuple[str, bytes]) -> None:
    data = page.evaluate_handle(
        """(files) => {
          const data = new DataTransfer();
          for (const [name, text] of files) {
            data.items.add(new File([Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))], name));
          }
          return data;
        }""",
        [[name, base64.b64encode(content).decode()] for name, content in files],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": data})


def in_words(latitude: float, longitude: float) -> str:
    sides = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    return f"{abs(latitude):.5f}° {sides[0]}, {abs(longitude):.5f}° {sides[1]}"


def downloaded(page: Any) -> Any:
    with page.expect_download() as started:
        page.get_by_role("button", name="Download").click()
    return json.loads(Path(started.value.path()).read_text())


def test_dropped_photos_are_answered_as_by_pinpoint_locate(world: World, seen: tuple[Any, Watch]) -> None:
    page, _ = seen
    photos = world.photos[:2]
    drop(page, *((photo.name, photo.read_bytes()) for photo in photos))
    settings = ["--set", "gallery=toy/drawn", "--set", "backbone=colours"]
    printed = json.loads(
        world.command(*photos, "--method", "nearest-photo", *settings, "--json").stdout,
    )
    for photo in printed["photos"]:
        photo["photo"] = Path(photo["photo"]).name
    first = printed["photos"][0]
    assert page.inner_text(".place") == in_words(first["latitude"], first["longitude"])
    assert "procedural planet" in page.inner_text("#notes")
    assert "reports no probabilities" in page.inner_text("#said")
    assert page.locator("ol.candidates li").count() == len(first["candidates"])
    page.locator("ol.candidates img").first.wait_for()
    assert page.inner_text("#map-text").startswith("The answer at")
    assert downloaded(page) == printed


def test_a_method_with_probabilities_draws_circles_and_asks_again(
    seen: tuple[Any, Watch], world: World
) -> None:
    page, _ = seen
    drop(page, (world.photos[0].name, world.photos[0].read_bytes()))
    assert page.locator("#drawn .circle").count() == 0
    page.select_option("#method", "stating")
    assert page.locator("#author").is_disabled()
    page.get_by_role("button", name="Ask again").click()
    page.locator("#said", has_text="By stating").wait_for()
    assert page.locator("#drawn .circle").count() == 5
    assert page.inner_text("#said table").split()[-10:-5] == ["25", "%", "38", "%", "50"]
    assert downloaded(page)["method"] == "stating"


def test_names_of_files_are_text_and_no_picture_is_said(seen: tuple[Any, Watch], world: World) -> None:
    page, _ = seen
    drop(page, (HOSTILE, world.photos[0].read_bytes()), ("page.jpg", b"<html>gone"))
    assert "1 of 2 photos" in page.inner_text("#state")
    heading = page.inner_text("#said h2")
    assert heading.startswith('"><img src=x onerror=alert(1)>')
    assert "\u202e" not in heading
    assert page.locator("#said img").count() == 1
    page.locator("#photos button").nth(1).click()
    assert "HTML" in page.inner_text("#said")
    assert page.locator("#drawn > *").count() == 0


def test_a_photo_that_waits_goes_by_the_name_that_the_server_prints(
    seen: tuple[Any, Watch], world: World
) -> None:
    page, _ = seen
    name = "a\u202egpj\u0007 b\u00a0c\u2028d\ue000.png"
    held: list[Any] = []
    page.route("**/answers?*", lambda route: held.append(route))
    let_go(page, (name, world.photos[0].read_bytes()))
    page.locator("#photos button").click()
    shown = printable_name(name)
    assert shown == "a\ufffdgpj\ufffd b\ufffdc\ufffdd\ufffd.png"
    assert page.text_content("#photos bdi") == page.text_content("#said h2") == shown
    assert page.text_content("#state").endswith(f"about {shown} …")
    held[0].continue_()
    page.locator("#state", has_text="got a place").wait_for()
    assert page.text_content("#said h2") == shown


def test_it_is_used_by_keyboard(seen: tuple[Any, Watch], world: World) -> None:
    page, _ = seen
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    page.set_input_files("#files", [str(world.photos[0])])
    page.locator("#state", has_text="got a place").wait_for()
    page.focus("#map")
    before = page.get_attribute("#map", "viewBox")
    page.keyboard.press("+")
    zoomed = page.get_attribute("#map", "viewBox")
    assert float(zoomed.split()[2]) == pytest.approx(float(before.split()[2]) / 2)
    page.keyboard.press("ArrowLeft")
    assert float(page.get_attribute("#map", "viewBox").split()[0]) != float(zoomed.split()[0])
    page.keyboard.press("0")
    assert page.get_attribute("#map", "viewBox") == before
    page.focus("#photos button")
    page.keyboard.press("Enter")
    assert page.get_attribute("#photos button", "aria-pressed") == "true"


def test_it_fits_a_phone_in_the_dark(site: Served, world: World) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    with opened(site.address, "#map[viewBox]", **phone) as (page, watch):
        drop(page, ("n" * 250 + ".png", world.photos[0].read_bytes()))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        colours = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(int(part) for part in colours.strip("rgb()").split(",")) < 60
        assert watch.complaints == []
