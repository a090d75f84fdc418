"""Numbers anyone can recompute from the real truth files, through the commands a user types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.types import RADII_KM

pytestmark = pytest.mark.realdata

PLACES = {"null island": ("0", "0"), "London": ("51.5074", "-0.1278"), "New York": ("40.7128", "-74.0060")}
HITS = {
    ("im2gps", "null island"): [0, 0, 0, 0, 2],
    ("im2gps", "London"): [1, 5, 9, 29, 87],
    ("im2gps", "New York"): [0, 2, 5, 15, 34],
    ("yfcc4k", "null island"): [0, 0, 0, 0, 6],
    ("yfcc4k", "London"): [10, 88, 285, 858, 1771],
    ("yfcc4k", "New York"): [9, 106, 182, 551, 1073],
}
ROWS = {"im2gps": 237, "yfcc4k": 4536}


def report(*words: str) -> Any:
    result = CliRunner().invoke(cli, [*words, "--json"], prog_name="pinpoint")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def hits(scores: dict[str, Any]) -> list[int]:
    cells = [scores["estimates"][f"acc_{radius:g}km"] for radius in RADII_KM]
    return [round(cell["value"] * cell["n"] / 100) for cell in cells]


@pytest.mark.parametrize(("dataset", "place"), HITS)
def test_a_constant_hits_what_the_truth_file_says(
    dataset: str, place: str, real_data: Path, tmp_path: Path
) -> None:
    latitude, longitude = PLACES[place]
    settings = ["--set", f"latitude={latitude}", "--set", f"longitude={longitude}"]
    where = ["--data", str(real_data), "--home", str(tmp_path), "--protocol", "haversine-6371-le"]
    (scores,) = report("run", "constant", dataset, *settings, *where)["scores"]
    assert hits(scores) == HITS[dataset, place]
    assert scores["counts"]["total"] == ROWS[dataset]


def test_the_published_osv5m_baseline_scores_as_its_authors_measure(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "osv5m"
    where = ["--dataset", "osv5m", "--data", str(folder), "--home", str(tmp_path)]
    measured = ["--protocol", "haversine-6371-lt", "--name", "osv5m-baseline"]
    ran = report("score", str(folder / "baseline_predictions.csv"), *where, *measured)
    (scores,) = ran["scores"]
    assert hits(scores) == [0, 17, 34, 45, 59]
    assert round(scores["estimates"]["mean_km"]["value"], 2) == 1459.45
    assert round(scores["estimates"]["geoscore"]["value"], 2) == 3306.24
    assert scores["counts"]["total"] == 71
    assert "71 rows where the dataset has 210,122" in ran["partial"]


def test_place_names_of_the_baseline_score_by_both_presets_and_stand_in_the_table(
    real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "osv5m"
    where = ["--dataset", "osv5m", "--data", str(folder), "--home", str(tmp_path), "--name", "baseline"]
    presets = ["--protocol", "admin-osv5m", "--protocol", "admin-labelled", "--protocol", "haversine-6371-lt"]
    strict, labelled, _ = report("score", str(folder / "baseline_predictions.csv"), *where, *presets)[
        "scores"
    ]

    def cells(scores: dict[str, Any]) -> list[tuple[int, int]]:
        items = scores["estimates"].values()
        return [(round(item["value"] * item["n"] / 100), item["n"]) for item in items]

    assert cells(strict) == [(50, 71), (33, 71), (11, 71), (7, 71)]
    assert cells(labelled) == [(50, 71), (33, 71), (11, 36), (10, 71)]
    words = ["table", "osv5m", "--admin", "admin-labelled", "--home", str(tmp_path), "--format", "md"]
    text = CliRunner().invoke(cli, words, prog_name="pinpoint").stdout
    assert "30.6 [" in text
    assert "place names by admin-labelled" in text


def test_the_ceiling_of_100000_points_is_that_of_a_brute_force(real_data: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, 100_000)))
    points = np.stack([latitude, generator.uniform(-180, 180, 100_000)], axis=1).round(6)
    gallery = tmp_path / "coordinates.csv"
    np.savetxt(gallery, points, delimiter=",", header="LAT,LON", comments="", fmt="%.6f")
    where = ["--data", str(real_data), "--home", str(tmp_path), "--protocol", "haversine-6371-le"]
    (scores,) = report("ceiling", "im2gps", "--gallery", str(gallery), *where)["scores"]

    from pinpoint_harness.api import load_dataset
    from pinpoint_harness.geo import haversine_km

    truth = load_dataset("im2gps", real_data)[["latitude", "longitude"]].to_numpy()
    nearest = np.array([haversine_km(point, points).min() for point in truth])
    assert hits(scores) == [int((nearest <= radius).sum()) for radius in RADII_KM]
