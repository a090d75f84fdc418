"""The ceiling of a gallery, against a brute force over every pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError
from pinpoint_harness.evaluation import PROTOCOLS, score_run
from pinpoint_harness.evaluation.ceiling import ceiling, nearest_places
from pinpoint_harness.geo import geodesic_km, haversine_km
from pinpoint_harness.readers import read_coordinates
from pinpoint_harness.running import find_run
from pinpoint_harness.types import DataLocation, DatasetInfo


def sphere(count: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, count)))
    return np.stack([latitude, generator.uniform(-180, 180, count)], axis=1)


class Scattered:
    """Three hundred photos, some at the poles and the antimeridian."""

    info = DatasetInfo(title="Scattered", source="", licence="")

    def __init__(self, location: DataLocation) -> None:
        pass

    def truth(self) -> pd.DataFrame:
        special = np.array([[90.0, 0.0], [-90.0, 0.0], [0.0, 180.0], [0.0, -180.0], [12.0, 179.999]])
        points = np.concatenate([special, sphere(295, 1)])
        return pd.DataFrame(
            {
                "id": [str(i) for i in range(300)],
                "image": [str(i) for i in range(300)],
                "latitude": points[:, 0],
                "longitude": points[:, 1],
                "author": None,
                "source": "photos",
            }
        )


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 400])
def test_the_nearest_place_is_that_of_a_brute_force_on_both_bodies(size: int) -> None:
    truth, gallery = sphere(60, 2), sphere(size, 3)
    found = nearest_places(truth, gallery)
    for point, (on_wgs84, on_sphere) in zip(truth, found, strict=True):
        everywhere = np.broadcast_to(point, gallery.shape)
        assert geodesic_km(point, on_wgs84[None])[0] == geodesic_km(everywhere, gallery).min()
        assert haversine_km(point, on_sphere[None])[0] == pytest.approx(
            haversine_km(everywhere, gallery).min(), abs=1e-9
        )


def test_a_ring_of_nearly_equal_distances_is_compared_by_geodesic() -> None:
    """Around 45 N the sphere ranks north-south against east-west wrongly; all of a ring are rivals."""
    centre = np.array([[45.0, 7.0]])
    bearing = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = centre + np.stack([4 * np.cos(bearing), 4 * np.sin(bearing) / np.cos(np.radians(45))], axis=1)
    (found,) = nearest_places(centre, ring)
    lengths = geodesic_km(np.broadcast_to(centre, ring.shape), ring)
    assert geodesic_km(centre, found[None, 0])[0] == lengths.min()
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_the_ceiling_scores_as_a_brute_force_by_every_protocol(protocol: object, tmp_path: Path) -> None:
    from pinpoint_harness.evaluation.protocols import Protocol

    assert isinstance(protocol, Protocol)
    gallery = sphere(5000, 4)
    run = ceiling("scattered", Scattered(DataLocation()), "points", gallery, tmp_path)
    estimates = score_run(run, protocol.name, resamples=100).estimates
    truth = Scattered(DataLocation()).truth()[["latitude", "longitude"]].to_numpy()
    nearest = np.array(
        [protocol.distance_km(np.broadcast_to(p, gallery.shape), gallery).min() for p in truth]
    )
    for radius in (25, 200, 750):
        within = nearest <= radius if protocol.inclusive else nearest < radius
        assert estimates[f"acc_{radius}km"].value == pytest.approx(100 * within.mean())
    assert run.oracle
    assert estimates["mean_km"].value == pytest.approx(nearest.mean())


def test_the_key_depends_on_the_points_and_not_on_their_order_or_name(tmp_path: Path) -> None:
    gallery = sphere(50, 5)
    first = ceiling("s", Scattered(DataLocation()), "a", gallery, tmp_path)
    second = ceiling("s", Scattered(DataLocation()), "b", np.concatenate([gallery[::-1], gallery]), tmp_path)
    third = ceiling("s", Scattered(DataLocation()), "a", gallery[1:], tmp_path)
    assert first.key == second.key != third.key


def test_a_ceiling_keeps_its_gallery_as_given_and_is_broken_down_by_it(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "points.csv"
    file.parent.mkdir()
    file.write_text("LAT,LON\n51.5,-0.1\n51.6,-0.2\n")
    words = ["ceiling", "capitals", "--gallery", str(file), "--home", str(tmp_path)]
    assert CliRunner().invoke(cli, words).exit_code == 0
    run = find_run("ceiling@capitals", tmp_path / "runs")
    assert run.record["parameters"] == {"gallery": str(file), "gallery_data": None}
    assert run.title == "ceiling (gallery=points.csv)"
    words = ["runs", "breakdown", run.key, "--by", "density", "--home", str(tmp_path)]
    assert "of 2" in CliRunner().invoke(cli, words).stdout


def test_any_table_with_two_coordinate_columns_is_a_gallery(tmp_path: Path) -> None:
    file = tmp_path / "coordinates.csv"
    file.write_text("LAT,LON\n1.5,2.5\n-3,4\n")
    assert read_coordinates(file).tolist() == [[1.5, 2.5], [-3.0, 4.0]]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n1,2\n", "exactly one latitude column"),
        ("LAT,LON\n1,x\n", "no usable coordinate"),
        ("LAT,LON\n1,2\n95,2\n", "line 3"),
        ("LAT,LON\n1,2\n,2\n", "no usable coordinate"),
    ],
)
def test_a_gallery_that_is_not_all_places_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "gallery.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=problem):
        read_coordinates(file)
