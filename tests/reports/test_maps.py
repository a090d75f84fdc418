"""The land behind maps: where it lies, how it is drawn and what an extent may be."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from pinpoint_datasets.mini_earth.geography import load_geography
from pinpoint_harness.errors import UsageError
from pinpoint_harness.images import Failure
from pinpoint_harness.images.decode import decode
from pinpoint_harness.reports.build_outlines import cut, outlines
from pinpoint_harness.reports.maps import (
    LAND_COLOUR,
    SEA_COLOUR,
    Extent,
    latitude_label,
    longitude_label,
    longitude_on,
    png,
    printable,
    world_axes,
)
from pinpoint_harness.reports.outlines import border_lines, coast_lines, land_rings, pack, unpack

PLACES = {
    "Paris": (48.86, 2.35, True),
    "Alice Springs": (-23.70, 133.88, True),
    "the South Pole": (-90.0, 0.0, True),
    "Viti Levu": (-17.8, 178.0, True),
    "the North Pole": (90.0, 0.0, False),
    "the Gulf of Guinea": (0.0, 0.0, False),
    "the Tasman Sea": (-38.0, 160.0, False),
    "east of Fiji": (-18.0, -178.0, False),
}


@functools.cache
def land() -> np.ndarray:
    """Cells of 0.1 degree, `(1800, 3600)`, from the north-west corner: the rings as Pillow fills them."""
    picture = Image.new("1", (3600, 1800))
    for ring in sorted(land_rings(), key=signed_area):  # land, which runs clockwise, before the seas in it
        corners = [((x + 180) * 10 - 0.5, (90 - y) * 10 - 0.5) for x, y in ring.tolist()]
        ImageDraw.Draw(picture).polygon(corners, fill=int(signed_area(ring) < 0))
    return np.asarray(picture)


def signed_area(ring: np.ndarray) -> float:
    x, y = ring.astype(np.float64).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def is_land(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Whether points lie on land, to 0.1 degree."""
    row = np.clip(np.floor((90 - latitude) * 10).astype(int), 0, 1799)
    return np.asarray(land()[row, np.floor((longitude + 180) * 10).astype(int) % 3600])


@pytest.mark.parametrize("name", PLACES)
def test_known_places_lie_on_land_or_at_sea(name: str) -> None:
    latitude, longitude, dry = PLACES[name]
    assert bool(is_land(np.array([latitude]), np.array([longitude]))[0]) is dry


def test_land_covers_as_much_of_the_earth_as_it_should() -> None:
    latitude = 90 - (np.arange(1800) + 0.5) / 10
    share = float(np.average(land().mean(axis=1), weights=np.cos(np.radians(latitude))))
    assert share == pytest.approx(0.292, abs=0.005)  # 149 of 510 million square kilometres


def test_the_worlds_cities_stand_on_land() -> None:
    # From another source, GeoNames; some stand on islands and headlands smaller than half a cell.
    cities = load_geography()
    assert is_land(cities.latitude_e7 / 1e7, cities.longitude_e7 / 1e7).mean() > 0.9


def test_rings_are_closed_and_no_line_leaps_over_the_map() -> None:
    for ring in land_rings():
        assert ring.dtype == np.float32
        assert ring[0].tolist() == ring[-1].tolist()
        assert signed_area(ring) != 0
    for line in [*coast_lines(), *border_lines()]:
        assert len(line) >= 2
        assert np.abs(np.diff(line[:, 0])).max() < 30
        assert not ((line[:, 1] == -90) | (np.abs(line[:, 0]) == 180)).all()


def test_a_border_runs_where_two_countries_meet() -> None:
    points = np.concatenate(border_lines())
    for longitude, latitude in ((8.23, 48.97), (-117.12, 32.53), (25.0, 22.0)):  # Rhine, Tijuana, Sudan
        assert np.hypot(*(points - [longitude, latitude]).T).min() < 0.3
    assert not ((points[:, 1] < -60).any())


def test_what_two_countries_share_is_a_border_and_land_is_its_rings() -> None:
    arcs = [np.array(arc, np.float32) for arc in ([[4, 0], [4, 4]], [[4, 4], [0, 4], [0, 0], [4, 0]])]
    countries = [{"type": "Polygon", "arcs": [[0, 1]]}, {"type": "MultiPolygon", "arcs": [[[~0]]]}]
    topology = {
        "objects": {
            "countries": {"type": "GeometryCollection", "geometries": countries},
            "land": {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "arcs": [[0, 1]]}]},
        }
    }
    rings, borders = outlines(topology, arcs)
    assert [ring.tolist() for ring in rings] == [[[4, 0], [4, 4], [0, 4], [0, 0], [4, 0]]]
    assert [line.tolist() for line in borders] == [[[4, 0], [4, 4]]]


def test_land_across_the_antimeridian_is_cut_there() -> None:
    pytest.importorskip("shapely", reason="a dependency of the script alone, which is run once")
    ring = np.array([[174, 0], [174, 4], [-170, 4], [-170, 0], [174, 0]], np.float32)
    west, east = cut(ring)
    assert (signed_area(west), signed_area(east)) == (-40.0, -24.0)
    assert (west[:, 0].min(), west[:, 0].max()) == (-180, -170)
    assert (east[:, 0].min(), east[:, 0].max()) == (174, 180)


def test_lines_come_back_from_the_file_as_they_went_in() -> None:
    lines = [
        np.array([[-180, -90], [180, 90], [0, 0]], np.float32),
        np.array([[179.5, -89], [-179.5, 89]], np.float32),
    ]
    back = unpack(*pack(lines))
    assert [line.tolist() for line in back] == [line.tolist() for line in lines]


def drawn(extent: Extent | None, places: np.ndarray) -> np.ndarray:
    """The colours at some places of a map as a PNG, `(n, 3)`."""
    figure = Figure(figsize=(8, 6), dpi=80)
    axes = world_axes(figure, extent=extent)
    picture = decode(png(figure))
    assert not isinstance(picture, Failure)
    x = longitude_on(axes, places[:, 1])
    across, up = axes.transData.transform(np.stack([x, places[:, 0]], axis=1)).T.astype(int)
    colours: np.ndarray = picture[len(picture) - 1 - up, across]
    return colours


@pytest.mark.parametrize(
    "extent", [None, (-12.0, 34.0, 40.0, 62.0), (165.0, -25.0, -170.0, -10.0), (2.0, 48.0, 3.5, 51.5)]
)
def test_the_drawing_shows_land_where_land_is(extent: Extent | None) -> None:
    west, south, east, north = extent or (-180.0, -90.0, 180.0, 90.0)
    width = (east - west) % 360 or 360
    across, up = np.random.default_rng(0).uniform(0.03, 0.97, (2, 2000))  # clear of the frame
    places = np.stack([south + up * (north - south), (west + across * width + 180) % 360 - 180], axis=1)
    margin = 0.006 * width + 0.15  # a dot or two, and what smoothing takes
    around = [
        is_land(places[:, 0] + dy * margin, places[:, 1] + dx * margin)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    inland, offshore = np.all(around, axis=0), ~np.any(around, axis=0)
    assert inland.sum() + offshore.sum() > 500
    colours = drawn(extent, places)
    to_land, to_sea = (
        np.abs(colours - 255 * np.array(to_rgb(colour))).max(axis=1) for colour in (LAND_COLOUR, SEA_COLOUR)
    )
    looks_dry = to_land < to_sea  # borders, too
    assert (~looks_dry[inland]).sum() <= 0.01 * inland.sum()
    assert looks_dry[offshore].sum() <= 0.01 * offshore.sum()  # islets between the nine points


def test_an_extent_becomes_the_limits_true_to_scale_in_its_middle() -> None:
    axes = world_axes(Figure(), extent=(10.0, 50.0, 20.0, 70.0), title="north")
    assert (axes.get_xlim(), axes.get_ylim()) == ((10, 20), (50, 70))
    assert axes.get_aspect() == pytest.approx(2.0)  # 1 / cos 60°
    assert axes.get_title() == "north"
    assert world_axes(Figure()).get_aspect() == 1


def test_across_the_antimeridian_x_runs_on_beyond_180() -> None:
    axes = world_axes(Figure(), extent=(170.0, -30.0, -160.0, 0.0))
    assert axes.get_xlim() == (170, 200)
    assert longitude_on(axes, np.array([175.0, -175.0, 180.0, -180.0])).tolist() == [175, 185, 180, 180]
    assert axes.xaxis.get_major_formatter()(190.0) == "170°W"


@settings(max_examples=20)
@given(st.floats(-180, 180))
def test_elsewhere_longitudes_stay_as_they_are(longitude: float) -> None:
    axes = Figure().add_subplot(xlim=(-180, 180))
    assert longitude_on(axes, np.array([longitude])).tolist() == [longitude]


@pytest.mark.parametrize(
    "extent", [(0, 10, 0, 20), (0, 20, 10, 10), (0, -91, 10, 0), (-181, 0, 0, 10), (0, 0, 190, 10)]
)
def test_an_empty_extent_or_one_off_the_earth_is_refused(extent: Extent) -> None:
    with pytest.raises(UsageError, match="no map has the extent"):
        world_axes(Figure(), extent=extent)


def test_degrees_are_labelled_as_on_maps() -> None:
    labels = [longitude_label(degrees) for degrees in (-180, -60, 0, 2.5, 180, 190, 540)]
    assert labels == ["180°", "60°W", "0°", "2.5°E", "180°", "170°W", "180°"]
    assert [latitude_label(degrees) for degrees in (-90, 0, 45.25)] == ["90°S", "0°", "45.25°N"]


def test_text_from_files_is_drawn_as_it_is_or_with_question_marks() -> None:
    assert printable("a $x^{\nb\t京 Ωж") == "a $x^{ b ? Ωж"
    png_bytes = []
    for _ in range(2):
        figure = Figure(figsize=(3, 2))
        world_axes(figure, title="$\\broken{ 京")  # a formula or a missing sign would be an error here
        png_bytes.append(png(figure))
    assert png_bytes[0] == png_bytes[1]
