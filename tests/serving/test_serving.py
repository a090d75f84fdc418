"""`pinpoint serve` without a browser: what it answers, what it refuses, what it keeps."""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.support.locate_world import COUNT, World, located_world, pixels
from tests.support.served import Served, served

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import UsageError
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.home import find_home
from pinpoint_harness.reports.contact_sheet import fit_square
from pinpoint_harness.serving import Access, ServedMethods, Worker, listen
from pinpoint_harness.serving.access import CONTENT_SECURITY_POLICY, RefusedError
from pinpoint_harness.serving.worker import MOST_WAITING
from pinpoint_harness.serving.world import STEPS, circle, outlines, path, project

SETTINGS = {"gallery": "toy/real", "backbone": "colours"}
TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with located_world(tmp_path_factory.mktemp("world")) as made:
        yield made


def worker(world: World, *names: str, **settings: str) -> Worker:
    return Worker(ServedMethods(world.registry, find_home(world.folder), names, settings, device="cpu"))


@pytest.fixture(scope="module")
def site(world: World) -> Iterator[Served]:
    with served(worker(world, "looker", "stating", "nearest-photo", **SETTINGS), most_bytes=100_000) as one:
        yield one


def encoded(image: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def position_of_sydney() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 0.0, 0.0), 3: "E", 4: (151.0, 0.0, 0.0)})
    return exif.tobytes()


@pytest.mark.parametrize("method", ["looker", "stating", "nearest-photo"])
def test_an_answer_is_the_json_of_pinpoint_locate(world: World, site: Served, method: str) -> None:
    photo = world.photos[0]
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    words = settings if method == "nearest-photo" else []
    printed = world.command(photo, "--method", method, *words, "--json")
    got = site.ask(photo.read_bytes(), method=method, name=str(photo))
    assert got.status == 200
    assert got.json["document"] == json.loads(printed.stdout)


def test_what_the_page_adds_fits_the_answer(world: World, site: Served) -> None:
    told = site.ask(world.photos[0].read_bytes(), method="stating", name="a.png").json
    (photo,) = told["document"]["photos"]
    place = (photo["latitude"], photo["longitude"])
    assert told["at"] == project([place])[0].tolist()
    assert [(one["km"], one["probability"]) for one in told["circles"]] == [
        (2500, 0.9375), (750, 0.75), (200, 0.5), (25, 0.375), (1, 0.25),
    ]  # fmt: skip
    assert set(told["seconds"]) == {"waiting", "loading", "answering"}
    assert all(value >= 0 for value in told["seconds"].values())
    assert told["truth"] == {"reason": "no GPS position"}


def test_candidates_come_with_their_pictures_and_support(world: World, site: Served) -> None:
    data = (world.folder / "real" / "real3.png").read_bytes()
    told = site.ask(data, method="nearest-photo", name="a.png").json
    first = told["candidates"][0]
    assert (first["source"], first["photo_id"]) == ("toy/real", "real3")
    places = world.registry.open_dataset("toy/real").truth()[["latitude", "longitude"]].to_numpy()
    near = haversine_km(places[3], places) <= told["support_km"]
    assert first["support"] == {"toy/real": near.sum()}
    picture = site.get(f"/{first['picture']}")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(picture.body)) as opened:
        shown = np.asarray(opened.convert("RGB"), float)
    difference = {}
    for row in range(20):
        with Image.open(world.folder / "real" / f"real{row}.png") as photo:
            difference[row] = np.abs(shown - fit_square(np.asarray(photo), 224)).mean()
    assert min(difference, key=difference.__getitem__) == 3


@pytest.mark.parametrize(
    "address", ["/pictures/0/99999", "/pictures/99/0", "/pictures/0/-1", "/pictures/0/real3",
                "/pictures/0/..%2f..%2ftoy.py", "/../toy.py", "/toy.py"],
)  # fmt: skip
def test_no_address_leads_to_anything_but_a_picture_of_a_gallery(site: Served, address: str) -> None:
    got = site.get(address)
    assert got.status == 404
    assert set(got.json) == {"problem", "found", "fix"}


def test_a_position_is_told_after_the_answer_and_shown_to_no_method(world: World, site: Served) -> None:
    world.seen().clear()
    image = pixels(3)
    plain = site.ask(encoded(image, "JPEG"), method="looker", name="a.jpg").json
    lying = encoded(image, "JPEG", exif=position_of_sydney(), comment=b"latitude: -33")
    told = site.ask(lying, method="looker", name="Sydney_33S_151E.jpg").json
    honest, misled = world.seen()
    np.testing.assert_array_equal(honest.key, misled.key)
    np.testing.assert_array_equal(honest.input[0], misled.input[0])
    assert misled.author_token.tolist() == [0]
    assert plain["at"] == told["at"]
    assert (told["truth"]["latitude"], told["truth"]["longitude"]) == (-33, 151)
    place = [told["document"]["photos"][0][name] for name in ("latitude", "longitude")]
    assert told["truth"]["error_km"] == pytest.approx(haversine_km(place, [-33, 151])[0], rel=0.01)
    assert "Sydney" not in json.dumps([plain, told["truth"]])


def test_hostile_files_are_reported_and_the_next_photo_is_answered(world: World, site: Served) -> None:
    bomb = encoded(np.zeros((8, 8, 3), np.uint8))
    wide = bomb[:16] + (2**31 - 1).to_bytes(4, "big") * 2 + bomb[24:]
    files = {b"": "empty", b"<!DOCTYPE html>": "HTML", wide: "", world.photos[0].read_bytes()[:90]: ""}
    for data, words in files.items():
        told = site.ask(data, method="looker", name='"><script>alert(1)</script>\u202egpj.exe').json
        (photo,) = told["document"]["photos"]
        assert photo["status"].startswith("unreadable")
        assert words in photo["status"]
        assert photo["latitude"] is None
        assert "\u202e" not in told["name"] + photo["photo"]
    assert site.ask(world.photos[0].read_bytes(), method="looker").json["at"]


def test_too_much_is_refused_before_it_has_arrived(site: Served) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for number in range(10_000):
            sent.append(number)
            yield b"x" * 10_000

    got = site.ask(endless(), method="looker")
    assert got.status == 413
    assert "more than 100,000 bytes" in got.json["problem"]
    assert got.json["fix"]
    assert len(sent) < 10_000
    claimed = {"Content-Type": "application/octet-stream", "Content-Length": str(2**40)}
    assert site.request("POST", "/answers", None, claimed).status == 413


def test_what_is_no_photo_alone_is_refused(site: Served) -> None:
    for kind in ("multipart/form-data; boundary=x", "text/plain", "application/x-www-form-urlencoded"):
        assert site.ask(b"x", {"Content-Type": kind}).status == 415
    got = site.get("/answers")
    assert (got.status, got.json["fix"]) == (405, "ask it by POST")


def test_an_unknown_method_is_refused_with_those_there_are(site: Served) -> None:
    got = site.ask(b"x", method="constant")
    assert got.status == 422
    assert "looker" in got.json["found"]


def test_a_field_that_would_have_no_effect_is_refused(world: World, site: Served) -> None:
    photo = world.photos[0].read_bytes()
    got = site.ask(photo, method="looker", auther="Ansel")
    assert (got.status, got.json["problem"]) == (400, "a photo has no field 'auther'")
    assert got.json["fix"].endswith("method, author, name")
    kind = {"Content-Type": "application/octet-stream"}
    assert site.request("POST", "/answers?method=looker&method=blind", photo, kind).status == 400


def test_a_photographer_s_photos_are_left_out_and_counted(world: World, site: Served) -> None:
    data = (world.folder / "real" / "real4.png").read_bytes()
    asked = {"method": "nearest-photo", "name": "a.png"}
    plain, ansel, nobody = (
        site.ask(data, **asked, **author).json for author in ({}, {"author": "Ansel"}, {"author": "N. N."})
    )
    assert plain["candidates"][0]["photo_id"] == nobody["candidates"][0]["photo_id"] == "real4"
    assert ansel["candidates"][0]["photo_id"] != "real4"
    assert (plain["left_out"], ansel["left_out"], nobody["left_out"]) == (None, 10, 0)
    assert ansel["document"]["made"]["author"] == "Ansel"
    refused = site.ask(data, method="looker", author="Ansel")
    assert (refused.status, refused.json["fix"][:5]) == (422, "leave")


def test_photos_asked_at_once_get_their_own_answers_one_after_another(world: World, site: Served) -> None:
    with ThreadPoolExecutor(COUNT) as threads:
        together = list(
            threads.map(lambda photo: site.ask(photo.read_bytes(), method="looker").json["at"], world.photos)
        )
    assert together == [site.ask(photo.read_bytes(), method="looker").json["at"] for photo in world.photos]
    assert len({tuple(at) for at in together}) == COUNT


def test_more_than_may_wait_are_refused_and_places_come_back(world: World, site: Served) -> None:
    data = world.photos[0].read_bytes()
    with ExitStack() as places:
        for _ in range(MOST_WAITING):
            places.enter_context(site.worker.place())
        got = site.ask(data, method="looker")
        assert got.status == 503
        assert "send it again" in got.json["fix"]
    assert site.ask(data, method="looker").status == 200


def test_one_method_is_held_and_the_one_before_is_let_go(world: World) -> None:
    data = world.photos[0].read_bytes()
    with served(worker(world, "nearest-photo", "looker", **SETTINGS)) as site:
        assert site.ask(data).status == 200
        first = weakref.ref(site.worker.load("nearest-photo"))
        assert first() is site.worker.load("nearest-photo")
        assert site.ask(data, method="looker").status == 200
        gc.collect()
        assert first() is None


def test_offered_is_what_is_named_and_trained(world: World) -> None:
    one = worker(world, "looker", "nearest-photo", **SETTINGS)
    assert {name: offer.filters_authors for name, offer in one.offers.items()} == {
        "looker": False,
        "nearest-photo": True,
    }
    one.close()
    with pytest.raises(UsageError, match="does not look at photos"):
        worker(world, "blind")
    with pytest.raises(UsageError, match="no method of these has such a parameter"):
        worker(world, "looker", gallery="toy/real")


def test_nothing_is_written(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(world.folder.rglob("*"))
    big = encoded(pixels(1, 900, 800))
    with served(worker(world, "looker"), most_bytes=2**23) as site:
        assert site.ask(big, name="a.png").status == 200
    assert sorted(world.folder.rglob("*")) == before
    assert not any(tmp_path.iterdir())


def test_a_model_of_a_procedural_world_says_so_on_the_page(world: World) -> None:
    one = worker(world, "nearest-photo", gallery="toy/drawn", backbone="colours")
    one.load("nearest-photo")
    with served(one) as site:
        page = site.get("/").body.decode()
        assert "knows only toy/drawn, pictures of a procedural planet" in page
        assert site.ask(world.photos[0].read_bytes()).json["document"]["notes"] == one.notes()


def test_every_response_has_its_headers(site: Served) -> None:
    for path_, status in (("/", 200), ("/page.js", 200), ("/page.css", 200), ("/nothing", 404)):
        got = site.get(path_)
        assert (got.status, got.headers["content-security-policy"]) == (status, CONTENT_SECURITY_POLICY)
        assert got.headers["cross-origin-resource-policy"] == "same-origin"
        assert got.headers["x-content-type-options"] == "nosniff"
    page = site.get("/").body.decode()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<style" not in page
    assert " style=" not in page
    assert site.get("/nothing", Accept="text/html").body.startswith(b"<!DOCTYPE html>")


HERE = "127.0.0.1:8017"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": HERE}, None),
        ({"host": "localhost:9000"}, None),  # through a tunnel
        ({"host": "[::1]:8017"}, None),
        ({"host": HERE, "origin": f"http://{HERE}", "sec-fetch-site": "same-origin"}, None),
        ({"host": HERE, "sec-fetch-site": "none"}, None),
        ({"host": "rebound.example:8017"}, 421),
        ({"host": "127.0.0.1.rebound.example"}, 421),
        ({"host": "192.0.2.7:8017"}, 421),
        ({"host": ""}, 421),
        ({"host": "[::1"}, 421),
        ({}, 421),
        ({"host": HERE, "origin": "http://127.0.0.1:8018"}, 403),
        ({"host": HERE, "origin": "https://evil.example"}, 403),
        ({"host": HERE, "origin": "null"}, 403),
        ({"host": HERE, "sec-fetch-site": "cross-site"}, 403),
        ({"host": HERE, "sec-fetch-site": "same-site"}, 403),
    ],
)
def test_requests_of_other_sites_are_refused(headers: dict[str, str], status: int | None) -> None:
    refusal = Access().refusal("POST", headers)
    assert (refusal and refusal.status) == status


def test_a_link_on_another_site_may_be_followed_here() -> None:
    visit = {"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert Access().refusal("GET", visit) is None
    assert Access().refusal("POST", visit) is not None


def test_beyond_this_machine_addresses_and_its_names_are_its_own() -> None:
    access = Access("0.0.0.0", TOKEN)
    for host in ("192.0.2.7:8017", f"{socket.gethostname()}:8017", "localhost:1", "[2001:db8::1]:8017"):
        assert access.refusal("GET", {"host": host}) is None, host
    assert isinstance(access.refusal("GET", {"host": "rebound.example:8017"}), RefusedError)


def test_host_and_origin_are_looked_at_over_the_wire(world: World, site: Served) -> None:
    data = world.photos[0].read_bytes()
    assert site.get("/", Host="rebound.example").status == 421
    assert site.ask(data, {"Origin": "https://evil.example"}).status == 403
    assert site.ask(data, {"Origin": site.address.rstrip("/")}).status == 200


def test_no_token_no_listening_beyond_this_machine() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"):
        with pytest.raises(UsageError, match="lets other machines ask"):
            Access(host)
        assert Access(host, TOKEN).token
    for short in ("", "short", "é" * 40):
        with pytest.raises(UsageError, match="token"):
            Access("127.0.0.1", short)
    assert TOKEN not in repr(Access("0.0.0.0", TOKEN))


def test_a_token_is_exchanged_for_a_cookie_and_asked_of_everything(world: World) -> None:
    data = world.photos[0].read_bytes()
    with served(worker(world, "looker"), Access(token=TOKEN)) as site:
        for wrong in ({}, {"Cookie": f"pinpoint-{site.port}=x"}, {"Authorization": "Bearer é"}):
            assert site.get("/", **wrong).status == 401
            assert site.ask(data, wrong).status == 401
        assert site.get("/page.js").status == 401
        assert site.get(f"/?token={TOKEN}x").status == 401
        assert site.get(f"/page.js?token={TOKEN}").status == 401
        exchanged = site.get(f"/?token={TOKEN}")
        assert (exchanged.status, exchanged.headers["location"]) == (303, "/")
        cookie = exchanged.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()
        assert site.get("/", Cookie=cookie.partition(";")[0]).status == 200
        assert site.ask(data, {"Authorization": f"Bearer {TOKEN}"}).status == 200


@given(
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)), st.sampled_from([1.0, 25.0, 200.0, 750.0, 2500.0])
)
def test_a_circle_lies_at_its_radius(place: tuple[float, float], radius_km: float) -> None:
    spots = circle(place, radius_km)
    latitude = np.degrees(np.arctan(np.sinh(np.radians(-spots[:, 1]))))
    shown = np.abs(latitude) < 84.9  # beyond is cut, and so is the band around a pole
    around = haversine_km(place, np.stack([latitude, spots[:, 0]], axis=1))[shown]
    holds_pole = abs(np.radians(place[0])) + radius_km / 6371.0 > np.pi / 2
    if holds_pole:
        around = around[1:-1]
        assert np.ptp(spots[:, 0]) == pytest.approx(360)
    np.testing.assert_allclose(around, radius_km, rtol=0.02 if holds_pole else 1e-6)
    assert np.abs(spots[:, 0] - place[1]).max() <= 180 + 1e-9


def test_paths_are_relative_whole_steps() -> None:
    assert STEPS == 100
    line = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.001], [1.0, -2.5]])
    assert path([line], closed=True) == "M0 0l100 0 0 -250z"
    assert set(outlines()) == {"land", "coast", "borders"}


def test_the_command_line_refuses_before_it_loads_anything(world: World) -> None:
    def command(*words: str) -> Any:
        return CliRunner().invoke(cli, ["serve", "--home", str(world.folder), *words])

    refused = command("--host", "0.0.0.0")
    assert (refused.exit_code, "ssh -L" in refused.stderr) == (2, True)
    with listen(Access(), 0) as taken:
        busy = command("--port", str(taken.socket.getsockname()[1]))
    assert busy.exit_code == 2
    assert "--port, 0 for any" in busy.stderr
    untrained = command("--port", "0")
    assert untrained.exit_code == 2
    assert "pinpoint train pinpoint-plus" in untrained.stderr or "pinpoint embed" in untrained.stderr


def test_an_interrupt_ends_it_well_even_where_a_shell_has_switched_interrupts_off(world: World) -> None:
    words = ["-c", "from pinpoint_harness.cli.main import main; main()", "--plugin", world.folder / "toy.py"]
    words += ["serve", "--port", "0", "--method", "looker", "--device", "cpu", "--home", world.folder]
    process = subprocess.Popen(
        [sys.executable, "-P", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with urllib.request.urlopen(address) as page:
        assert page.status == 200
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "ended: nothing was kept\n")
