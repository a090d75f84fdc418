"""Fitted weights of the retrieval: against scipy on a likelihood by hand, and where they count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from tests.support.pinpoint_world import World, retriever_of, small, unit, write_galleries

from pinpoint_harness.artifacts import read_json
from pinpoint_harness.search import Exclusion
from pinpoint_methods.common.candidates import CHANNELS, CandidateBatch
from pinpoint_methods.pinpoint.reranker import Reranker, retrieval_scores
from pinpoint_methods.pinpoint.retrieval_weights import SimilarityLists, fit_weights, share_placed
from pinpoint_methods.pinpoint.retriever import SourceRetriever

LISTS, CANDIDATES = 400, 8
SPREAD = np.array([0.05, 0.2, 0.1])
"""Deviations of image, raw and location similarity."""


def drawn(weights: tuple[float, float, float], seed: int = 0) -> SimilarityLists:
    """Lists whose right candidate is drawn by a softmax of a weighted sum of the similarities."""
    random = np.random.default_rng(seed)
    similar = random.normal(0.5, SPREAD, (LISTS, CANDIDATES, 3))
    valid = random.random((LISTS, CANDIDATES)) < 0.9
    score = np.where(valid, similar @ weights + random.gumbel(size=valid.shape), -np.inf)
    km = np.full(valid.shape, 500.0)
    km[np.arange(LISTS), score.argmax(axis=1)] = 3.0
    km[::9] = 9000.0  # and some lists that hold nothing
    return SimilarityLists(
        torch.from_numpy(similar).float(), torch.from_numpy(valid), torch.from_numpy(km).float()
    )


def surprise(given: NDArray[np.float64], lists: SimilarityLists, radius_km: float) -> float:
    """Mean of -log of the probability that the truth is within the radius, list after list."""
    total = []
    for similar, valid, km in zip(*(t.numpy() for t in (lists.similar, lists.valid, lists.km)), strict=True):
        right = valid & (km < radius_km)
        if right.any():
            image, raw, location = similar.T
            score = (image + given[1] * location + given[2] * raw) / np.exp(given[0])
            total.append(logsumexp(score[valid]) - logsumexp(score[right]))
    return float(np.mean(total))


def test_fitted_weights_are_those_that_scipy_finds_for_the_likelihood_by_hand() -> None:
    lists = drawn((20.0, 6.0, 14.0))
    halves = [
        SimilarityLists(lists.similar[part], lists.valid[part], lists.km[part])
        for part in (slice(0, 150), slice(150, None))
    ]
    location, raw = fit_weights(halves, 25.0)
    found = minimize(
        surprise,
        np.array([-3.0, 0.7, 0.3]),
        args=(lists, 25.0),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-8, "maxiter": 1000},
    )
    np.testing.assert_allclose([location, raw], found.x[1:], rtol=5e-3)
    assert abs(location - 0.7) < 0.4  # 14 over 20, as far as 400 lists tell
    assert abs(raw - 0.3) < 0.3


def test_a_channel_that_misleads_weighs_nothing_and_no_list_says_nothing() -> None:
    location, raw = fit_weights([drawn((30.0, -20.0, 15.0))], 25.0)
    assert raw == 0.0
    assert location > 0.2
    assert fit_weights([drawn((30.0, 0.0, 15.0))], 1.0) == (0.0, 0.0)


def test_what_weights_place_is_the_mean_share_of_the_radii_of_first_candidates() -> None:
    similar = torch.tensor([[[0.9, 0.0, 0.0], [0.5, 0.0, 1.0]], [[0.9, 0.0, 0.0], [0.1, 0.0, 0.0]]])
    valid = torch.tensor([[True, True], [False, True]])
    lists = SimilarityLists(similar, valid, torch.tensor([[0.5, 100.0], [0.5, 9000.0]]))
    for weight, share in ((0.0, 1.0), (1.0, 3 / 5)):
        config = small(retrieval_location=weight, retrieval_raw=0.0)
        assert share_placed(lists, config) == pytest.approx(share / 2)  # of the second list nothing


def lists_of(retriever: SourceRetriever) -> CandidateBatch:
    random = np.random.default_rng(3)
    image, raw = (torch.from_numpy(unit(random, 6, width)).half() for width in (8, 6))
    wanted = retriever.selection.config
    asked = {channel: wanted.quota(channel) for channel in CHANNELS}
    hidden = [Exclusion()] * len(retriever.galleries)
    return retriever.lists(retriever.find(image, raw, hidden, asked), image, raw, hidden)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_galleries(tmp_path)
    weights = {"retrieval_location": 3.0, "retrieval_raw": 0.5}
    (tmp_path / "config.json").write_text(json.dumps({"fitted": {"photos": weights}}))
    return tmp_path


def test_the_retrieval_ranks_by_the_fitted_weights(folder: Path) -> None:
    retriever = retriever_of(folder, small(retrieval_weights="fitted"), weights=folder)
    lists = lists_of(retriever)
    scores = retrieval_scores(lists, retriever.config)
    image, raw, location = lists.scores.unbind(dim=2)
    expected = (image + 3.0 * location + 0.5 * raw)[lists.valid]
    torch.testing.assert_close(scores[lists.valid], expected)


def test_a_reranker_starts_as_the_retrieval_with_fitted_weights(folder: Path) -> None:
    """Its first part reads standardised similarities: of two candidates the scores differ as the sums do."""
    retriever = retriever_of(folder, small(retrieval_weights="fitted", galleries="own"), weights=folder)
    lists = lists_of(retriever)
    model = Reranker(retriever.config, 8, lists.features.shape[2])
    model.standard.measure(torch.cat([lists.scores, lists.support_facts], dim=2)[lists.valid])
    model.start_from_retrieval([2.0])
    with torch.no_grad():
        started = model(lists, retriever)[lists.valid]
    wanted = retrieval_scores(lists, retriever.config)[lists.valid]
    scale = 2.0 * model.standard.deviation[0]
    torch.testing.assert_close((started - started[0]) * scale, wanted - wanted[0], atol=1e-5, rtol=1e-4)


def test_the_stage_keeps_what_places_most_of_c(pinpoint_world: World) -> None:
    changes = {"passes": 1.0, "retrieval_weights": "fitted", "reranker": "none", "candidate_pool": 16}
    made = pinpoint_world.train("pinpoint", **changes)
    record = read_json(made["weights"].folder / "config.json")
    for source in ("photos", "streetview"):
        tried = record["tried"][source]
        assert {*tried} == {"given", "1km", "25km", "200km", "750km", "2500km"}
        (kept,) = {one["mean"] for one in tried.values() if record["fitted"][source].items() <= one.items()}
        assert kept == max(one["mean"] for one in tried.values())
        assert (tried["given"]["retrieval_location"], tried["given"]["retrieval_raw"]) == (0.7, 0.0)
