"""The script of mini-Earth's headline: hierarchical intervals, and cells that stand for themselves."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FILE = Path(__file__).parents[2] / "results" / "mini-earth" / "headline.py"


@pytest.fixture(scope="module")
def headline() -> ModuleType:
    spec = importlib.util.spec_from_file_location("headline", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks for names
    spec.loader.exec_module(module)
    return module


def hits(seed: int, share: float, seeds: int = 3, photos: int = 300) -> NDArray[Any]:
    placed: NDArray[Any] = np.random.default_rng(seed).random((seeds, photos, 5)) < share
    return placed


def test_an_interval_holds_what_worlds_seeds_and_photographers_vary(headline: ModuleType) -> None:
    people = [np.arange(300) // 3, np.arange(300) // 3]
    ours, its = [hits(1, 0.6), hits(2, 0.6)], [hits(3, 0.5), hits(4, 0.5)]
    whole = 100 * (headline.pooled(ours) - headline.pooled(its))
    draws = headline.resampled(ours, its, people, 4000)
    assert draws.shape == (4000, 5)
    np.testing.assert_allclose(draws.mean(axis=0), whole, atol=0.2)
    # One world on which nothing is won widens the interval, though each world alone is as certain as before.
    split = headline.resampled(ours, [its[0], ours[1]], people, 4000)
    assert (split.std(axis=0) > 1.2 * draws.std(axis=0)).all()
    # So does a seed on which nothing is won.
    lost = its[0].copy()
    lost[0] = ours[0][0]
    assert headline.resampled(ours[:1], [lost], people[:1], 4000).std() > draws.std()


def test_a_method_without_training_stands_beside_every_seed(headline: ModuleType) -> None:
    people = [np.arange(300)]
    its = hits(3, 0.5, seeds=1)
    once = headline.resampled([hits(1, 0.6)], [its], people, 500)
    thrice = headline.resampled([hits(1, 0.6)], [np.repeat(its, 3, axis=0)], people, 500)
    np.testing.assert_allclose(once, thrice)
    same = headline.resampled([its], [its], people, 500)
    assert not same.any()


def test_differences_are_told_for_the_cells_that_count_and_corrected_over_all(headline: ModuleType) -> None:
    study = headline.Study(
        worlds=("a", "b"),
        seeds=(0, 1, 2),
        methods=("ours", "first", "second"),
        pairs=(("best control", "ours", ("first", "second")),),
    )
    first, second = [hits(1, 0.3), hits(2, 0.3)], [hits(3, 0.5), hits(4, 0.5)]
    found = {"ours": [hits(5, 0.9), hits(6, 0.9)], "first": first, "second": second}
    people = [np.arange(300), np.arange(300)]
    clean = list(headline.differences(study, found, people, "query-clean"))
    street = list(headline.differences(study, found, people, "query-street"))
    assert [row["radius"] for row in street] == ["25 km", "200 km", "750 km", "2500 km"]
    rows = headline.corrected(clean + street)
    assert {row["other"] for row in rows} == {"second"}
    for row in rows:
        assert float(row["low"]) < float(row["difference"]) < float(row["high"])
        assert float(row["p"]) <= float(row["p_holm"]) < 0.05
    shown = list(headline.accuracies(study, found, "query-clean"))
    assert len(shown) == 3 * (2 * 3 + 1)


def test_both_studies_name_methods_that_are_there(headline: ModuleType) -> None:
    from pinpoint_harness.plugins import load_registry

    registry = load_registry()
    for study in headline.studies().values():
        names = {name.removesuffix("-photos").removesuffix("-streetview") for name in study.methods}
        for name in names:
            registry.method(name)
        assert {ours for _, ours, _ in study.pairs} <= set(study.methods)
