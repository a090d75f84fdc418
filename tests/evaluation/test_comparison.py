"""Paired comparison: hand-made cases, exact enumerations, nulls, letters."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pinpoint_harness.api import evaluate, score
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.evaluation import Comparison, compare, get_protocol
from pinpoint_harness.evaluation.bootstrap import cluster
from pinpoint_harness.evaluation.comparison import compact_letters, compare_errors, holm
from pinpoint_harness.evaluation.exchanges import ExchangedMedians, sign_flips
from pinpoint_harness.reports.tables.published import against_published, read_published

PROTOCOL = get_protocol("wgs84-lt")
Floats = NDArray[np.float64]


def by(errors: dict[str, list[float]], authors: list[str], flips: int | None = 2000) -> Comparison:
    clusters = cluster([*authors], "AUTHOR", len(authors))
    arrays = {name: np.array(values, dtype=float) for name, values in errors.items()}
    return compare_errors(arrays, clusters, PROTOCOL, flips=flips, resamples=200)


def flipped(contributions: Floats, flips: int, seed: int) -> Floats:
    """p-values `(metrics,)` of one pair, of which the second method adds nothing."""
    methods = {"a": contributions, "b": np.zeros_like(contributions)}
    p_values: Floats = sign_flips(methods, [("a", "b")], flips, seed)[0]
    return p_values


def test_identical_runs_have_p_1_and_an_interval_of_0() -> None:
    errors = [0.5, 10.0, 100.0, 500.0, 5000.0, 9000.0]
    found = by({"a": errors, "b": errors}, ["x", "x", "y", "y", "z", "z"])
    for item in found.differences:
        assert (item.difference, item.low, item.high, item.p) == (0, 0, 0, 1)
    assert set(found.letters["acc_25km"].values()) == {"a"}


def test_a_difference_in_one_photographer_only_is_no_evidence() -> None:
    """Exchanging that photographer's answers gives the same difference turned round: p is 1."""
    authors = [f"author {n // 10}" for n in range(100)]
    near, far = [5.0] * 100, [5.0] * 90 + [5000.0] * 10
    (item,) = [d for d in by({"a": near, "b": far}, authors).differences if d.metric == "acc_25km"]
    assert item.difference == pytest.approx(10)
    assert item.p == 1
    assert item.low == 0


def test_one_photographer_with_a_third_of_the_photos_cannot_decide_alone() -> None:
    authors = ["big"] * 50 + [f"small {n}" for n in range(100)]
    better = [5.0] * 50 + [5.0, 5000.0] * 50
    worse = [5000.0] * 50 + [5000.0, 5.0] * 50
    clustered = by({"a": better, "b": worse}, authors)
    (item,) = [d for d in clustered.differences if d.metric == "acc_25km"]
    assert item.difference == pytest.approx(100 / 3)
    assert item.p is not None
    assert item.p > 0.5
    unclustered = by({"a": better, "b": worse}, [str(n) for n in range(150)])
    (naive,) = [d for d in unclustered.differences if d.metric == "acc_25km"]
    assert naive.p is not None
    assert naive.p < 0.01


def test_p_values_are_those_of_all_exchanges_enumerated() -> None:
    generator = np.random.default_rng(0)
    contributions = generator.integers(-3, 4, size=(2, 10)).astype(float)
    every = np.array(list(product([-1, 1], repeat=10)))
    exact = (np.abs(every @ contributions.T) >= np.abs(contributions.sum(axis=1)) - 1e-9).mean(axis=0)
    assert flipped(contributions, 40_000, 0) == pytest.approx(exact, abs=0.01)


def test_the_medians_p_is_that_of_all_exchanges_enumerated() -> None:
    generator = np.random.default_rng(1)
    authors = [f"{n // 4}" for n in range(32)]
    first, second = 10 ** generator.normal(2, 1, 32), 10 ** generator.normal(2.4, 1, 32)
    codes = np.repeat(np.arange(8), 4)
    observed = abs(np.median(first) - np.median(second))
    hits = []
    for marks in product([False, True], repeat=8):
        swap = np.array(marks)[codes]
        one, other = np.where(swap, second, first), np.where(swap, first, second)
        hits.append(abs(np.median(one) - np.median(other)) >= observed - 1e-9)
    found = by({"a": first.tolist(), "b": second.tolist()}, authors, flips=10_000)
    (item,) = [d for d in found.differences if d.metric == "median_km"]
    assert item.p == pytest.approx(np.mean(hits), abs=0.02)
    assert item.difference == pytest.approx(np.median(first) - np.median(second))


@pytest.mark.parametrize("spread", [4.0, 0.1])
@pytest.mark.parametrize("photos", [1, 2, 7, 40, 101, 1000])
def test_medians_after_an_exchange_are_those_of_the_exchanged_errors(
    photos: int, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a median lies outside of the rows that are looked at first."""
    monkeypatch.setattr("pinpoint_harness.evaluation.exchanges._SPREAD", spread)
    generator = np.random.default_rng(photos)
    codes = generator.integers(0, 1 + photos // 3, photos)
    clusters = cluster([str(code) for code in codes], "AUTHOR", photos)
    first, second = np.round(10 ** generator.normal(2, 1, (2, photos)), 1)
    first[generator.random(photos) < 0.3] = np.inf
    swaps = generator.integers(0, 2, (50, clusters.count), dtype=np.uint8)
    rows = swaps[:, clusters.codes].astype(bool)
    one, other = np.where(rows, second, first), np.where(rows, first, second)
    with np.errstate(invalid="ignore"):
        expected = np.abs(np.median(one, axis=1) - np.median(other, axis=1))
    found = ExchangedMedians(first, second, clusters).differences(swaps)
    np.testing.assert_allclose(found, np.where(np.isfinite(expected), expected, np.inf))


def test_the_interval_is_that_of_a_plain_paired_bootstrap() -> None:
    generator = np.random.default_rng(2)
    authors = [f"{n % 40}" for n in range(400)]
    first, second = 10 ** generator.normal(1.5, 1, 400), 10 ** generator.normal(1.7, 1, 400)
    clusters = cluster([*authors], "AUTHOR", 400)
    found = compare_errors({"a": first, "b": second}, clusters, PROTOCOL, flips=500, resamples=2000)
    (item,) = [d for d in found.differences if d.metric == "acc_25km"]
    difference = (first < 25).astype(float) - (second < 25)
    resampled = []
    for _ in range(2000):
        drawn = generator.integers(40, size=40)
        rows = np.concatenate([np.flatnonzero(clusters.codes == code) for code in drawn])
        resampled.append(100 * difference[rows].mean())
    low, high = np.percentile(resampled, [2.5, 97.5])
    assert item.low == pytest.approx(low, abs=0.8)
    assert item.high == pytest.approx(high, abs=0.8)


def exchanged_null(
    generator: np.random.Generator, photos: int, photographers: int
) -> tuple[Floats, Floats, list[str]]:
    """Two methods whose answers are exchanged for whole photographers: nothing to find."""
    share = 1 / (np.arange(photographers) + 3.0)
    author = np.sort(generator.choice(photographers, photos, p=share / share.sum()))
    skill = generator.normal(0, 1, (2, photographers))
    errors = 10 ** (generator.normal(1.5, 1, (2, photos)) + skill[:, author])
    swap = generator.integers(0, 2, photographers).astype(bool)[author]
    return (
        np.where(swap, errors[1], errors[0]),
        np.where(swap, errors[0], errors[1]),
        [str(a) for a in author],
    )


def test_a_true_null_is_rejected_at_about_its_level() -> None:
    generator = np.random.default_rng(3)
    p_values = []
    for _ in range(400):
        first, second, authors = exchanged_null(generator, 300, 60)
        codes = cluster([*authors], "a", 300).codes
        difference = (first < 25).astype(float) - (second < 25)
        p_values.append(flipped(np.bincount(codes, difference)[None], 400, 4)[0])
    assert 0.025 < np.mean(np.array(p_values) < 0.05) < 0.08


def test_every_pair_is_flipped_as_if_it_were_alone() -> None:
    generator = np.random.default_rng(5)
    methods = {name: generator.integers(-3, 4, size=(2, 30)).astype(float) for name in "abc"}
    pairs = list(combinations(methods, 2))
    together = sign_flips(methods, pairs, 3_000, 6)
    for pair, p_values in zip(pairs, together, strict=True):
        alone = sign_flips({name: methods[name] for name in pair}, [pair], 3_000, 6)[0]
        np.testing.assert_array_equal(p_values, alone)


def test_many_clusters_are_flipped_in_batches_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = {"a": np.arange(40.0)[None] % 7 - 3, "b": np.zeros((1, 40))}
    once = sign_flips(methods, [("a", "b")], 500, 0)
    monkeypatch.setattr("pinpoint_harness.evaluation.exchanges._SIGNS_AT_ONCE", 90)
    assert sign_flips(methods, [("a", "b")], 500, 0) == pytest.approx(once, abs=0.05)


def test_a_difference_is_found_among_fifteen_runs() -> None:
    """525 tests: 10,000 flips would give p of 1e-4 at best, times 525 more than 5 %."""
    errors = {f"run {n}": [5.0] * 20 + [5000.0] * 20 for n in range(14)} | {"best": [5.0] * 40}
    compared = by(errors, [str(n) for n in range(40)], None)
    assert compared.flips == 52_500
    letters = compared.letters["acc_25km"]
    assert letters["best"] == "a"
    assert {letters[name] for name in letters if name != "best"} == {"b"}


def test_too_few_flips_for_the_tests_are_refused() -> None:
    errors = {name: [5.0, 5000.0] for name in "abc"}  # 3 pairs at 5 radii
    with pytest.raises(UsageError, match=r"15 tests .* need 1,500 sign flips"):
        by(errors, ["x", "y"], 1_499)
    assert by(errors, ["x", "y"], 1_500).flips == 1_500


def test_a_single_cluster_has_no_interval_and_says_so() -> None:
    compared = by({"a": [5.0, 5.0], "b": [5.0, 5000.0]}, ["x", "x"])
    assert compared.clusters == "1 cluster by AUTHOR: no interval"
    assert {(item.low, item.high) for item in compared.differences} == {(None, None)}
    assert {item.p for item in compared.differences} == {1.0}


def test_holm_is_the_hand_computed_correction() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_counts_pairs_and_radii_and_nothing_else() -> None:
    generator = np.random.default_rng(5)
    errors = {name: (10 ** generator.normal(1.5, 1, 60)).tolist() for name in "abc"}
    found = by(errors, [f"{n % 20}" for n in range(60)])
    tested = [item for item in found.differences if item.p_holm is not None]
    assert len(tested) == 3 * 5
    assert all(item.metric.startswith("acc_") for item in tested)
    smallest = min(tested, key=lambda item: item.p or 0)
    assert smallest.p_holm == pytest.approx(min(1.0, 15 * (smallest.p or 0)))


def test_not_being_told_apart_is_not_transitive_and_letters_show_it() -> None:
    letters = compact_letters(["best", "middle", "worst"], [("best", "worst")])
    assert letters == {"best": "a", "middle": "ab", "worst": "b"}


@given(
    st.integers(1, 7).flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.sampled_from(list(combinations(range(n), 2)) or [(0, 0)])))
    )
)
def test_two_names_share_a_letter_exactly_if_they_are_not_distinct(
    case: tuple[int, set[tuple[int, int]]],
) -> None:
    count, pairs = case
    names = [str(n) for n in range(count)]
    distinct = {(str(a), str(b)) for a, b in pairs if a != b}
    letters = compact_letters(names, sorted(distinct))
    for one, other in combinations(names, 2):
        assert bool(set(letters[one]) & set(letters[other])) == ((one, other) not in distinct)


LONDON = {"latitude": 51.5, "longitude": -0.1}


def test_stored_runs_are_compared_by_id(tmp_path: Path) -> None:
    one = evaluate("constant", "capitals", parameters=LONDON, home=tmp_path)
    other = evaluate("random-prior", "capitals", home=tmp_path)
    found = compare([one, other], flips=500, resamples=200)
    (item,) = [d for d in found.differences if d.metric == "acc_2500km"]
    expected = score(one).estimates["acc_2500km"].value, score(other).estimates["acc_2500km"].value
    assert item.difference == pytest.approx((expected[0] or 0) - (expected[1] or 0))
    assert found.to_frame()["metric"].nunique() == 7


def test_other_photos_are_refused_unless_the_common_ones_are_asked_for(tmp_path: Path) -> None:
    one = evaluate("constant", "capitals", parameters=LONDON, home=tmp_path, limit=50)
    other = evaluate("random-prior", "capitals", home=tmp_path, limit=60)
    with pytest.raises(DataError, match=r"50 photos, others up to 60; 50 are common[\s\S]*--common"):
        compare([one, other])
    assert compare([one, other], common=True, flips=500, resamples=100).rows == 50


def test_other_truth_is_refused(tmp_path: Path) -> None:
    runs = []
    for name, latitude in (("a", 1.0), ("b", 2.0)):
        table = tmp_path / f"{name}.csv"
        table.write_text(f"id,latitude,longitude\nx,{latitude},1\ny,3,3\n")
        runs.append(evaluate("constant", "table", data=table, parameters=LONDON, home=tmp_path, label=name))
    with pytest.raises(DataError, match="different truth"):
        compare(runs)


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    run = evaluate("random-prior", "capitals", home=tmp_path)
    with pytest.raises(UsageError, match="with itself"):
        compare([run, run])
    with pytest.raises(UsageError, match="two runs"):
        compare([run])


@pytest.mark.realdata
def test_against_a_published_row_nothing_is_tested(real_data: Path, tmp_path: Path) -> None:
    run = evaluate("constant", "yfcc4k", data=real_data, parameters=LONDON, home=tmp_path)
    row = next(row for row in read_published("yfcc4k") if row.method == "GeoRanker")
    table = against_published(run, row, resamples=100).set_index("metric")
    assert table.loc["acc_25km", "published"] == 43.5
    assert table.loc["acc_25km", "difference"] == pytest.approx(table.loc["acc_25km", "ours"] - 43.5)
    assert "p" not in table.columns
