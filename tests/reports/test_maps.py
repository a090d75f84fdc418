"""The land behind maps: where it lies, how it is drawn and what an extent may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from pinpoint_datasets.mini_earth.geography import load_geography
from pinpoint_harness.errors import UsageError
from pinpoint_harness.images import Failure
from pinpoint_harness.images.decode import decode
from pinpoint_harness.reports.build_land import land_cells
from pinpoint_harness.reports.maps import (
    LAND_COLOUR,
    SEA_COLOUR,
    Extent,
    land,
    latitude_label,
    longitude_label,
    longitude_on,
    png,
    printable,
    world_axes,
)

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


def test_a_cell_is_land_where_half_its_samples_are() -> None:
    sea = np.array([[0, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 1]], dtype=bool)
    assert land_cells(sea, points=2).tolist() == [[True, False, True]]


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
    for chosen, colour in ((inland, LAND_COLOUR), (offshore, SEA_COLOUR)):
        other = np.abs(colours[chosen].astype(int) - colour).max(axis=1) > 8
        assert other.sum() <= 0.01 * chosen.sum()  # islets between the nine points


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
