"""Mini-Earth's geography and draws: the same world everywhere, real land, honest splits and leaks."""

from __future__ import annotations

import csv
import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from pinpoint_datasets.mini_earth.archive import Tables
from pinpoint_datasets.mini_earth.draws import bell, below, draw, isqrt, mix, pick
from pinpoint_datasets.mini_earth.geography import DRIVES_LEFT, load_geography
from pinpoint_datasets.mini_earth.splits import (
    creator_names,
    md5_number,
    photographer_names,
    split_streetview,
)
from pinpoint_datasets.mini_earth.world import EXACT_DUPLICATE, NEAR_DUPLICATE, PLACEHOLDER, WorldSpec
from pinpoint_harness import geo

SMALL_SHA256 = "64e9e9646a0b9171f18fb1f06323336c897f3c0e898e86431ba250e101d5c162"
DEFAULT_SHA256 = "763fdcf76f20b89938e0b8c48c351ddf520484a702767bd5021efe7cd97fa939"
SMALL = WorldSpec(seed=1, photos=3000, streetview=3000, queries=500)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables(SMALL)


def rows_of(tables: Tables, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tables.csv(table).decode())))


def coordinates(rows: list[dict[str, str]]) -> np.ndarray:
    names = ("LAT", "LON") if "LAT" in rows[0] else ("latitude", "longitude")
    return np.array([[float(row[name]) for name in names] for row in rows])


def tables_sha256(spec: WorldSpec) -> str:
    """One hash over all tables of a world: ids, coordinates, people and leaks."""
    digest = hashlib.sha256()
    for name, data in Tables(spec).files().items():
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def test_the_world_of_a_recipe_never_changes() -> None:
    """Generator version 1 is frozen: another hash is another version."""
    assert tables_sha256(SMALL) == SMALL_SHA256
    assert tables_sha256(WorldSpec()) == DEFAULT_SHA256


def test_another_seed_is_another_world() -> None:
    assert tables_sha256(WorldSpec(seed=2, photos=300, streetview=300, queries=50)) != tables_sha256(
        WorldSpec(seed=1, photos=300, streetview=300, queries=50)
    )


def test_the_draws_are_splitmix64() -> None:
    # The first three outputs for seed 1234567, as published with the algorithm.
    state, golden = 1234567, 0x9E3779B97F4A7C15
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = np.array([(state + golden * (step + 1)) % 2**64 for step in range(3)], np.uint64)
    assert mix(states).tolist() == expected


@given(st.integers(0, 2**31), st.integers(1, 2**31 - 1))
def test_draws_stay_below_their_limit(key: int, limit: int) -> None:
    assert 0 <= below(draw(1, "test", key), limit)[0] < limit


@given(st.lists(st.integers(0, 2**50), min_size=1, max_size=20))
def test_integer_roots_are_exact(values: list[int]) -> None:
    import math

    assert isqrt(np.array(values, np.int64)).tolist() == [math.isqrt(value) for value in values]


def test_a_draw_depends_on_its_own_keys_alone() -> None:
    together = draw(5, "test", np.arange(100), 3)
    assert together[41] == draw(5, "test", 41, 3)[0]
    assert len(set(together.tolist())) == 100


def test_weighted_choice_follows_the_weights() -> None:
    chosen = pick(draw(1, "test", np.arange(30_000)), np.cumsum([1, 0, 2]))
    counts = np.bincount(chosen, minlength=3)
    assert counts[1] == 0
    assert counts[2] / counts[0] == pytest.approx(2, rel=0.05)


def test_bell_draws_are_centred_and_bounded() -> None:
    drawn = bell(1, "test", np.arange(20_000), half_width=1000)
    assert abs(drawn.mean()) < 20
    assert drawn.std() == pytest.approx(577, rel=0.03)
    assert np.abs(drawn).max() <= 2000


def test_cities_are_real_places() -> None:
    land = load_geography()
    paris = land.name.index("Paris")
    assert land.country[paris] == "FR"
    assert land.population[paris] > 2_000_000
    latitude, longitude = land.to_e7(np.array([paris]), np.array([0]), np.array([0]))
    assert (latitude[0] / 1e7, longitude[0] / 1e7) == pytest.approx((48.85, 2.35), abs=0.02)
    assert {"GB", "JP", "AU", "IN"} <= DRIVES_LEFT
    assert not {"FR", "US", "CN"} & DRIVES_LEFT


def test_metres_within_a_window_are_metres_on_the_ellipsoid() -> None:
    land = load_geography()
    cities = np.arange(len(land))
    centre = np.stack(land.to_e7(cities, 0 * cities, 0 * cities), axis=1) / 1e7
    moved = np.stack(land.to_e7(cities, 0 * cities + 6000, 0 * cities - 8000), axis=1) / 1e7
    assert geo.geodesic_km(centre, moved) == pytest.approx(np.full(len(land), 10), rel=0.015)


def test_windows_of_two_cities_never_overlap() -> None:
    land = load_geography()
    points = geo.unit_xyz(np.stack([land.latitude_e7, land.longitude_e7], axis=1) / 1e7)
    nearest = KDTree(points).query(points, k=2)[0][:, 1]
    assert nearest.min() * 6371 > 64


def test_the_sea_stays_empty(tables: Tables) -> None:
    for table in ("photos", "streetview", "query-clean", "query-noisy", "query-street"):
        rows = tables.rows(table)
        assert tables.world.land.is_land(rows.city, rows.east_m, rows.north_m).all()
    colombo = np.array([tables.world.land.name.index("Colombo")])
    assert not tables.world.land.is_land(colombo, np.array([-20_000]), np.array([0])).any()


def test_street_queries_lie_a_kilometre_from_the_street_view_gallery(tables: Tables) -> None:
    gallery = rows_of(tables, "streetview")
    split = split_streetview([row["id"] for row in gallery], [row["creator_id"] for row in gallery])
    places = coordinates(gallery)[split == "A"]
    queries = coordinates(rows_of(tables, "query-street"))
    _, near = KDTree(geo.unit_xyz(places)).query(geo.unit_xyz(queries))
    assert geo.geodesic_km(queries, places[near]).min() >= 1.0


def test_about_a_fifth_of_the_countries_have_no_street_view() -> None:
    tables = Tables(WorldSpec())
    countries = set(tables.world.land.country[tables.rows("streetview").city].tolist())
    assert 0.7 < len(countries) / len(tables.world.land.countries) < 0.9


def test_clean_queries_share_no_photographer_with_the_gallery(tables: Tables) -> None:
    authors = {
        table: {row["AUTHOR"] for row in rows_of(tables, table)} for table in ("photos", "query-clean")
    }
    assert not authors["photos"] & authors["query-clean"]


def test_noisy_photographers_all_stand_in_the_gallery(tables: Tables) -> None:
    gallery = {row["AUTHOR"] for row in rows_of(tables, "photos") if md5_number(row["IMG_ID"]) % 100 < 75}
    assert {row["AUTHOR"] for row in rows_of(tables, "query-noisy")} <= gallery


def test_every_planted_leak_is_listed_with_its_original(tables: Tables) -> None:
    leaks = list(csv.DictReader(io.StringIO(tables.leaks().decode())))
    photos = {row["IMG_ID"]: row for row in rows_of(tables, "photos")}
    noisy = rows_of(tables, "query-noisy")
    assert [leak["IMG_ID"] for leak in leaks] == [row["IMG_ID"] for row in noisy]
    kinds = {leak["leak"] for leak in leaks}
    assert kinds == {"same-photographer", "near-duplicate", "exact-duplicate", "placeholder"}
    for leak, row in zip(leaks, noisy, strict=True):
        assert bool(leak["original"]) == leak["leak"].endswith("duplicate")
        if leak["original"]:
            original = photos[leak["original"]]
            assert original["AUTHOR"] == row["AUTHOR"]
            here, there = ([float(place[key]) for key in ("LAT", "LON")] for place in (row, original))
            assert geo.geodesic_km([here], [there])[0] < (1e-9 if leak["leak"].startswith("exact") else 0.05)


@pytest.mark.parametrize("table", ["query-clean", "query-noisy", "query-street"])
def test_default_query_sets_have_enough_photographers(table: str) -> None:
    authors = Tables(WorldSpec()).rows(table).author
    counts = np.unique(authors, return_counts=True)[1]
    assert counts.sum() >= 8000
    assert len(counts) >= 500
    assert counts.max() <= 0.01 * counts.sum()


def test_ids_are_unique_over_all_tables(tables: Tables) -> None:
    ids = [
        name
        for table in ("photos", "streetview", "query-clean", "query-noisy", "query-street")
        for name in tables.names(table)
    ]
    assert len(set(ids)) == len(ids) == 7500


def test_no_two_people_share_a_name() -> None:
    people = np.concatenate([np.arange(4000), np.arange(1_000_000, 1_001_000)])
    assert len(set(photographer_names(people).tolist())) == len(people)
    assert len(set(creator_names(np.arange(2_000_000, 2_010_000)).tolist())) == 10_000


def test_splits_are_the_md5_of_names(tables: Tables) -> None:
    row = rows_of(tables, "photos")[0]
    bucket = int(hashlib.md5(row["IMG_ID"].encode()).hexdigest(), 16) % 100
    assert md5_number(row["IMG_ID"]) % 100 == bucket


def test_default_galleries_have_the_sizes_promised() -> None:
    tables = Tables(WorldSpec())
    streetview = split_streetview(tables.names("streetview"), creator_names(tables.rows("streetview").author))
    assert 23_500 < (streetview == "A").sum() < 24_500
    assert (streetview == "C").sum() > 1500


def test_some_photos_are_gone(tables: Tables) -> None:
    kinds = tables.rows("photos").kind
    assert 0.005 < (kinds == PLACEHOLDER).mean() < 0.02
    assert not np.isin(kinds, (NEAR_DUPLICATE, EXACT_DUPLICATE)).any()
