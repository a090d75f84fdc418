"""Consensus: every rule by hand and against brute force, and on the candidates that runs have stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness.api import evaluate
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.geo import haversine_km, unit_xyz
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.types import RADII_KM, Context, Queries
from pinpoint_methods.common import consensus
from pinpoint_methods.common.consensus import CLUSTER_RADII_KM, RULES
from pinpoint_methods.common.kernel_grid import lknn_peak
from pinpoint_methods.common.sphere import degrees_of
from pinpoint_methods.stored.consensus import Consensus, ConsensusParams

PARIS, LYON, TOKYO = (48.8566, 2.3522), (45.764, 4.8357), (35.68, 139.76)


def at(*places: tuple[float, float]) -> Any:
    return np.array(places)


def decode(rule: str, places: Any, weight: Any) -> Any:
    """The answer to one list."""
    return consensus.decode(rule, places[None], weight[None])[0]


def expected_share(places: Any, weight: Any) -> Any:
    return consensus.expected_share(places[None], weight[None])[0]


def test_the_first_is_the_first_and_nothing_gives_no_answer() -> None:
    assert decode("first", at(TOKYO, PARIS), np.array([0.1, 0.9])) == pytest.approx(TOKYO)
    for rule in RULES:
        assert np.isnan(decode(rule, np.full((3, 2), np.nan), np.full(3, np.nan))).all()
        lone = decode(rule, at(PARIS, (np.nan, np.nan)), np.array([0.2, np.nan]))
        assert haversine_km(lone[None], at(PARIS))[0] < 1e-6 or rule == "lknn"


def test_expected_names_the_candidate_that_most_of_the_weight_lies_near() -> None:
    places = at(TOKYO, PARIS, (48.86, 2.36), LYON)
    weight = np.array([0.4, 0.25, 0.25, 0.1])
    # Tokyo 0.4 at all radii; Paris 0.5 within 1 km, and with Lyon, 392 km away, 0.6 within 750.
    assert expected_share(places, weight) == pytest.approx([0.4, 0.54, 0.54, 0.3])
    assert decode("expected", places, weight) == pytest.approx(PARIS)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31))
def test_expected_is_what_counting_finds(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    places = np.stack([random.uniform(-60, 60, count), random.uniform(-180, 180, count)], axis=1)
    weight = random.dirichlet(np.ones(count))
    shares = [
        np.mean([weight[haversine_km(places, place) < radius].sum() for radius in RADII_KM])
        for place in places
    ]
    assert expected_share(places, weight) == pytest.approx(shares)


def test_the_mean_shift_finds_the_highest_peak_also_across_the_antimeridian() -> None:
    places = at((0.0, 179.9), (0.0, -179.9), (10.0, 20.0))
    found = decode("mean-shift", places, np.array([0.3, 0.3, 0.4]))
    assert haversine_km(found[None], at((0.0, 180.0)))[0] < 0.01
    assert decode("mean-shift", places, np.array([0.1, 0.1, 0.8])) == pytest.approx((10.0, 20.0))
    assert decode("mean-shift", places, np.array([0.0, 0.0, 1.0])) == pytest.approx((10.0, 20.0))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_no_point_of_a_fine_grid_is_denser_than_the_mean_shifts_peak(seed: int) -> None:
    random = np.random.default_rng(seed)
    places = random.uniform([44, 0], [50, 8], (6, 2))
    weight = random.dirichlet(np.ones(6))

    def density(points: Any) -> Any:
        chord = np.square(unit_xyz(points)[:, None] - unit_xyz(places)[None]).sum(axis=2)
        return (weight * np.exp(-((6371 / 100) ** 2) * chord / 2)).sum(axis=1)

    rows, columns = np.mgrid[44:50:0.05, 0:8:0.05]
    grid = np.stack([rows.ravel(), columns.ravel()], axis=1)
    assert density(consensus.mean_shift(places[None], weight[None]))[0] >= density(grid).max() * (1 - 1e-6)


def test_the_cluster_is_the_weighted_mean_of_what_lies_around_the_first() -> None:
    near = at(PARIS, (49.4, 2.1), (48.1, 1.7))  # within 250 km
    found = decode("cluster", np.concatenate([near, at(LYON, TOKYO)]), np.array([3.0, 1.0, 1.0, 9.0, 9.0]))
    mean = np.array([3.0, 1.0, 1.0]) @ unit_xyz(near)
    expected = np.degrees([np.arctan2(mean[2], np.hypot(*mean[:2])), np.arctan2(mean[1], mean[0])])
    assert found == pytest.approx(expected)


def test_a_cluster_that_is_too_small_grows_to_500_and_1000_km() -> None:
    def members(*places: tuple[float, float]) -> Any:
        return decode("cluster", at(*places), np.ones(len(places)))

    two = members((0, 0), (0, 1), (0, 20))  # 111 km, and 2,224: no radius holds three, the last counts
    assert two == pytest.approx((0, 0.5))
    assert members((0, 0), (0, 1), (0, 4)) == pytest.approx((0, 5 / 3), abs=1e-2)  # 445 km
    assert members((0, 0), (0, 1), (0, 8), (0, 20)) == pytest.approx((0, 3), abs=2e-2)  # 890 km
    assert members((0, 0), (0, 8.9), (0, 20)) == pytest.approx((0, 4.45), abs=1e-2)
    assert members((0, 0), (0, 1)) == pytest.approx((0, 0.5))


def test_where_nothing_weighs_anything_all_weigh_the_same() -> None:
    assert decode("cluster", at((0, 0), (0, 1)), np.zeros(2)) == pytest.approx((0, 0.5))


# Many lists at once


def alone(rule: str, places: Any, weight: Any) -> Any:
    """The rules written for one list, as plainly as they read."""
    valid = ~np.isnan(places).any(axis=1)
    places, weight = places[valid], np.nan_to_num(weight[valid])
    if not len(places):
        return np.full(2, np.nan)
    share = weight / weight.sum() if weight.sum() > 0 else np.full(len(weight), 1 / len(weight))
    return ALONE[rule](places, share)


def expected_alone(places: Any, weight: Any) -> Any:
    km = np.stack([haversine_km(places, place) for place in places])
    return places[np.argmax(np.mean([(km < radius) @ weight for radius in RADII_KM], axis=0))]


def mean_shift_alone(places: Any, weight: Any) -> Any:
    places, weight = places[weight > 0], weight[weight > 0]
    xyz, points = unit_xyz(places), unit_xyz(places)

    def kernel() -> Any:
        chord = np.square(points[:, None] - xyz[None]).sum(axis=2)
        return weight * np.exp(-((6371.0 / 100.0) ** 2) * chord / 2)

    for _ in range(200):
        moved = kernel() @ xyz
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        still = np.square(moved - points).sum(axis=1).max() < 1e-10**2
        points = moved
        if still:
            break
    density = kernel().sum(axis=1)
    return degrees_of(points[np.flatnonzero(density >= density.max() * (1 - 1e-9))[0]])


def lknn_alone(places: Any, weight: Any) -> Any:
    peak = lknn_peak(places, weight, 4.0)
    near = haversine_km(places, peak) < 100.0
    return places[np.argmax(near)] if near.any() else peak


def cluster_alone(places: Any, weight: Any) -> Any:
    km = haversine_km(places, places[0])
    members = next((km <= radius for radius in CLUSTER_RADII_KM if (km <= radius).sum() >= 3), km <= 1000.0)
    share = weight[members]
    return degrees_of((share if share.sum() > 0 else np.ones(len(share))) @ unit_xyz(places[members]))


ALONE = {
    "first": lambda places, weight: places[0],
    "expected": expected_alone,
    "mean-shift": mean_shift_alone,
    "lknn": lknn_alone,
    "cluster": cluster_alone,
}


@pytest.mark.parametrize("rule", RULES)
def test_many_lists_are_decoded_to_the_bits_of_each_alone(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    count, longest = 120, 23
    places = random.uniform([30, -10], [50, 30], (count, 1, 2)) + random.normal(0, 3, (count, longest, 2))
    places[:, 5] = places[:, 2]
    weight = random.dirichlet(np.full(longest, 0.3), count) * (random.random((count, longest)) < 0.8)
    weight[::9] = 0.0
    for row, some in enumerate(random.integers(0, longest + 1, count)):
        places[row, some:], weight[row, some:] = np.nan, np.nan
    expected = np.array([alone(rule, *pair) for pair in zip(places, weight, strict=True)])
    assert np.isnan(expected).any()
    assert np.array_equal(consensus.decode(rule, places, weight), expected, equal_nan=True)
    monkeypatch.setattr("pinpoint_methods.common.equal_lists._PAIRS_AT_ONCE", 900)
    assert np.array_equal(consensus.decode(rule, places, weight), expected, equal_nan=True)


# On stored candidates


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Any:
    """A run of a method that reports candidates with probabilities, and one without an answer."""
    plugin = tmp_path / "guessing.py"
    plugin.write_text(GUESSING)
    registry = load_registry([str(plugin)])
    return evaluate("guessing", "capitals", home=tmp_path, registry=registry)


GUESSING = """
import numpy as np
from pinpoint_harness import Candidates, MethodInfo, Predictions, hookimpl

class Guessing:
    input, answer_version = "none", 1
    def __init__(self, params, context):
        pass
    def predict(self, queries):
        count = len(queries)
        places = np.tile([[0.0, 0.0], [10.0, 10.0], [10.0, 10.001]], (count, 1, 1))
        silent = queries.key % 5 == 0
        places[silent] = np.nan
        share = np.where(silent[:, None], np.nan, np.tile([0.4, 0.3, 0.3], (count, 1)))
        return Predictions(places[:, 0], candidates=Candidates(places, share))

@hookimpl
def pinpoint_register(register):
    register.method("guessing", f"{__name__}:Guessing", MethodInfo(title="Guesses", licence="Apache-2.0"))
"""


def decoded(where: Any, tmp_path: Path, **given: Any) -> Any:
    place = where if isinstance(where, Path) else where.folder
    return evaluate("consensus", "capitals", parameters={"run": place, **given}, home=tmp_path)


def test_a_runs_candidates_are_decoded_anew(run: Any, tmp_path: Path) -> None:
    first = run.predictions()
    again = decoded(run, tmp_path)
    rows = again.predictions()
    answered = first["status"] == "ok"
    assert 0 < answered.sum() < len(first)
    assert (rows["status"][answered] == "ok").all()
    assert (rows["status"][~answered] == "no prediction").all()
    assert (rows["predicted_latitude"][answered] == 10.0).all()  # 0.6 of the weight lies there
    assert (first["predicted_latitude"][answered] == 0.0).all()
    assert again.record["notes"] == ["candidates weigh their probability"]
    assert decoded(run, tmp_path, decoding="first").predictions()["predicted_latitude"].max() == 0.0
    assert decoded(run, tmp_path, weight="rank").record["notes"] == [
        "candidates weigh the inverse of their rank"
    ]
    assert decoded(run, tmp_path, decoding="cluster").key != again.key


def test_candidates_are_read_as_they_stand_whatever_their_number(tmp_path: Path) -> None:
    random = np.random.default_rng(9)
    lists: list[Any] = [
        [
            {"latitude": latitude, "longitude": longitude, "probability": latitude / 90, "source": "gallery"}
            | {"photo_id": f"p{row}-{longitude}"}
            for latitude, longitude in random.uniform(1, 50, (count, 2)).tolist()
        ]
        for row, count in enumerate((3, 0, 7, 1, 2))
    ]
    lists[4][1] |= {"probability": None, "photo_id": None}
    lists[3] = None
    ids = [f"q{row}" for row in range(len(lists))]
    table = {"id": ids, "status": ["ok", "no prediction", "ok", "missing", "ok"], "candidates": lists}
    pq.write_table(pa.table(table), tmp_path / "predictions.parquet")
    method = Consensus(ConsensusParams(tmp_path, decoding="first", candidates=5), Context())
    asked = [4, 2, 1, 0, 3, None]
    frame = pd.DataFrame({"id": ["unknown" if row is None else ids[row] for row in asked]})
    nobody = np.zeros(len(frame), np.uint64)
    answer = method.predict(Queries(nobody, nobody, ["photos"] * len(frame), frame))
    found = answer.candidates
    assert found is not None
    assert found.coordinates.shape == (6, 5, 2)
    assert answer.status == ["ok", "ok", "no prediction", "ok", "missing", "missing"]
    for query, row in enumerate(asked):
        kept = [] if row is None else (lists[row] or [])[:5]
        places = np.full((5, 2), np.nan)
        places[: len(kept)] = [(one["latitude"], one["longitude"]) for one in kept] or places[:0]
        share = np.array([*(one["probability"] for one in kept), *[None] * (5 - len(kept))], dtype=float)
        assert np.array_equal(found.coordinates[query], places, equal_nan=True)
        assert np.array_equal(found.probability[query], share, equal_nan=True)  # type: ignore[index,arg-type]
        assert found.photo_id[query].tolist() == [  # type: ignore[index]
            *(one["photo_id"] or "" for one in kept), *[""] * (5 - len(kept))
        ]  # fmt: skip


def test_a_file_of_the_run_is_the_run(run: Any, tmp_path: Path) -> None:
    key = decoded(run, tmp_path).key
    assert decoded(run.folder / "predictions.parquet", tmp_path).key == key


def test_a_run_is_named_as_everywhere(run: Any, tmp_path: Path) -> None:
    given = {"run": "guessing@capitals"}
    named = evaluate("consensus", "capitals", parameters=given, home=tmp_path)
    assert named.key == decoded(run, tmp_path).key
    assert named.record["parameters"]["run"] == str(run.folder)
    with pytest.raises(UsageError, match="names no run"):
        evaluate("consensus", "capitals", parameters={"run": "guessing@nowhere"}, home=tmp_path)


def test_what_has_no_candidates_or_is_no_run_is_refused(run: Any, tmp_path: Path) -> None:
    plain = evaluate("random-prior", "capitals", home=tmp_path)
    with pytest.raises(DataError, match=r"has no candidates[\s\S]*none for any photo"):
        decoded(plain, tmp_path)
    with pytest.raises(DataError, match=r"cannot read a run's answers"):
        decoded(tmp_path / "nowhere", tmp_path)
