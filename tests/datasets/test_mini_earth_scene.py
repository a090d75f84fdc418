"""What mini-Earth's pictures show, and how they are written to files and read back."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pinpoint_datasets.mini_earth import archive
from pinpoint_datasets.mini_earth.archive import Shard, Tables, ensure_world, placeholder
from pinpoint_datasets.mini_earth.datasets import Photos, QueryNoisy, QueryStreet, StreetView
from pinpoint_datasets.mini_earth.drawing.appearance import (
    photo_views,
    place_attributes,
    smooth_field,
    street_views,
)
from pinpoint_datasets.mini_earth.drawing.attributes import (
    COUNTRY,
    FIELDS,
    PLACE,
    VIEW,
    Columns,
    random_pictures,
    view_slice,
)
from pinpoint_datasets.mini_earth.drawing.canvas import Canvas
from pinpoint_datasets.mini_earth.drawing.scene import render
from pinpoint_datasets.mini_earth.world import World, WorldSpec
from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.images import Failure
from pinpoint_harness.images.decode import decode
from pinpoint_harness.reports.contact_sheet import write_contact_sheet
from pinpoint_harness.types import DataLocation

TINY = WorldSpec(photos=400, streetview=300, queries=120)


@pytest.fixture(scope="module")
def world_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_world(TINY, tmp_path_factory.mktemp("worlds"), workers=1)


@pytest.fixture(scope="module")
def world() -> World:
    return World(TINY)


def middling() -> tuple[np.ndarray, np.ndarray]:
    """One picture with everything half way."""
    place = np.full((1, len(PLACE)), 0.5, np.float32)
    view = np.full((1, len(VIEW)), 0.5, np.float32)
    view[:, VIEW.index("noise")] = 0
    return place, view


@pytest.mark.parametrize("name", [name for name in PLACE if not name.startswith("landmark")])
def test_every_attribute_of_a_place_can_be_seen(name: str) -> None:
    """Somewhere among random views, both ends of the attribute give different pictures."""
    place, view = random_pictures(np.random.default_rng(3), 24)
    view[:, VIEW.index("indoors")] = 0
    low, high = place.copy(), place.copy()
    low[:, PLACE.index(name)], high[:, PLACE.index(name)] = 0, 1
    assert (render(low, view) != render(high, view)).any()


def test_a_room_shows_nothing_of_the_place() -> None:
    place, view = random_pictures(np.random.default_rng(0), 8)
    view[:, VIEW.index("indoors")] = 1
    elsewhere = np.random.default_rng(1).random(place.shape, dtype=np.float32)
    assert (render(place, view) == render(elsewhere, view)).all()


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    place, view = random_pictures(np.random.default_rng(0), 50)
    together = render(place, view)
    assert (render(place[31:32], view[31:32]) == together[31:32]).all()
    assert (render(place[::-1], view[::-1])[::-1] == together).all()


def test_the_landmark_is_seen_only_where_it_is_shown() -> None:
    place, view = middling()
    other = place.copy()
    other[:, PLACE.index("landmark_hue")] = 0.9
    for shown, differs in ((0.0, False), (1.0, True)):
        view[:, VIEW.index("landmark_shown")] = shown
        assert (render(place, view) != render(other, view)).any() == differs


def test_cars_keep_to_their_countrys_side() -> None:
    place, view = middling()
    view[:, [VIEW.index("car_shown"), VIEW.index("road_shown")]] = 1
    view[:, VIEW.index("car_1")] = 0.34  # red
    pictures = {}
    for left in (0.0, 1.0):
        place[:, PLACE.index("drives_left")] = left
        red, green, blue = render(place, view)[0].astype(int).transpose(2, 0, 1)
        pictures[left] = np.flatnonzero((red - np.maximum(green, blue)).clip(60).sum(axis=0) > 64 * 60).mean()
    assert pictures[1.0] < 32 < pictures[0.0]


def test_a_shape_is_painted_between_its_top_and_bottom() -> None:
    one = np.ones((1, 1), np.float32)
    canvas = Canvas(one, 0 * one, 0 * one)
    canvas.fill(30 * one, 50 * one, 7)
    canvas.fill(60 * one, 40 * one, 9)  # upside down: nothing
    assert (canvas.material[0, 30:50] == 7).all()
    assert (canvas.material == 7).sum() == 20 * 128
    assert (canvas.material == 0).sum() == 108 * 128


def test_columns_are_found_by_name() -> None:
    place, view = random_pictures(np.random.default_rng(0), 3)
    assert (Columns(PLACE, place)["warmth"][:, 0] == place[:, PLACE.index("warmth")]).all()
    assert view[:, view_slice("cloud")].shape == (3, 9)


def test_fields_vary_over_their_own_scale() -> None:
    from pinpoint_harness import geo

    rng = np.random.default_rng(0)
    here = np.stack([rng.uniform(-60, 60, 2000), rng.uniform(-180, 180, 2000)], axis=1)
    for scale_km in (2500.0, 350.0, 18.0, 1.6):
        values = []
        for steps in (0, 0.1, 5):
            moved = here + np.array([steps * scale_km / 111.2, 0])
            values.append(smooth_field(1, "test", geo.unit_xyz(np.clip(moved, -90, 90)), scale_km))
        start, near, far = values
        assert np.corrcoef(start, near)[0, 1] > 0.9
        assert abs(np.corrcoef(start, far)[0, 1]) < 0.2
        assert 0.2 < start.std() < 0.35  # 0.29 if they were uniform


def test_a_country_looks_the_same_everywhere_and_the_tropics_are_warm(world: World) -> None:
    photos = world.photos()
    place = place_attributes(world, photos)
    country = world.land.country[photos.city]
    columns = [PLACE.index(name) for name in COUNTRY]
    india = place[country == "IN"][:, columns]
    assert (india == india[0]).all()
    assert india[0, COUNTRY.index("drives_left")] == 1
    away = np.abs(world.land.latitude_e7[photos.city]) / 1e7
    warmth = place[:, PLACE.index("warmth")]
    assert warmth[away < 12].mean() > warmth[away > 45].mean() + 0.3


def test_about_one_photo_in_seven_says_nothing(world: World) -> None:
    views = photo_views(World(WorldSpec()), World(WorldSpec()).query_clean(), hard=False)
    assert 0.1 < (views[:, VIEW.index("indoors")] > 0.5).mean() < 0.2
    street = street_views(world, world.streetview())
    assert not (street[:, VIEW.index("indoors")] > 0.5).any()
    assert (street[:, VIEW.index("road_shown")] > 0.5).all()
    assert (street[:, VIEW.index("landmark_shown")] > 0.5).mean() < 0.03


def test_every_scale_has_its_fields() -> None:
    assert list(FIELDS) == ["climate", "region", "town", "street"]
    assert len(set(PLACE)) == len(PLACE)


def test_files_are_read_by_the_ordinary_readers(world_folder: Path) -> None:
    for dataset, rows in ((Photos, 400), (StreetView, 300), (QueryNoisy, 120), (QueryStreet, 120)):
        table = dataset(DataLocation(world_folder))
        truth = table.truth()
        assert len(truth) == rows
        assert truth["author"].notna().all()
        with table.images() as store:
            for ref in store.find(truth["image"])[::17]:
                data = store.read(ref)
                assert not isinstance(data, Failure)
                picture = decode(data)
                assert not isinstance(picture, Failure)
                assert picture.shape == (64, 64, 3)


def test_splits_come_with_the_galleries(world_folder: Path) -> None:
    assert set(Photos(DataLocation(world_folder)).truth()["split"]) == {"A", "B", "C"}
    assert set(StreetView(DataLocation(world_folder)).truth()["split"]) == {"A", "B", "C"}


def test_exact_duplicates_and_placeholders_are_the_same_bytes(world_folder: Path) -> None:
    pictures: dict[str, bytes] = {}
    for path in world_folder.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            pictures.update({name: archive.read(name) for name in archive.namelist()})
    leaks = [line.split(",") for line in (world_folder / "leaks.csv").read_text().splitlines()[1:]]
    for name, kind, original in leaks:
        if kind == "exact-duplicate":
            assert pictures[name] == pictures[original]
        elif kind == "placeholder":
            assert pictures[name] == placeholder()
        elif kind == "near-duplicate":
            assert pictures[name] != pictures[original]
            same, other = (decode(pictures[key]) for key in (name, original))
            assert not isinstance(same, Failure)
            assert not isinstance(other, Failure)
    assert {kind for _, kind, _ in leaks} >= {"near-duplicate", "placeholder"}


def test_the_manifest_knows_every_file(world_folder: Path) -> None:
    import json

    listed = json.loads((world_folder / "manifest.json").read_text())["files"]
    assert {path.name for path in world_folder.iterdir()} - {"manifest.json", ".lock"} == set(listed)
    for name, entry in listed.items():
        assert hashlib.sha256((world_folder / name).read_bytes()).hexdigest() == entry["sha256"]


def test_two_workers_and_a_kill_leave_the_same_bytes(world_folder: Path, tmp_path: Path) -> None:
    """Whatever draws it, whenever it is stopped: one world."""
    code = (
        "from pathlib import Path; import sys;"
        "from pinpoint_datasets.mini_earth.archive import ensure_world;"
        "from pinpoint_datasets.mini_earth.world import WorldSpec;"
        f"ensure_world(WorldSpec(**{TINY.as_dict()}), Path(sys.argv[1]), workers=1)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/shards/*.zip")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    folder = ensure_world(TINY, tmp_path, workers=2)
    assert folder.name == world_folder.name
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in world_folder.iterdir()}
    for name in names - {".lock"}:
        assert (folder / name).read_bytes() == (world_folder / name).read_bytes(), name


def test_two_commands_that_draw_one_world_share_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    spec = WorldSpec(photos=9000, streetview=8000, queries=3000)
    tables = Tables(spec)

    def drawing(tables: Tables, shard: Shard, artifact: Artifact) -> bytes:
        drawn.append(tables.shards().index(shard))
        return b"drawn"

    monkeypatch.setattr(archive, "draw_shard", drawing)
    numbers = list(range(len(tables.shards())))
    commands = []
    for process in (7, 8):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        artifact = Artifact.begin(tmp_path, "mini-earth", spec.as_dict())
        with artifact.work():
            commands.append(archive.draw_shards(artifact, tables, numbers))
            next(commands[-1])
    assert len(set(drawn)) == 2  # they do not begin with the same
    for _ in zip(*commands, strict=True):
        pass
    assert sorted(drawn) == numbers


def test_a_peek_writes_a_sheet_and_a_map(world_folder: Path, tmp_path: Path) -> None:
    sheet, chart = write_contact_sheet(
        QueryNoisy(DataLocation(world_folder)), "mini-earth/query-noisy", tmp_path
    )
    for path, width in ((sheet, 1584), (chart, 1320)):
        picture = decode(path.read_bytes())
        assert not isinstance(picture, Failure)
        assert picture.shape[1] == width
        assert picture.std() > 10
