"""Recall by the area of candidates, NLL, and slices of equal area: by hand, brute force and integration."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from pinpoint_harness.api import evaluate, score, table
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation import Scores, score_run
from pinpoint_harness.evaluation.area_cells import EARTH_KM2, area_cells, cell_count
from pinpoint_harness.evaluation.bootstrap import cluster
from pinpoint_harness.evaluation.breakdown import break_down_run
from pinpoint_harness.evaluation.distributions import (
    RECALL_METRICS,
    bits_per_dimension,
    nll_estimates,
    per_km2,
    searched_km2,
)
from pinpoint_harness.plugins import Registry, load_registry
from pinpoint_harness.reports.area_plot import recall_area
from pinpoint_harness.running import Run, predictions
from pinpoint_harness.types import Candidates

NAN = float("nan")
Floats = NDArray[np.float64]

PLUGIN = '''
"""Answers 3 degrees east of Khartoum with candidates around, and a von Mises-Fisher density."""
import numpy as np

from pinpoint_harness import Candidates, MethodInfo, Predictions, hookimpl
from pinpoint_harness.geo import unit_xyz

KAPPA, CENTER = 40.0, (15.5, 35.5)


class Fisher:
    input = "none"
    answer_version = 1
    has_density = True

    def __init__(self, params, context):
        pass

    def predict(self, queries):
        places = np.tile([CENTER, (15.5, 32.5), (48.9, 2.3)], (len(queries), 1, 1))
        share = np.tile([0.5, 0.3, 0.2], (len(queries), 1))
        return Predictions(places[:, 0].copy(), candidates=Candidates(places, share))

    def log_density(self, queries, places):
        near = unit_xyz(places) @ unit_xyz(np.array([CENTER]))[0]
        return np.log(KAPPA / (4 * np.pi * np.sinh(KAPPA))) + KAPPA * near


@hookimpl
def pinpoint_register(register):
    register.method("fisher", f"{__name__}:Fisher", MethodInfo(title="A density about one place"))
'''


@pytest.fixture(scope="module")
def fisher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run, Registry]:
    """Runs of the method above, and of one without candidates and density, on the capitals."""
    folder = tmp_path_factory.mktemp("fisher")
    (folder / "fisher.py").write_text(PLUGIN)
    registry = load_registry([str(folder / "fisher.py")])
    run = evaluate("fisher", "capitals", home=folder, registry=registry)
    other = evaluate("constant", "capitals", parameters={"latitude": 15.5, "longitude": 32.5}, home=folder)
    return run, other, registry


def sphere(count: int) -> Floats:
    """Places spread evenly over the sphere, degrees."""
    index = np.arange(count) + 0.5
    longitude = (index * 137.50776405003785) % 360 - 180
    return np.stack([np.degrees(np.arcsin(1 - 2 * index / count)), longitude], axis=1)


# Cells


@pytest.mark.parametrize("cell_km2", [2500.0, 1_000_000.0])
def test_cells_have_nearly_one_area_and_cover_the_earth_once(cell_km2: float) -> None:
    codes, area = area_cells(sphere(400_000), cell_km2)
    assert codes.min() >= 0
    assert codes.max() < cell_count(cell_km2)
    assert np.abs(area / cell_km2 - 1).max() < 0.05
    assert np.mean(EARTH_KM2 / area) == pytest.approx(cell_count(cell_km2), rel=1e-3)
    if cell_km2 > 1e5:  # places enough in each
        assert np.bincount(codes) / len(codes) == pytest.approx(1 / cell_count(cell_km2), rel=0.08)


def test_poles_the_antimeridian_and_nothing_have_their_cells() -> None:
    places = np.array([[90.0, 0.0], [-90.0, 10.0], [0.0, 180.0], [0.0, -180.0], [NAN, NAN]])
    codes, area = area_cells(places, 2500.0)
    assert codes[0] > codes[1]
    assert codes[2] == codes[3]
    assert codes[4] == -1
    assert np.isnan(area[4])
    with pytest.raises(UsageError, match="do not divide the Earth"):
        area_cells(places, 0.0)


# Recall by area


def by_loop(truth: Floats, places: Floats, share: Floats | None) -> float:
    goal = int(area_cells(truth[None], 2500.0)[0][0])
    sums: dict[int, list[float]] = {}
    for slot, place in enumerate(places):
        if np.isnan(place).any():
            continue
        (code,), (area,) = area_cells(place[None], 2500.0)
        entry = sums.setdefault(int(code), [0.0, float(slot), float(area)])
        entry[0] += 0.0 if share is None else float(share[slot])
    used = 0.0
    for code, (_, _, area) in sorted(sums.items(), key=lambda item: (-item[1][0], item[1][1])):
        used += area
        if code == goal:
            return used
    return float("inf")


@pytest.mark.parametrize("stated", [True, False])
def test_the_area_searched_is_that_of_a_loop_over_ranked_regions(stated: bool) -> None:
    random = np.random.default_rng(7)
    truth = random.uniform(-0.6, 0.6, (60, 2))
    places = random.uniform(-0.6, 0.6, (60, 8, 2))  # some three cells each way
    places[::5, 5:] = NAN
    share = random.choice([0.05, 0.1, 0.125], (60, 8)) if stated else None
    found = searched_km2(truth, Candidates(places, share))
    expected = [by_loop(truth[row], places[row], None if share is None else share[row]) for row in range(60)]
    assert found == pytest.approx(expected)
    assert 5 < np.isfinite(found).sum() < 60


def test_a_region_counts_once_with_its_candidates_summed() -> None:
    here, there = [0.1, 0.1], [10.0, 10.0]
    truth, (area, far) = np.array([here]), area_cells(np.array([here, there]), 2500.0)[1]
    places = np.array([[there, here, here]])
    assert searched_km2(truth, Candidates(places, np.array([[0.4, 0.3, 0.3]])))[0] == pytest.approx(area)
    assert searched_km2(truth, Candidates(places))[0] == pytest.approx(area + far)
    assert searched_km2(truth, Candidates(np.full((1, 2, 2), NAN)))[0] == np.inf


def test_recall_is_stored_shown_and_drawn_for_runs_with_candidates_alone(
    fisher: tuple[Run, Run, Registry],
) -> None:
    run, other, registry = fisher
    found = score_run(run, "recall-area")
    assert tuple(found.estimates) == RECALL_METRICS
    # Khartoum and Paris of 193, none near the first candidate.
    assert found.estimates["recall_10000km2"].value == pytest.approx(100 * 2 / 193)
    stored = json.loads((run.folder / "scores" / "recall-area.json").read_text())
    assert Scores.from_dict(stored) == found
    with pytest.raises(DataError, match="stored none"):
        score_run(other, "recall-area")
    home = run.root.parent
    shown = table("capitals", columns=["25km", "recall_10000km2", "nll"], home=home, registry=registry)
    rows = {row["method"].partition(" ")[0]: row for row in shown.to_frame().to_dict("records")}
    assert rows["fisher"]["recall_10000km2"] == pytest.approx(100 * 2 / 193)
    assert np.isnan(rows["constant"]["recall_10000km2"])
    assert "this run stored none" in str(shown.text("md"))
    (curve,) = [line for line in recall_area([run]).axes[0].lines if len(line.get_xdata()) > 2]
    assert np.asarray(curve.get_ydata())[-1] == pytest.approx(100 * 2 / 193)
    with pytest.raises(DataError, match="no candidates"):
        recall_area([run, other])


# NLL


def test_the_density_of_a_run_is_that_at_the_truth_and_integrates_to_one(
    fisher: tuple[Run, Run, Registry],
) -> None:
    run, other, registry = fisher
    stored = predictions.log_density_of(run.table())
    assert stored is not None
    places = run.predictions()[["latitude", "longitude"]].to_numpy()
    method = registry.method("fisher").load()(None, None)
    assert stored == pytest.approx(method.log_density(None, places))
    assert 4 * np.pi * np.exp(method.log_density(None, sphere(100_000))).mean() == pytest.approx(1, abs=1e-4)
    nll = score(run, protocol="nll").estimates["nll"]
    assert nll.value == pytest.approx(-stored.mean())
    assert nll.n == 193
    assert nll.low is not None
    assert nll.high is not None
    assert nll.low < nll.value < nll.high
    assert predictions.log_density_of(other.table()) is None
    with pytest.raises(DataError, match="are no density"):
        score_run(other, "nll")


def test_a_table_by_density_leaves_out_and_names_who_has_none(
    fisher: tuple[Run, Run, Registry], caplog: pytest.LogCaptureFixture
) -> None:
    run, other, registry = fisher
    given: Any = {"protocol": "nll", "home": run.root.parent, "registry": registry}
    assert table("capitals", **given).to_frame()["method"].tolist() == [run.title]
    assert f"'{other.title}' is left out: NLL is of methods with a density" in caplog.text
    with pytest.raises(DataError, match="are no density"):
        table("capitals", methods=["constant"], **given)


def test_a_density_that_knows_nothing_has_the_logarithm_of_the_sphere_in_every_unit() -> None:
    clusters = cluster(["a", "a", "b", None], "author", 4)
    stated = np.array([-np.log(4 * np.pi)] * 3 + [NAN])
    found = nll_estimates(stated, clusters, resamples=100, seed=0)["nll"]
    assert (found.value, found.n, found.low) == (pytest.approx(np.log(4 * np.pi)), 3, None)
    assert per_km2(np.log(4 * np.pi)) == pytest.approx(np.log(EARTH_KM2))
    assert bits_per_dimension(np.log(4 * np.pi)) == pytest.approx(np.log2(4 * np.pi) / 3)


def test_the_command_prints_nll_with_its_units(fisher: tuple[Run, Run, Registry]) -> None:
    run, other, _ = fisher
    said = CliRunner().invoke(cli, ["score", str(run.folder), "--protocol", "nll"]).output
    assert "nats/sr" in said
    assert "nats/km2" in said
    refused = CliRunner().invoke(cli, ["score", str(other.folder), "--protocol", "nll"])
    assert refused.exit_code == 2


# By area


def test_slices_by_area_weigh_cells_alike_and_say_how_photos_are_spread(
    fisher: tuple[Run, Run, Registry],
) -> None:
    other = fisher[1]
    found = break_down_run(other, "area", truth=lambda: None, gallery=lambda: None)  # type: ignore[arg-type,return-value]
    frame = other.predictions()
    cells = area_cells(frame[["latitude", "longitude"]].to_numpy(), 1_000_000.0)[0]
    right = (frame["error_km"] < 750).groupby(cells).mean()
    assert found.balanced["acc_750km"].value == pytest.approx(100 * right.mean())
    assert sum(one.n for one in found.slices) == 193
    assert f"{len(right):,} of 508 with photos" in found.source
