"""Rerankers and their losses, against loops, an ordinary attention, and a leak put there on purpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.support.pinpoint_world import one_thread, retriever_of, small, unit, write_galleries, write_gallery
from tests.support.training import killed_after, watched_steps
from torch import Tensor, nn
from torch.nn import functional

from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Exclusion
from pinpoint_harness.training import Checkpoints, StageContext
from pinpoint_harness.types import RADII_KM, Context
from pinpoint_methods.common.candidates import CHANNELS, CandidateBatch
from pinpoint_methods.common.decoding import fit
from pinpoint_methods.common.reranking import (
    FeatureStandardizer,
    LabelledCandidates,
    accuracy,
    listwise_loss,
    margin_loss,
    radii_loss,
)
from pinpoint_methods.common.training import Curve
from pinpoint_methods.pinpoint import reranker_training as module
from pinpoint_methods.pinpoint.candidate_search import QueryBatch
from pinpoint_methods.pinpoint.config import PinpointConfig
from pinpoint_methods.pinpoint.reranker import (
    FeatureReranker,
    Reranker,
    attention,
    build_reranker,
    retrieval_scores,
    retrieval_sum,
)
from pinpoint_methods.pinpoint.reranker_training import (
    RerankerTrainer,
    label_candidates,
    score_lists,
)
from pinpoint_methods.pinpoint.retriever import SourceRetriever

QUERIES = 7


class Small(NamedTuple):
    retriever: SourceRetriever
    lists: CandidateBatch
    model: Reranker


@pytest.fixture(scope="module")
def galleries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("galleries")
    write_galleries(folder)
    return folder


def found_by(retriever: SourceRetriever, seed: int = 0) -> CandidateBatch:
    """Random candidates; the second query's list is short, the third's empty."""
    random = np.random.default_rng(seed)
    found = []
    for gallery in retriever.galleries:
        rows = len(gallery.table)
        one = {c: np.stack([random.permutation(rows)[:4] for _ in range(QUERIES)]) for c in CHANNELS}
        one["image"][1, 1:] = -1
        for channel in CHANNELS:
            one[channel][2] = -1
        found.append(one)
    image, raw = (torch.from_numpy(unit(random, QUERIES, width)).half() for width in (8, 6))
    return retriever.lists(found, image, raw, [Exclusion()] * len(found))


def shaken(model: Reranker | FeatureReranker, seed: int = 1) -> Any:
    """Weights that are nowhere zero, so that everything takes part in the score."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


def made(folder: Path, **changes: Any) -> Small:
    config = small(**changes)
    retriever = retriever_of(folder, config)
    lists = found_by(retriever)
    torch.manual_seed(0)
    return Small(retriever, lists, shaken(Reranker(config, 8, lists.features.shape[2])))


def permuted(lists: CandidateBatch, order: Tensor) -> CandidateBatch:
    """The candidates of a list in another order, whatever their slots."""
    names = ("row", "valid", "scores", "xyz", "support", "support_facts", "features")
    return replace(lists, **{name: getattr(lists, name)[:, order] for name in names})


class Case(NamedTuple):
    lists: CandidateBatch
    km: Tensor
    scores: Tensor  # minus infinity where a slot is empty, as all rerankers have it
    given: Tensor  # before that


def case(valid: Sequence[Sequence[bool]], km: Sequence[Sequence[float]], seed: int = 0) -> Case:
    """Lists of which only presence and distances count."""
    here = torch.tensor(valid)
    n, c = here.shape
    none = torch.zeros(n, c, 0)
    rows = torch.zeros(n, c, dtype=torch.int64)
    lists = CandidateBatch(
        torch.zeros(n, 1), rows, here, none, torch.zeros(n, c, 3), rows[..., None], none, none
    )
    given = torch.randn(n, c, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    return Case(lists, torch.tensor(km), given.masked_fill(~here, -torch.inf), given)


T, F = True, False
HARD = (
    [[T, T, T, T], [T, F, T, T], [F, F, F, F], [T, T, F, F], [F, T, F, F], [T, T, T, T]],
    [
        [3.0, 0.4, 900.0, 0.4],  # two are equally near
        [3.0, 0.1, 9000.0, 30.0],  # the nearest of all is an empty slot
        [1.0, 2.0, 3.0, 4.0],
        [5000.0, 4000.0, 1.0, 1.0],  # nobody within the largest radius
        [7.0, 7.0, 7.0, 7.0],
        [7.0, 7.0, 7.0, 7.0],  # all are as good
    ],
)


def test_the_margin_loss_pushes_down_what_lies_farther_than_the_nearest() -> None:
    lists, km, scores, _ = case(*HARD)
    terms = []
    for valid, away, score in zip(*(part.tolist() for part in (lists.valid, km, scores)), strict=True):
        listed = [slot for slot in range(4) if valid[slot]]
        if not listed:
            continue
        best = min(listed, key=lambda slot: away[slot])
        if away[best] >= 25:
            continue
        terms += [max(0.0, 0.5 - score[best] + score[j]) for j in listed if away[j] > away[best]]
    assert len(terms) == 2 + 2
    found = margin_loss(scores, lists, km, 0.5)
    assert found.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_the_margin_loss_counts_only_lists_that_hold_something_right() -> None:
    right, wrong = [3.0, 60.0, 900.0], [25.0, 60.0, 900.0]
    both, alone = case([[True] * 3] * 2, [right, wrong]), case([[True] * 3], [right])
    scores = both.scores[:1]
    found = margin_loss(both.scores, both.lists, both.km, 100.0)
    assert found.item() == pytest.approx(margin_loss(scores, alone.lists, alone.km, 100.0).item())
    (gradient,) = torch.autograd.grad(found, both.given)
    assert (gradient[0] != 0).any()
    assert (gradient[1] == 0).all()


def test_the_margin_loss_leaves_alone_what_lies_where_the_nearest_does() -> None:
    lists, km, scores, given = case([[T, T, T]], [[0.4, 0.4, 900.0]])
    (gradient,) = torch.autograd.grad(margin_loss(scores, lists, km, 100.0), given)
    assert gradient.tolist() == [[-1.0, 0.0, 1.0]]


def test_the_listwise_loss_is_a_cross_entropy_against_the_shares_of_the_radii() -> None:
    lists, km, scores, _ = case(*HARD)
    terms = []
    for valid, away, score in zip(*(part.tolist() for part in (lists.valid, km, scores)), strict=True):
        listed = [slot for slot in range(4) if valid[slot]]
        share = {slot: sum(away[slot] < radius for radius in RADII_KM) / 5 for slot in listed}
        if not any(share.values()):
            continue
        target = {slot: math.exp(share[slot] / 0.1) for slot in listed}
        norm = math.log(sum(math.exp(score[slot]) for slot in listed))
        weight = sum(target.values())
        terms.append(sum(target[slot] / weight * (norm - score[slot]) for slot in listed))
    assert len(terms) == 4
    found = listwise_loss(scores, lists, km, 0.1)
    assert found.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_the_loss_of_the_radii_is_how_unlikely_it_was_to_find_the_truth_within_each() -> None:
    lists, km, one, _ = case(*HARD)
    own = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(3))
    for scores in (one, own.masked_fill(~lists.valid[..., None], -torch.inf)):
        losses = []
        for number, radius in enumerate(RADII_KM):
            terms = []
            mine = scores if scores.ndim == 2 else scores[..., number]
            for valid, away, score in zip(*(part.tolist() for part in (lists.valid, km, mine)), strict=True):
                listed = [slot for slot in range(4) if valid[slot]]
                right = [slot for slot in listed if away[slot] < radius]
                if right:
                    total = sum(math.exp(score[slot]) for slot in listed)
                    terms.append(-math.log(sum(math.exp(score[slot]) for slot in right) / total))
            losses.append(sum(terms) / len(terms))
        assert radii_loss(scores, lists, km).item() == pytest.approx(sum(losses) / 5, rel=1e-5)


@pytest.mark.parametrize("rows", [slice(None), slice(2, 3), slice(3, 4)])
@pytest.mark.parametrize("loss", [margin_loss, listwise_loss, lambda *given: radii_loss(*given[:3])])
def test_empty_slots_and_lists_leave_losses_and_gradients_finite(loss: Any, rows: slice) -> None:
    lists, km, scores, given = case(HARD[0][rows], HARD[1][rows])
    found = loss(scores, lists, km, 0.1)
    (gradient,) = torch.autograd.grad(found, given)
    assert torch.isfinite(found)
    assert torch.isfinite(gradient).all()
    assert not gradient[~lists.valid].any()


@pytest.mark.parametrize(
    "changes", [{}, {"context_layers": 1, "ranking_loss": "listwise"}, {"ranking_loss": "radii"}]
)
@pytest.mark.parametrize("kind", ["attention", "features"])
def test_a_network_s_gradients_are_finite_whatever_is_missing(
    galleries: Path, kind: str, changes: dict[str, Any]
) -> None:
    config = small(reranker=kind, **changes)
    retriever = retriever_of(galleries, config)
    lists = found_by(retriever)
    model = build_reranker(config, 8, lists.features.shape[2])
    km = torch.rand(lists.row.shape, generator=torch.Generator().manual_seed(0)) * 3000
    km[:, :2] /= 1000  # so that lists hold something right
    module.loss_of(config, model(lists, retriever), LabelledCandidates(lists, km)).backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_support_is_pooled_by_one_head_of_ordinary_attention(galleries: Path) -> None:
    """Keys and values of their own change nothing: they fold into the query's and the token's weights."""
    retriever, lists, model = made(galleries, support_used=6)
    assert {*(lists.support >= 0).sum(dim=2).flatten().tolist()} == {0, 4, 6}
    random = torch.Generator().manual_seed(5)
    query, key, value, out = (torch.randn(8, 8, generator=random) for _ in range(4))
    last = torch.randn(16, 8, generator=random)
    with torch.no_grad():
        model.pool.weight.copy_(key.T @ query / math.sqrt(8))
        model.support.weight[:, :8] = last @ out @ value
    facts = model.standard(torch.cat([lists.scores, lists.support_facts], 2))[..., 3:]
    token = model._support(lists, retriever, facts)
    matrix = torch.from_numpy(np.load(galleries / "streetview.image.npy")).float()
    alone = 0
    for n in range(QUERIES):
        for c in range(lists.row.shape[1]):
            rows = [row for row in lists.support[n, c].tolist() if row >= 0]
            if not rows:
                assert torch.equal(token[n, c], model.no_support)
                alone += 1
                continue
            q = query @ (lists.query[n] * math.sqrt(8))
            keys, values = matrix[rows] @ key.T, matrix[rows] @ value.T
            seen = functional.scaled_dot_product_attention(q[None, None], keys[None], values[None])[0, 0]
            expected = last @ (out @ seen * math.sqrt(8)) + model.support.weight[:, 8:] @ facts[n, c]
            torch.testing.assert_close(token[n, c], expected + model.support.bias, rtol=1e-4, atol=1e-4)
    assert 0 < alone < QUERIES * 8


@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_pieces_is_attention(masked: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(10, 2, 4, 8, generator=generator) for _ in range(3))
    mask = torch.randn(10, 2, 4, 4, generator=generator) if masked else None
    torch.testing.assert_close(attention(q, k, v, mask, most=3), attention(q, k, v, mask))


def test_without_context_layers_a_score_does_not_depend_on_the_other_candidates(galleries: Path) -> None:
    retriever, lists, model = made(galleries)
    scores = model(lists, retriever)
    valid = lists.valid.clone()
    valid[:, 1:] = False
    others = replace(
        lists,
        valid=valid,
        row=lists.row.where(valid, 0),
        xyz=lists.xyz.where(valid[..., None], 1.0),
        scores=lists.scores.where(valid[..., None], 0.5),
    )
    alone = model(others, retriever)
    assert torch.equal(alone[:, 0], scores[:, 0])
    assert torch.isneginf(alone[:, 1:]).all()


@pytest.mark.parametrize("what", ["valid", "xyz", "scores"])
def test_with_context_layers_a_score_depends_on_who_else_is_there(galleries: Path, what: str) -> None:
    retriever, lists, model = made(galleries, context_layers=1)
    scores = model(lists, retriever)
    changed = getattr(lists, what).clone()
    changed[:, 3] = False if what == "valid" else changed[:, 4].flip(-1)
    other = model(replace(lists, **{what: changed}), retriever)
    listed = lists.valid[:, 0] & lists.valid[:, 3]
    assert listed.any()
    # Only some are brought into another radius by another place.
    assert (other != scores)[listed, 0].float().mean() >= (0.3 if what == "xyz" else 1.0)
    assert torch.equal(torch.isneginf(other[2]), torch.ones(8, dtype=torch.bool))


@pytest.mark.parametrize("changes", [{}, {"context_layers": 2}, {"list_features": True}])
def test_candidates_in_another_order_have_their_scores_in_that_order(
    galleries: Path, changes: dict[str, Any]
) -> None:
    retriever, lists, model = made(galleries, **changes)
    order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    found = model(permuted(lists, order), retriever)
    torch.testing.assert_close(found, model(lists, retriever)[:, order], rtol=0, atol=2e-5)


@pytest.mark.parametrize("changes", [{}, {"context_layers": 1}, {"list_features": True}])
def test_a_list_alone_has_the_scores_it_has_among_seven(galleries: Path, changes: dict[str, Any]) -> None:
    retriever, lists, model = made(galleries, **changes)
    scores = model(lists, retriever)
    for query in range(QUERIES):
        alone = model(lists.take(slice(query, query + 1)), retriever)
        torch.testing.assert_close(alone[0], scores[query], rtol=1e-6, atol=1e-6)
        filled = model(lists.take(torch.tensor([query] * QUERIES)), retriever)
        # At one shape it is the same to the last digit, whoever the neighbours are.
        place = torch.tensor([(query + shift) % QUERIES for shift in range(QUERIES)])
        turned = model(lists.take(place), retriever)
        assert torch.equal(turned[0], filled[0])


def test_every_token_and_fact_that_is_switched_on_counts(galleries: Path) -> None:
    full = made(galleries)
    scores = full.model(full.lists, full.retriever)
    seen = full.lists.valid & torch.isfinite(scores)
    for name in ("scores", "support_facts", "query"):
        part = getattr(full.lists, name)
        changed = replace(full.lists, **{name: part.flip(-1)})
        assert ((full.model(changed, full.retriever) != scores) & seen).any(), name
    # Neither hand-made features nor places are read by the paper's reranker.
    for name in ("features", "xyz"):
        changed = replace(full.lists, **{name: getattr(full.lists, name) + 1})
        assert torch.equal(full.model(changed, full.retriever), scores)


@pytest.mark.parametrize(
    ("token", "missing"),
    [("visual_token", "visual"), ("gps_token", "gps"), ("support_token", "pool"), ("support", "pool")],
)
def test_a_token_switched_off_has_no_weights_and_no_place(galleries: Path, token: str, missing: str) -> None:
    full = made(galleries)
    changed = made(galleries, **{token: "none" if token == "support" else False})
    assert hasattr(full.model, missing)
    assert not hasattr(changed.model, missing)
    assert full.model.read(full.lists, full.retriever).shape[1] == 4
    assert changed.model.read(changed.lists, changed.retriever).shape[1] == 3


def test_an_untrained_reranker_ranks_as_the_retrieval_does(galleries: Path) -> None:
    config = small(retrieval_raw=0.3)
    retriever = retriever_of(galleries, config)
    lists = found_by(retriever)
    model = Reranker(config, 8, lists.features.shape[2]).eval()
    found, expected = model(lists, retriever), retrieval_scores(lists, config)
    valid = lists.valid
    constant = (found - expected)[valid]
    torch.testing.assert_close(constant, constant[:1].expand(len(constant)), rtol=0, atol=1e-5)
    by_hand = lists.scores @ torch.tensor([1.0, 0.3, 0.7])
    torch.testing.assert_close(expected[valid], by_hand[valid])
    assert torch.isneginf(expected[~valid]).all()


def test_with_a_score_for_each_radius_an_untrained_reranker_is_the_retrieval_calibrated(
    galleries: Path,
) -> None:
    config = small(ranking_loss="radii")
    retriever = retriever_of(galleries, config)
    lists = found_by(retriever)
    km = torch.rand(lists.row.shape, generator=torch.Generator().manual_seed(0)) * 3000
    labelled = LabelledCandidates(lists, km)
    trainer = RerankerTrainer(config, retriever, labelled, labelled, 0, "photos")
    model = trainer.model.eval()
    assert isinstance(model, Reranker)
    found, valid = model(lists, retriever), lists.valid
    assert found.shape == (*valid.shape, 5)
    assert torch.isneginf(found[~valid]).all()
    retrieval = retrieval_sum(model.similar(lists), config)
    fitted = fit(lists, retrieval.masked_fill(~valid, -torch.inf), km)
    for number, temperature in enumerate(fitted.temperature):
        constant = (found[..., number] - retrieval / max(temperature, 0.05))[valid]
        torch.testing.assert_close(constant, constant[:1].expand(len(constant)), rtol=0, atol=1e-4)


def test_the_feature_reranker_sees_hand_made_features_only(galleries: Path) -> None:
    config = small(reranker="features")
    retriever = retriever_of(galleries, config)
    lists = found_by(retriever)
    model = shaken(build_reranker(config, 8, lists.features.shape[2]))
    assert isinstance(model, FeatureReranker)
    widths = [layer.out_features for layer in model.layers.children() if isinstance(layer, nn.Linear)]
    assert widths == [64, 64, 1]
    blind = replace(lists, query=lists.query * 0, scores=lists.scores * 0, support=lists.support * 0 - 1)
    assert torch.equal(model(blind, retriever), model(lists, retriever))
    other = replace(lists, features=lists.features + 1)
    assert not torch.equal(model(other, retriever), model(lists, retriever))


def test_numbers_are_brought_to_mean_zero_and_deviation_one() -> None:
    values = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 9, 0.0]) + 4
    standard = FeatureStandardizer(3)
    standard.measure(values)
    out = standard(values)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(out[:, :2].std(dim=0), torch.ones(2))
    assert torch.isfinite(out).all()


def test_accuracy_counts_a_list_without_candidates_as_a_miss() -> None:
    lists, km, *_ = case([[T, T], [T, T], [F, F], [T, T]], [[0.5, 9e3], [30, 9e3], [0, 0], [9e3, 0.5]])
    scores = torch.tensor([[2.0, 1.0]] * 4).masked_fill(~lists.valid, -torch.inf)
    found = accuracy(LabelledCandidates(lists, km), scores)
    assert found == {"1km": 0.25, "25km": 0.25, "200km": 0.5, "750km": 0.5, "2500km": 0.5, "mean": 0.4}


# Training.


@pytest.mark.parametrize(
    ("token", "channel", "number"),
    [
        ("visual_token", "image", 0),
        ("visual_token", "raw", 1),
        ("gps_token", "location", 2),
        ("support_token", "support", None),
    ],
)
@pytest.mark.parametrize("without", [True, False])
def test_what_an_ablated_token_stands_for_changes_no_score(
    galleries: Path, token: str, channel: str, number: int | None, without: bool
) -> None:
    retriever, lists, model = made(galleries, **{token: not without})
    if number is None:
        others = replace(lists, support_facts=lists.support_facts + 1, support=lists.support.flip(1))
    else:
        moved = lists.scores.clone()
        moved[..., number] += torch.linspace(0, 1, moved.shape[1])
        others = replace(lists, scores=moved)
    scores = [model(one, retriever) for one in (lists, others)]
    assert torch.equal(*scores) == without
    assert channel in ("support", *CHANNELS)


def test_hand_made_features_keep_the_similarities_without_embeddings(galleries: Path) -> None:
    tokens = dict.fromkeys(("visual_token", "gps_token", "support_token"), False)
    _, lists, model = made(galleries, **tokens, list_features=True)
    assert torch.equal(model.similar(lists) != 0, torch.ones_like(lists.scores, dtype=torch.bool))


class Leaky(NamedTuple):
    """Queries that nothing but a copy of themselves, in the support of the right candidate, gives away."""

    retriever: SourceRetriever
    asked: QueryBatch


CANDIDATES, LISTS = 6, 320


def trained(
    config: PinpointConfig,
    retriever: SourceRetriever,
    train: LabelledCandidates,
    held: LabelledCandidates,
    seed: int,
    title: str = "photos",
    keep: Checkpoints | None = None,
) -> tuple[dict[str, Tensor], Curve]:
    """The best weights and the curve."""
    trainer = RerankerTrainer(config, retriever, train, held, seed, title)
    curve = trainer.run(keep)
    return trainer.best, curve


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Leaky:
    folder = tmp_path_factory.mktemp("leaky")
    random = np.random.default_rng(0)
    rows, strangers = 60, 120
    places = random.uniform([-60, -180], [60, 180], (rows, 2))
    write_gallery(folder, "photos", places, unit(random, rows, 8), 1)
    found = np.stack([random.permutation(rows)[:CANDIDATES] for _ in range(LISTS)])
    right = found[np.arange(LISTS), random.integers(0, CANDIDATES, LISTS)]
    queries = unit(random, LISTS, 8)
    # Street view near each photo: two strangers, and every query that was taken there.
    near = np.full((rows, 64), -1, dtype=np.int32)
    near[:, :2] = np.arange(strangers).reshape(rows, 2)
    for row in range(rows):
        copies = strangers + np.flatnonzero(right == row)
        near[row, 2 : 2 + len(copies)] = copies
    image = np.concatenate([unit(random, strangers, 8), queries])
    where = np.concatenate([places.repeat(2, axis=0), places[right]])
    ids = [*(f"stranger-{n}" for n in range(strangers)), *(f"query-{n}" for n in range(LISTS))]
    write_gallery(folder, "streetview", where, image, 2, [None] * len(ids), ids)
    np.save(folder / "photos.support.npy", near)
    np.save(folder / "streetview.support.npy", np.full((len(ids), 64), -1, dtype=np.int32))
    config = small(candidates_image=CANDIDATES, candidates_raw=0, candidates_location=0, support_used=64)
    config = replace(config, reranker_epochs=6, reranker_batch=32, reranker_learning_rate=1e-2)
    own = Exclusion(own_key=hash_ids([f"query-{n}" for n in range(LISTS)]))
    half = torch.from_numpy(queries).half()
    raw = torch.from_numpy(unit(random, LISTS, 6)).half()
    found_here = {c: found.astype(np.int32) for c in CHANNELS}
    asked = QueryBatch(half, raw, places[right], {"photos": found_here}, {"photos": own, "streetview": own})
    return Leaky(retriever_of(folder, config), asked)


@one_thread()
def held_accuracy(leaky: Leaky, asked: QueryBatch) -> float:
    """Of a reranker trained on three quarters of the lists, the accuracy on the rest."""
    ranking = label_candidates(leaky.retriever, asked)
    train, held = ranking.take(torch.arange(240)), ranking.take(torch.arange(240, LISTS))
    _, curve = trained(leaky.retriever.config, leaky.retriever, train, held, 0)
    return max(row["1km"] for row in curve[1:])


def test_a_copy_of_the_query_in_its_support_would_be_seen_and_is_masked(leaky: Leaky) -> None:
    masked = held_accuracy(leaky, leaky.asked)
    nothing = dict.fromkeys(leaky.asked.hidden, Exclusion())
    leaked = held_accuracy(leaky, replace(leaky.asked, hidden=nothing))
    assert masked < 2 / CANDIDATES
    assert leaked > 0.7


def split(
    leaky: Leaky, config: PinpointConfig
) -> tuple[SourceRetriever, LabelledCandidates, LabelledCandidates]:
    nothing = dict.fromkeys(leaky.asked.hidden, Exclusion())
    ranking = label_candidates(leaky.retriever, replace(leaky.asked, hidden=nothing))
    held = ranking.take(torch.arange(240, LISTS))
    return leaky.retriever, ranking.take(torch.arange(100)), held


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


@one_thread()
@pytest.mark.parametrize("loss", ["margin", "listwise", "radii"])
def test_a_start_that_no_pass_improves_is_kept_and_stands_in_row_0_in_the_others_units(
    leaky: Leaky, loss: str
) -> None:
    config = replace(leaky.retriever.config, reranker_epochs=2, reranker_learning_rate=0.0, ranking_loss=loss)
    retriever, train, held = split(leaky, config)
    best, curve = trained(config, retriever, train, held, 0)
    start = RerankerTrainer(config, retriever, train, held, 0, "photos")
    assert same(best, start.model.state_dict())
    assert [row["epoch"] for row in curve] == [0, 1, 2]
    assert math.isnan(curve[0].pop("loss"))
    for row in curve[1:]:  # nothing moved, so every pass is the start, measured alike
        del row["loss"]
        assert {**row, "epoch": 0} == curve[0]


@one_thread()
def test_the_weights_kept_are_those_of_the_pass_that_answers_c_best(leaky: Leaky) -> None:
    config = replace(leaky.retriever.config, reranker_learning_rate=0.05)  # that the passes differ
    retriever, train, held = split(leaky, config)
    best, curve = trained(config, retriever, train, held, 0)
    assert [row["epoch"] for row in curve] == [0, 1, 2, 3, 4, 5, 6]
    assert len({row["mean"] for row in curve[1:]}) > 1
    model = build_reranker(config, 8, train.lists.features.shape[2])
    model.load_state_dict(best)
    scores = score_lists(model.eval(), retriever, held.lists)
    assert accuracy(held, scores)["mean"] == max(row["mean"] for row in curve)
    start = RerankerTrainer(config, retriever, train, held, 0, "photos").model.eval()
    before = accuracy(held, score_lists(start, retriever, held.lists))
    assert {name: curve[0][name] for name in before} == before


@one_thread()
def test_with_the_loss_of_the_radii_the_weights_kept_are_those_of_the_lowest_loss_on_c(leaky: Leaky) -> None:
    config = replace(leaky.retriever.config, reranker_learning_rate=0.05, ranking_loss="radii")
    retriever, train, held = split(leaky, config)
    best, curve = trained(config, retriever, train, held, 0)
    losses = [row["held_loss"] for row in curve]
    assert len(set(losses)) > 1
    model = build_reranker(config, 8, train.lists.features.shape[2])
    model.load_state_dict(best)
    scores = score_lists(model.eval(), retriever, held.lists)
    assert float(radii_loss(scores, held.lists, held.km)) == min(losses)


@one_thread()
def test_the_seed_decides_the_weights_and_nothing_outside_does(leaky: Leaky) -> None:
    config = replace(leaky.retriever.config, reranker_epochs=1)
    retriever, train, held = split(leaky, config)
    first, _ = trained(config, retriever, train, held, 3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, _ = trained(config, retriever, train, held, 3)
    other, _ = trained(config, retriever, train, held, 4)
    assert same(first, again)
    assert not same(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@one_thread()
def test_a_training_that_is_killed_goes_on_to_the_same_weights(leaky: Leaky, tmp_path: Path) -> None:
    config = replace(leaky.retriever.config, reranker_epochs=4)
    retriever, train, held = split(leaky, config)
    whole = trained(config, retriever, train, held, 0, "photos")
    artifact = Artifact.begin(tmp_path, "test", {"a": 1})
    keep = Checkpoints(StageContext(artifact, {}, Context(), truth=lambda name: pytest.fail(name)))
    with artifact.work():
        with killed_after(2) as before:
            trained(config, retriever, train, held, 0, "photos", keep)
        with watched_steps() as after:
            resumed = trained(config, retriever, train, held, 0, "photos", keep)
        assert [*before, *after] == list(range(2 * len(before)))
        assert same(resumed[0], whole[0])
        assert str(resumed[1]) == str(whole[1])
        # What was left by the training of one instance is no beginning for another.
        with watched_steps() as steps:
            trained(config, retriever, train, held, 0, "streetview", keep)
        assert steps == [*before, *after]


def test_support_facts_know_a_copy_by_its_similarity(leaky: Leaky) -> None:
    """The mask leaves no support row with the query's own embedding, though the table holds one."""
    masked = label_candidates(leaky.retriever, leaky.asked).lists
    nothing = dict.fromkeys(leaky.asked.hidden, Exclusion())
    open_ = label_candidates(leaky.retriever, replace(leaky.asked, hidden=nothing)).lists
    copies: NDArray[Any] = (open_.support_facts[..., 0] > 0.999).any(dim=1).numpy()
    assert copies.all()
    assert not (masked.support_facts[..., 0] > 0.999).any()
