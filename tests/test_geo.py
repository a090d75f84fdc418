"""Distances against hand-computed cases, other formulas and geopy."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import geopy.distance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod

from pinpoint_harness import geo
from pinpoint_harness.errors import UsageError

Floats = NDArray[np.float64]
Pairs = tuple[Floats, Floats]

ALL_DISTANCES = (geo.haversine_km, geo.great_circle_km, geo.geodesic_km)
ONE_DEGREE_KM = np.pi / 180 * 6371.0

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
points = st.tuples(latitudes, longitudes)


def pairs(n: int, seed: int = 0) -> Pairs:
    """A fifth each: anywhere, neighbours, near-antipodes, exact antipodes and poles, antimeridian."""
    generator = np.random.default_rng(seed)

    def anywhere(count: int) -> Floats:
        latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, count)))
        return np.stack([latitude, generator.uniform(-180, 180, count)], axis=1)

    def offsets(count: int) -> Floats:
        scale: Floats = 10 ** generator.uniform(-7, 0.5, (count, 1))
        return generator.normal(size=(count, 2)) * scale

    def antipodes(of: Floats) -> Floats:
        return np.stack([-of[:, 0], np.where(of[:, 1] > 0, of[:, 1] - 180, of[:, 1] + 180)], axis=1)

    a, b = anywhere(n), anywhere(n)
    anywhere_rows, near, almost_opposite, opposite, seam = np.array_split(np.arange(n), 5)
    assert len(anywhere_rows)
    b[near] = a[near] + offsets(len(near))
    b[almost_opposite] = antipodes(a[almost_opposite]) + offsets(len(almost_opposite))
    a[opposite[::4], 0] = 90.0
    a[opposite[1::4], 0] = -90.0
    b[opposite] = antipodes(a[opposite])
    a[seam, 1], b[seam, 1] = 180 - np.abs(offsets(len(seam)).T)
    b[seam, 1] *= -1
    b[:, 0] = b[:, 0].clip(-90, 90)
    b[:, 1] = (b[:, 1] + 180) % 360 - 180
    return a, b


def angle_between_vectors(a: Floats, b: Floats) -> Floats:
    """Central angle by atan2(|cross|, dot), well-conditioned everywhere."""

    def vectors(of: Floats) -> Floats:
        latitude, longitude = np.deg2rad(of).T
        flat = np.cos(latitude)
        return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])

    (x1, y1, z1), (x2, y2, z2) = vectors(a), vectors(b)
    cross = np.sqrt((y1 * z2 - z1 * y2) ** 2 + (z1 * x2 - x1 * z2) ** 2 + (x1 * y2 - y1 * x2) ** 2)
    return np.asarray(np.arctan2(cross, x1 * x2 + y1 * y2 + z1 * z2))


@pytest.fixture(scope="module")
def million_pairs() -> tuple[Floats, Floats, Floats]:
    a, b = pairs(1_000_000)
    return a, b, angle_between_vectors(a, b)


def test_haversine_agrees_with_the_angle_between_vectors_on_a_million_pairs(
    million_pairs: tuple[Floats, Floats, Floats],
) -> None:
    a, b, angle = million_pairs
    expected_km = 6371.0 * angle
    difference_km = np.abs(geo.haversine_km(a, b) - expected_km)
    assert difference_km[expected_km < 15_000].max() < 2e-11
    assert difference_km[expected_km < 20_000].max() < 1e-8
    assert difference_km.max() < 3e-4


def test_great_circle_agrees_with_the_angle_between_vectors_on_a_million_pairs(
    million_pairs: tuple[Floats, Floats, Floats],
) -> None:
    a, b, angle = million_pairs
    assert np.abs(geo.great_circle_km(a, b) - 6371.009 * angle).max() < 2e-11


def test_great_circle_equals_geopy() -> None:
    a, b = pairs(5_000, seed=1)
    expected = [geopy.distance.great_circle(p, q).km for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(geo.great_circle_km(a, b), expected, rtol=0, atol=1e-10)


def test_geodesic_equals_geopy() -> None:
    a, b = pairs(1_500, seed=2)
    expected = [geopy.distance.geodesic(p, q).km for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(geo.geodesic_km(a, b), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("reach_deg", [1e-9, 1e-6, 1e-3, 0.3, 10.0, 100.0])
def test_geodesic_equals_pyproj_to_rounding(reach_deg: float) -> None:
    generator = np.random.default_rng(3)
    sines, longitude = generator.uniform([[-1], [-180]], [[1], [180]], (2, 3_000))
    a = np.stack([np.degrees(np.arcsin(sines)), longitude])
    a[0, :9] = 0, 0, 0, 90, -90, 90, -90, 1e-12, 89.999999
    b = a + reach_deg * generator.normal(size=a.shape)
    b[0, :2], b[1, 2:4] = 0, a[1, 2:4]
    a[0, 20:420], a[1, 20:420] = 0, np.linspace(-180, 540, 400)
    b[:, 20:220] = [[0], [179.6]]  # some nearly, some all the way round
    b[0] = b[0].clip(-90, 90)
    _, _, expected_m = Geod(ellps="WGS84").inv(a[1], a[0], b[1], b[0])
    assert np.abs(geo.geodesic_km(a.T, b.T) - expected_m / 1000).max() < 2e-11


def test_pyproj_is_imported_for_antipodes_alone() -> None:
    script = (
        "import sys; from pinpoint_harness.geo import geodesic_km;"
        "geodesic_km([(0, 0), (90, 0), (50, 2), (50, 2)], [(0, 170), (-80, 0), (50, 2), (-30, -150)]);"
        "assert 'pyproj' not in sys.modules; geodesic_km([(0, 0)], [(0.1, 179.9)]);"
        "assert 'pyproj' in sys.modules"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_no_place_is_reached_beyond_a_pole_or_at_infinity() -> None:
    nowhere = [(90.0000001, 0), (-91, 0), (0, np.inf), (-np.inf, 0)]
    assert np.isnan(geo.geodesic_km(nowhere, (0, 0))).all()
    assert np.isnan(geo.geodesic_km((0, 0), nowhere)).all()


def test_known_arcs_have_known_lengths() -> None:
    assert geo.haversine_km((0, 0), (0, 1)) == pytest.approx([ONE_DEGREE_KM])
    assert geo.haversine_km((90, 17), (-90, -100)) == pytest.approx([np.pi * 6371.0])
    assert geo.great_circle_km((0, 0), (45, 180)) == pytest.approx([np.pi * 0.75 * 6371.009])
    # On the equator a geodesic is an arc of the semi-major axis, 6378.137 km.
    assert geo.geodesic_km((0, 0), (0, 1)) == pytest.approx([np.pi / 180 * 6378.137])
    # The quarter meridian of WGS84.
    assert geo.geodesic_km((0, 0), (90, 0)) == pytest.approx([10_001.965729])


@pytest.mark.parametrize("distance", ALL_DISTANCES)
def test_the_antimeridian_is_no_border(distance: Callable[..., Floats]) -> None:
    across, beside = distance([(10, 179.5), (10, 10)], [(10, -179.5), (10, 11)])
    assert across == pytest.approx(beside, rel=1e-9)


@pytest.mark.parametrize("distance", ALL_DISTANCES)
def test_all_longitudes_meet_at_a_pole(distance: Callable[..., Floats]) -> None:
    assert distance([(90, 0), (-90, 12)], [(90, 133), (-90, -150)]) == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("distance", ALL_DISTANCES)
def test_an_unknown_coordinate_has_an_unknown_distance_and_spoils_no_other(
    distance: Callable[..., Floats],
) -> None:
    found = distance([(np.nan, np.nan), (0, 0), (0, np.nan), (1, 1)], [(0, 0), (0, np.nan), (0, 0), (1, 1)])
    assert np.isnan(found).tolist() == [True, True, True, False]
    assert found[3] == 0


@pytest.mark.parametrize("distance", ALL_DISTANCES)
@settings(deadline=None, max_examples=50)
@given(a=points, b=points)
def test_the_way_back_is_as_long(
    distance: Callable[..., Floats], a: tuple[float, float], b: tuple[float, float]
) -> None:
    np.testing.assert_allclose(distance(a, b), distance(b, a), rtol=1e-12, atol=3e-4)


@pytest.mark.parametrize("distance", ALL_DISTANCES)
def test_a_single_point_is_paired_with_every_row(distance: Callable[..., Floats]) -> None:
    a, _ = pairs(50)
    london = (51.5074, -0.1278)
    everywhere = np.tile(london, (50, 1))
    np.testing.assert_array_equal(distance(a, london), distance(a, everywhere))
    np.testing.assert_array_equal(distance(london, a), distance(everywhere, a))
    assert distance(london, london).shape == (1,)
    assert distance(np.empty((0, 2)), london).shape == (0,)


def test_float32_coordinates_are_measured_in_float64() -> None:
    a, b = (side.astype(np.float32) for side in pairs(100))
    np.testing.assert_array_equal(
        geo.haversine_km(a, b), geo.haversine_km(a.astype(np.float64), b.astype(np.float64))
    )


def test_tables_of_different_length_are_not_broadcast() -> None:
    with pytest.raises(UsageError, match="1 and 3 rows"):
        geo.haversine_km(np.zeros((1, 2)), np.zeros((3, 2)))


@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 2, 2), ()])
def test_anything_but_latitude_and_longitude_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"\(latitude, longitude\)"):
        geo.great_circle_km(np.zeros(shape), (0, 0))


def test_unit_xyz_refuses_a_bare_point() -> None:
    with pytest.raises(UsageError, match="shape"):
        geo.unit_xyz((1.0, 2.0))


@pytest.mark.parametrize("distance", ALL_DISTANCES)
def test_chunks_do_not_show(distance: Callable[..., Floats], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pairs(1_000)
    whole = distance(a, b)
    monkeypatch.setattr(geo, "_CHUNK_ROWS", 37)
    np.testing.assert_allclose(distance(a, b), whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize("distance", ALL_DISTANCES)
def test_temporaries_stay_small_however_many_rows(distance: Callable[..., Floats]) -> None:
    rows = 400_000
    a = np.zeros((rows, 2), dtype=np.float32)
    tracemalloc.start()
    try:
        result = distance(a, (1.0, 1.0))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes - result.nbytes < 16 * 2**20


def test_unit_vectors_point_where_they_should() -> None:
    found = geo.unit_xyz([(0, 0), (0, 90), (90, 55), (0, 180)])
    np.testing.assert_allclose(found, [(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0)], atol=1e-15)


@settings(deadline=None)
@given(a=points, b=points)
def test_the_chord_between_unit_vectors_is_the_chord_of_the_distance(
    a: tuple[float, float], b: tuple[float, float]
) -> None:
    chord = np.linalg.norm(np.subtract(*geo.unit_xyz([a, b])))
    assert geo.chord_from_km(geo.great_circle_km(a, b, 6371.0)) == pytest.approx([chord], abs=1e-12)


@settings(deadline=None)
@given(st.floats(0, 19_000))
def test_a_distance_survives_the_way_to_a_chord_and_back(distance_km: float) -> None:
    assert geo.km_from_chord(geo.chord_from_km(distance_km)) == pytest.approx(distance_km, rel=1e-12)


def test_a_metre_is_not_lost_in_a_chord() -> None:
    chord = np.linalg.norm(np.subtract(*geo.unit_xyz([(48.0, 2.0), (48.0 + 0.001 / ONE_DEGREE_KM, 2.0)])))
    assert geo.km_from_chord(chord) == pytest.approx(0.001, rel=1e-6)


def test_a_distance_beyond_the_antipode_reaches_the_whole_sphere() -> None:
    assert geo.chord_from_km([30_000.0, np.inf]).tolist() == [2.0, 2.0]
    assert geo.chord_from_km(100.0, radius_km=100.0) == pytest.approx(2 * np.sin(0.5))


def test_measuring_imports_neither_torch_nor_pandas_and_pyproj_only_when_used() -> None:
    script = (
        "import sys; from pinpoint_harness import geo;"
        "from pinpoint_harness.evaluation import bootstrap, metrics, protocols;"
        "heavy = {'torch', 'pandas', 'scipy', 'pyproj', 'geopy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_a_pair_alone_is_as_far_apart_as_among_others() -> None:
    places = np.random.default_rng(0).uniform([-90, -180], [90, 180], (50, 2))
    others = np.roll(places, 1, axis=0)
    together = geo.geodesic_km(places, others)
    alone = [geo.geodesic_km(places[row : row + 1], others[row : row + 1])[0] for row in range(50)]
    assert together.tolist() == alone
