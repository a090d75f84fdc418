"""Presets against the table of protocols, and golden numbers that anyone can recompute."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation import PROTOCOLS, get_protocol, hits
from pinpoint_harness.evaluation.metrics import geoscore, mean_km
from pinpoint_harness.evaluation.protocols import Protocol
from pinpoint_harness.types import RADII_KM

EVERY_NAME = sorted(PROTOCOLS)


def test_the_presets_are_those_of_the_field() -> None:
    found = {
        (p.name, p.distance, p.radius_km, "<=" if p.inclusive else "<", p.round_geoscore)
        for p in PROTOCOLS.values()
    }
    assert found == {
        ("haversine-6371-le", "haversine", 6371.0, "<=", False),
        ("haversine-6371-lt", "haversine", 6371.0, "<", False),
        ("haversine-6378-lt", "haversine", 6378.137, "<", True),
        ("wgs84-le", "wgs84", None, "<=", False),
        ("wgs84-lt", "wgs84", None, "<", True),
        ("great-circle-6371.009-le", "great-circle", 6371.009, "<=", False),
    }


@pytest.mark.parametrize("name", EVERY_NAME)
def test_a_preset_is_found_by_its_name_and_says_who_uses_it(name: str) -> None:
    assert get_protocol(name).name == name
    assert get_protocol(name).used_by


def test_an_unknown_protocol_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="haversine-6371") as caught:
        get_protocol("haversine-6371")
    assert caught.value.found is not None
    assert all(name in caught.value.found for name in PROTOCOLS)


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_protocol("wgs84-lt").inclusive = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        PROTOCOLS["mine"] = get_protocol("wgs84-lt")  # type: ignore[index]


@pytest.mark.parametrize(("distance", "radius_km"), [("wgs84", 6371.0), ("haversine", None)])
def test_a_radius_belongs_to_a_sphere_and_only_there(distance: str, radius_km: float | None) -> None:
    with pytest.raises(UsageError, match="does not define a distance"):
        Protocol("mine", distance, radius_km, True, False, "nobody")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "one_degree_north_km"),
    [
        ("haversine-6371-le", np.pi / 180 * 6371.0),
        ("haversine-6371-lt", np.pi / 180 * 6371.0),
        ("haversine-6378-lt", np.pi / 180 * 6378.137),
        ("great-circle-6371.009-le", np.pi / 180 * 6371.009),
        # Meridian arc from the equator to 1 degree: 110.574 km in every table of WGS84.
        ("wgs84-le", 110.574388558),
        ("wgs84-lt", 110.574388558),
    ],
)
def test_each_protocol_measures_its_own_distance(name: str, one_degree_north_km: float) -> None:
    assert get_protocol(name).distance_km([(0, 0)], [(1, 0)]) == pytest.approx(
        [one_degree_north_km], rel=1e-10
    )


@pytest.mark.parametrize("name", EVERY_NAME)
def test_no_answer_and_no_place_on_earth_are_infinitely_far(name: str) -> None:
    answers = [
        (np.nan, np.nan),
        (10.0, np.nan),
        (90.5, 0.0),
        (-1e9, 0.0),
        (0.0, np.inf),
        (np.inf, 0.0),
        (0.0, 360.0),
        (0.0, 0.0),
    ]
    error_km = get_protocol(name).distance_km(np.zeros((8, 2)), answers)
    assert error_km[:7].tolist() == [np.inf] * 7
    assert error_km[7] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", EVERY_NAME)
def test_a_constant_answer_without_a_place_misses_every_row(name: str) -> None:
    assert get_protocol(name).distance_km(np.ones((3, 2)), (np.nan, np.nan)).tolist() == [np.inf] * 3


def test_a_truth_without_a_coordinate_is_an_error_and_not_a_miss() -> None:
    truth = [(0, 0), (np.nan, 1), (91, 1)]
    with pytest.raises(DataError, match="2 without one, first at row 1"):
        get_protocol("wgs84-lt").distance_km(truth, np.zeros((3, 2)))


def test_truth_and_answers_must_be_equally_many() -> None:
    with pytest.raises(UsageError, match="2 and 3 rows"):
        get_protocol("wgs84-lt").distance_km(np.zeros((2, 2)), np.zeros((3, 2)))


def coordinates(path: Path, latitude: str, longitude: str) -> dict[str, tuple[float, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    key = "id" if "id" in rows[0] else "IMG_ID"
    return {row[key]: (float(row[latitude]), float(row[longitude])) for row in rows}


def counts(error_km: NDArray[np.float64], protocol: Protocol) -> list[int]:
    found: list[int] = hits(error_km, RADII_KM, protocol.inclusive).sum(axis=0).tolist()
    return found


CONSTANTS = {"null island": (0, 0), "London": (51.5074, -0.1278), "New York": (40.7128, -74.0060)}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "rows", "golden"),
    [
        (
            "im2gps_places365.csv",
            237,
            {"null island": [0, 0, 0, 0, 2], "London": [1, 5, 9, 29, 87], "New York": [0, 2, 5, 15, 34]},
        ),
        (
            "yfcc4k.csv",
            4536,
            {
                "null island": [0, 0, 0, 0, 6],
                "London": [10, 88, 285, 858, 1771],
                "New York": [9, 106, 182, 551, 1073],
            },
        ),
    ],
)
def test_constant_answers_score_the_golden_hits(
    real_data: Path, file: str, rows: int, golden: dict[str, list[int]]
) -> None:
    truth = np.array(list(coordinates(real_data / file, "LAT", "LON").values()))
    assert len(truth) == rows
    protocol = get_protocol("haversine-6371-le")
    found = {name: counts(protocol.distance_km(truth, place), protocol) for name, place in CONSTANTS.items()}
    assert found == golden


@pytest.mark.realdata
def test_the_published_osv5m_baseline_scores_its_golden_numbers(real_data: Path) -> None:
    truth = coordinates(real_data / "osv5m" / "test.csv", "latitude", "longitude")
    answers = coordinates(real_data / "osv5m" / "baseline_predictions.csv", "latitude", "longitude")
    protocol = get_protocol("haversine-6371-lt")
    error_km = protocol.distance_km(list(truth.values()), [answers[key] for key in truth])
    assert counts(error_km, protocol) == [0, 17, 34, 45, 59]
    mean, answered = mean_km(error_km)
    assert mean == pytest.approx(1459.45, abs=0.005)
    assert answered == 71
    assert geoscore(error_km, protocol.round_geoscore).mean() == pytest.approx(3306.24, abs=0.005)
