"""Generator version 2 of mini-Earth: places at all distances, and pictures that say little alone."""

from __future__ import annotations

import csv
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import KDTree

from pinpoint_datasets.mini_earth import difficulty
from pinpoint_datasets.mini_earth.archive import Tables, ensure_world, spec_of
from pinpoint_datasets.mini_earth.backbone import features
from pinpoint_datasets.mini_earth.drawing.attributes import VIEW
from pinpoint_datasets.mini_earth.drawing.scene import render
from pinpoint_datasets.mini_earth.generators import generator_of
from pinpoint_datasets.mini_earth.infos import HELD_OUT, MINI_EARTH, WORLDS
from pinpoint_datasets.mini_earth.second.geography import load_settlements
from pinpoint_datasets.mini_earth.splits import creator_names, split_streetview
from pinpoint_datasets.mini_earth.world import PLACEHOLDER, WorldSpec
from pinpoint_harness import geo
from pinpoint_harness.errors import UsageError

SMALL = WorldSpec(seed=1, photos=3000, streetview=4000, queries=500, version=2)
SMALL_SHA256 = "503af6e68fb81c2b493e3a7614f5086c6c5f1f5961cb50d062eddb1755dd4a0c"
FIRST_SHA256 = "870f55c8ed68529b4c11c4491f276838e5944bdb46c5a07641ddd55751026ff4"
"""Of `mini-earth-v2-1` at its full size."""
LOOKS = np.array(
    [
        0.44616, 0.22287, 0.86305, 0.69765, 0.86703, 0.19928, 0.14674, 0.68870, 0.42899, 0.75974, 0.42035,
        0.70431, 0.21371, 0.61459, 0.57754, 0.60332, 0.49746, 0.47250, 0.59854, 0.59549, 0.39504, 0.45410,
        0.65498, 0.50905, 0.66679, 0.75400, 0.43625, 0.43698, 0.51500, 0.33000, 0.68125, 0.83500, 0.41000,
        0.71384, 0.18500, 0.57750, 0.47887, 0.52185, 0.54729, 0.51286, 0.51329, 0.49727, 0.03500, 0.52000,
        0.49500, 0.64776, 0.47445, 0.50959, 0.50395, 0.23764, 0.48477, 0.47224, 0.47504, 0.74758, 0.46302,
        0.47000, 0.53000, 0.40500, 0.49898, 0.54311, 0.56816, 0.58495, 0.45034, 0.27393, 0.12652, 0.45944,
        0.00000, 0.01000, 1.00000, 0.20613, 0.48956, 0.50945, 0.49294, 0.05936, 0.49006, 0.51774, 0.44241,
        0.82304, 0.50721, 0.33000, 0.00000, 0.00000, 0.49334, 0.42273, 0.44166, 0.45697, 0.14581, 0.45906,
        0.26125, 0.47214,
    ]
)  # fmt: skip
"""Means of each column of the first pictures' attributes and views, but for the layout of houses."""

SINGLE = [number for number, name in enumerate(VIEW) if not name[-1].isdigit()]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables(SMALL)


def places_of(tables: Tables, table: str) -> np.ndarray:
    rows = csv.DictReader(io.StringIO(tables.csv(table).decode()))
    return np.array(
        [
            [float(row.get(a) or row[b]) for a, b in (("LAT", "latitude"), ("LON", "longitude"))]
            for row in rows
        ]
    )


def nearest_km(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    near = KDTree(geo.unit_xyz(others)).query(geo.unit_xyz(places))[1]
    return geo.geodesic_km(places, others[near])


def sha256_of(tables: Tables) -> str:
    digest = hashlib.sha256()
    for name, data in tables.files().items():
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def test_the_world_of_a_recipe_never_changes(tables: Tables) -> None:
    """Generator version 2 is frozen: another hash is another version."""
    assert sha256_of(tables) == SMALL_SHA256
    assert sha256_of(Tables(spec_of("mini-earth-v2-1"))) == FIRST_SHA256


def test_the_looks_of_a_recipe_never_change(tables: Tables) -> None:
    """Not their bytes: processors may differ in the last digits."""
    photos, street = (tables.rows(table).take(slice(200)) for table in ("photos", "streetview"))
    generator = tables.generator
    found = np.concatenate(
        [
            generator.place_attributes(tables.world, photos).mean(axis=0),
            generator.photo_views(tables.world, photos, hard=False).mean(axis=0)[SINGLE],
            generator.street_views(tables.world, street).mean(axis=0)[SINGLE],
        ]
    )
    assert found == pytest.approx(LOOKS, abs=1e-4)


def test_photos_lie_at_all_distances_from_the_next(tables: Tables) -> None:
    """Version 1 has none from 25 to 80 km."""
    km = nearest_km(places_of(tables, "query-clean"), places_of(tables, "photos"))
    share = np.histogram(km, [0, 1, 5, 25, 80, 200])[0] / len(km)
    assert (share > 0.02).all()


def test_the_sea_stays_empty(tables: Tables) -> None:
    for table in ("photos", "streetview", "query-clean", "query-noisy", "query-street"):
        rows = tables.rows(table)
        assert tables.world.land.is_land(rows.city, rows.east_m, rows.north_m).all()
    colombo = np.array([tables.world.land.name.index("Colombo")])
    assert not tables.world.land.is_land(colombo, np.array([-30_000]), np.array([0])).any()


def test_metres_from_a_place_undo_its_degrees() -> None:
    land = load_settlements()
    places = np.arange(len(land))
    east, north = places % 40_000 - 20_000, places * 7 % 40_000 - 20_000
    back = land.metres_from(places, *land.to_e7(places, east, north))
    assert np.abs(back[0] - east).max() <= 1
    assert np.abs(back[1] - north).max() <= 1


def test_a_road_leads_from_one_place_to_the_other(tables: Tables) -> None:
    roads, land = tables.world.roads, tables.world.land
    number = np.arange(len(land.road_start))
    for along, place in ((0 * number, land.road_start), (roads.length_m[number], land.road_end)):
        city, east, north = roads.point(number, along)
        assert (city == place).all()
        assert np.hypot(east, north).max() < 30
    for place in (0, 17):
        leaving = roads.of_place(np.full(200, place), np.arange(200).astype(np.uint64) << np.uint64(56))
        ends = set(roads.start[leaving].tolist()) | set(
            land.road_end[leaving[leaving < len(number)]].tolist()
        )
        assert place in ends


def test_street_view_is_spread_evenly_along_roads() -> None:
    """Hardly a picture is alone, and hardly one stands where another does."""
    world = Tables(spec_of("mini-earth-v2-1")).world
    rows = world.streetview()
    assert len(rows) == 48_000
    points = geo.unit_xyz(np.stack(world.land.to_e7(rows.city, rows.east_m, rows.north_m), axis=1) / 1e7)
    km = 6371 * KDTree(points).query(points, k=2)[0][:, 1]
    assert np.quantile(km, 0.1) > 0.3
    assert np.quantile(km, 0.9) < 10


def test_street_queries_lie_a_kilometre_from_the_street_view_gallery(tables: Tables) -> None:
    rows = tables.rows("streetview")
    split = split_streetview(tables.names("streetview"), creator_names(rows.author))
    gallery = places_of(tables, "streetview")[split == "A"]
    assert len(tables.rows("query-street")) == SMALL.queries
    assert nearest_km(places_of(tables, "query-street"), gallery).min() >= 1.0


def test_neighbours_say_what_one_picture_does_not(tables: Tables) -> None:
    """One picture of a place strays far from the mean of all; the mean of sixteen lies near it."""
    many, generator = tables.rows("photos").take(np.arange(192)), tables.generator
    same = replace(tables.rows("photos").take(np.zeros(192, np.int64)), author=many.author, look=many.look)
    drawn = [
        features(
            render(
                generator.place_attributes(tables.world, rows),
                generator.photo_views(tables.world, rows, hard=False),
            )
        )
        for rows in (same, many)
    ]
    place, world = drawn[0].mean(axis=0), drawn[1].mean(axis=0)
    alone = np.linalg.norm(drawn[0] - place, axis=1).mean()
    together = np.linalg.norm(drawn[0].reshape(12, 16, -1).mean(axis=1) - place, axis=1).mean()
    assert alone > 0.5 * np.linalg.norm(drawn[1] - world, axis=1).mean()
    assert together < 0.4 * alone


def test_the_worlds_of_both_versions_are_registered_and_no_other() -> None:
    assert {name.partition("/")[0] for name in MINI_EARTH} == set(WORLDS)
    assert spec_of("mini-earth") == WorldSpec()
    assert spec_of("mini-earth-v2-3").version == 2
    assert {"mini-earth-v2-3", "mini-earth-v2-4"} < set(HELD_OUT)
    assert MINI_EARTH["mini-earth-v2-1/streetview"][1].expected_rows == 48_000
    with pytest.raises(UsageError, match="no generator of version 3"):
        generator_of(3)


def test_a_world_of_version_2_is_drawn_and_read(tmp_path: object) -> None:
    from pathlib import Path

    spec = WorldSpec(seed=1, photos=60, streetview=60, queries=40, version=2)
    folder = ensure_world(spec, Path(str(tmp_path)), workers=1)
    assert (folder / "photos.csv").read_bytes() == Tables(spec).csv("photos")
    assert '"frozen":1' in (folder / "manifest.json").read_text().replace(" ", "")
    assert {path.suffix for path in folder.glob("*-000.zip")} == {".zip"}
    assert len(list(folder.glob("*-000.zip"))) == 5


def toy(angles: list[float], features: list[list[float]]) -> difficulty.Seen:
    radians = np.radians(angles)
    points = np.stack([np.cos(radians), np.sin(radians), 0 * radians], axis=1)
    return difficulty.Seen(difficulty.of_length_one(np.array(features)), points, np.arange(len(points)))


def test_neighbours_win_a_query_whose_most_similar_picture_lies_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(difficulty, "CANDIDATES", 2)
    own = toy([0, 50, 100], [[1, 0.2, 0], [1, 0, 0.1], [-2, -0.2, -0.1]])
    other = toy([0.01, 0.02, 50.01, 50.02, 90], [[1, 0, 0], [1, 0.1, 0], [-1, 1, 0], [-1, -1, 0], [0, 0, -1]])
    around = difficulty.Around(other.points, other.features.__getitem__)
    asked = toy([0], [[1, 0, 0.1]])
    rows = {figure: cells for _, figure, cells in difficulty.source_rows("toy", asked, own, around)}
    assert rows["nearest neighbour"][1] == 0
    assert rows["oracle of 2"][1] == 100
    assert rows["won by 1 neighbours"][1] == 100
    assert rows["lost by 16 neighbours"] == [0, 0, 0, 0, 0]


def test_an_interval_counts_photographers_not_photos() -> None:
    before, after = np.array([9.0, 9, 9, 9]), np.array([0.5, 0.5, 9, 9])
    widths = [
        {figure: cells for _, figure, cells in difficulty._gain_rows("toy", "", author, before, after)}
        for author in (np.array([0, 0, 1, 1]), np.arange(4))
    ]
    one, many = (figures["half width of won less lost "][0] for figures in widths)
    assert many == pytest.approx(196 * np.sqrt(4 * 0.25) / 4)
    assert one == pytest.approx(196 * np.sqrt(2) / 4)


def test_whitening_makes_pictures_of_a_place_differ_alike_in_all_directions() -> None:
    generator = np.random.default_rng(0)
    places = np.repeat(np.arange(300), 2)
    within = generator.standard_normal((600, 3)) * [1, 0.2, 0.02]
    points = toy(places.tolist(), [[1, 0, 0]] * 600).points
    seen = difficulty.Seen(np.eye(3)[places % 3] * 9 + within, points, np.arange(600))
    mapped = within @ difficulty.whitening(seen)
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(mapped.T)))
    assert spread[2] == pytest.approx(1, abs=0.1)
    assert spread[1] > 0.5  # a fifth of the first direction's before, less for the shrinkage


def test_each_picture_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def raw(job: tuple[WorldSpec, str, np.ndarray]) -> np.ndarray:
        asked.extend(job[2].tolist())
        return np.ones((len(job[2]), 512), np.float32) * job[2][:, None]

    monkeypatch.setattr(difficulty, "_raw_features", raw)
    with ThreadPoolExecutor(1) as pool:
        drawn = difficulty.Drawn(pool, SMALL, "photos")
        drawn.features(np.array([3, 1, 3]))
        again = drawn.features(np.array([2, 3]))
    assert asked == [1, 3, 2]
    assert np.linalg.norm(again, axis=1) == pytest.approx([1, 1])


def test_pairs_are_counted_once_for_each_photographer(tables: Tables) -> None:
    (_, figure, pairs), (_, _, nearest) = difficulty.where_rows(SMALL)
    assert figure == "pairs"
    assert list(pairs) == sorted(pairs)
    assert 0.001 < pairs[0] < pairs[1] < 2 < pairs[4] < 50
    assert list(nearest) == sorted(nearest)
    assert (tables.rows("photos").kind == PLACEHOLDER).any()
