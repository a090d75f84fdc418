"""The stage `reranker`: a small network over the features of candidate lists, and its calibrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from pinpoint_harness.artifacts import Content
from pinpoint_harness.features import Neighbours
from pinpoint_harness.search import xyz_of
from pinpoint_harness.training import Checkpoints, StageContext, describe

from ..common import decoding as answer
from ..common.candidates import CandidateBatch, Slots, chord_km, feature_count, hand_features
from ..common.head import HEAD_CHOICES, Head, HeadTrainer, chosen
from ..common.reranking import FeatureStandardizer, LabelledCandidates, accuracy, listwise_loss, margin_loss
from ..common.training import curve_csv
from .candidates import SETS, FeatureRerankerParams, QueryBatch, read_neighbours

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore

OF_RERANKER = (*HEAD_CHOICES, "loss", "seed")

MARGIN, TARGET_TEMPERATURE = 0.5, 0.1
"""Of the losses, as in Pinpoint."""

_CHUNK_QUERIES = 512


def state_of(author_filter: bool) -> str:
    """What the calibration for a state of the author filter is called."""
    return "author filter" if author_filter else "no author filter"


class Ranker(Head):
    """One score for a candidate from its features, each of them brought to mean 0 and deviation 1."""

    def __init__(self, features: int, depth: int, hidden: int) -> None:
        super().__init__(features, depth, hidden, 1)
        # A LayerNorm would measure numbers of different kinds by one another.
        self.norm = FeatureStandardizer(features)  # type: ignore[assignment] # another module of the same shape

    def measure(self, features: Tensor) -> None:
        """Take means and deviations from rows `(n, features)`."""
        standard = self.get_submodule("norm")
        assert isinstance(standard, FeatureStandardizer)
        standard.measure(features)

    def scores(self, lists: CandidateBatch) -> Tensor:
        """`(n, c)`, minus infinity where there is no candidate."""
        return _masked(self(lists.features), lists)


def _masked(outputs: Tensor, lists: CandidateBatch) -> Tensor:
    return outputs.squeeze(2).masked_fill(~lists.valid, -torch.inf)


def load_ranker(folder: Path, params: FeatureRerankerParams, features: int, device: str) -> Ranker:
    """The network of a finished stage, ready to answer."""
    from safetensors.torch import load_file

    ranker = Ranker(features, params.depth, params.hidden)
    ranker.load_state_dict(load_file(folder / "model.safetensors"))
    return ranker.to(device).eval().requires_grad_(False)


@dataclass(frozen=True)
class Shape:
    """Where the slots of every list come from, and the sources its query may be of."""

    slots: Slots
    sources: tuple[str, ...]

    @classmethod
    def of(cls, galleries: Sequence[str], k: int, sources: Sequence[str]) -> Shape:
        """The `k` best of each gallery; raw similarity is the one channel, in place of the learned one."""
        count = len(galleries)
        gallery, rank = torch.arange(count).repeat_interleave(k), torch.arange(k).repeat(count)
        return cls(Slots(tuple(galleries), gallery, torch.zeros_like(rank), rank), tuple(sources))

    @property
    def features(self) -> int:
        """Numbers known of a candidate."""
        return feature_count(len(self.slots.sources)) + len(self.sources)


def lists_of(
    found: Sequence[Neighbours], source: NDArray[np.int64], shape: Shape, device: str
) -> CandidateBatch:
    """What queries found in each gallery, with hand-made features and the number of each query's source."""

    def joined(parts: Sequence[NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.concatenate(list(parts), axis=1)).to(device)

    row = joined([one.row for one in found])  # (n, c)
    n, c = row.shape
    valid = row >= 0
    cosine = joined([one.cosine for one in found]).float().masked_fill(~valid, -1.0)
    # Some place stands in for none: a NaN would come back in every gradient.
    places = np.nan_to_num(np.concatenate([one.coordinates for one in found], axis=1))
    xyz = torch.from_numpy(xyz_of(places.reshape(-1, 2))).view(n, c, 3).to(device)
    nothing = torch.empty(n, c, 0, device=device)
    lists = CandidateBatch(nothing[:, 0], row, valid, cosine[..., None], xyz, nothing, nothing, nothing)
    same = torch.eye(c, dtype=torch.bool, device=device)  # a search gives a row once
    parts = [lists.take(slice(start, start + _CHUNK_QUERIES)) for start in range(0, n, _CHUNK_QUERIES)]
    made = torch.cat([hand_features(part, shape.slots, same.expand(len(part), c, c)) for part in parts])
    of = one_hot(torch.from_numpy(source).to(device), len(shape.sources))  # (n, sources)
    return replace(lists, features=torch.cat([made, of[:, None].expand(-1, c, -1)], dim=2))


@dataclass(frozen=True)
class CandidateSet:
    """The lists of one set, and which of its queries are of each source."""

    ranking: LabelledCandidates
    source: Tensor  # (n,)

    def of(self, source: int) -> tuple[Tensor, LabelledCandidates]:
        """The numbers of a source's queries, and their lists."""
        mine = (self.source == source).nonzero()[:, 0]
        return mine, self.ranking.take(mine)


def make_reranker(
    stage_context: StageContext,
    params: FeatureRerankerParams,
    stores: Sequence[FeatureStore],
    galleries: Sequence[FeatureStore],
) -> Mapping[str, Content]:
    """Weights of the pass that places held-out authors best, and calibrations by source and state."""
    from safetensors.torch import save

    sources, sets = _sets(stage_context, params, stores, galleries)
    train, validation = sets["train"].ranking, sets["held"]
    features = train.lists.features
    ranker = Ranker(features.shape[2], params.depth, params.hidden)
    ranker.initialise(params.seed).to(stage_context.context.device)
    ranker.measure(features[train.lists.valid])

    def loss(outputs: Tensor, rows: Tensor) -> Tensor:
        batch = train.take(rows)
        return _loss(params.loss, _masked(outputs, batch.lists), batch)

    trainer = HeadTrainer(
        params,
        ranker,
        features,
        loss,
        stage_context.context,
        figures=lambda: _accuracy(ranker, validation, sources),
        worth=itemgetter("mean"),
    )
    curve = trainer.run(Checkpoints(stage_context))
    ranker.load_state_dict(trainer.best)
    best = max(curve, key=itemgetter("mean"))
    calibration = {
        source: {
            state_of(hidden): _calibration(ranker, sets[name].of(number)[1])
            for name, hidden in SETS.items()
            if name != "train"
        }
        for number, source in enumerate(sources)
    }
    outcome = {
        "lists": len(train),
        "best": best,
        "calibration": calibration,
    }
    return {
        "config.json": describe(chosen(params, *OF_RERANKER), **outcome),
        "model.safetensors": save(trainer.best, {"mean": repr(best["mean"])}),
        "curve.csv": curve_csv(curve),
    }


def _sets(
    stage_context: StageContext,
    params: FeatureRerankerParams,
    stores: Sequence[FeatureStore],
    galleries: Sequence[FeatureStore],
) -> tuple[tuple[str, ...], dict[str, CandidateSet]]:
    """The sources that ask, in order, and the lists of every set; one that found nothing does not train."""
    askers, device = QueryBatch.of(stores, params.held_out_one_in), stage_context.context.device
    found = {name: read_neighbours(stage_context.inputs["candidates"], name, galleries) for name in SETS}
    asking = np.concatenate([rows for rows, _ in found.values()])
    sources = tuple(np.unique(askers.source[asking]).tolist())
    shape = Shape.of([store.dataset for store in galleries], params.k, sources)
    sets = {}
    for name, (rows, neighbours) in found.items():
        source = np.searchsorted(np.array(sources), askers.source[rows])
        lists = lists_of(neighbours, source, shape, device)
        truth = torch.from_numpy(xyz_of(askers.photos.coordinates[rows])).to(device)
        km, of = chord_km(lists.xyz, truth[:, None]), torch.from_numpy(source).to(device)
        kept = lists.valid.any(dim=1) if name == "train" else torch.ones_like(of, dtype=torch.bool)
        sets[name] = CandidateSet(LabelledCandidates(lists.take(kept), km[kept]), of[kept])
    return sources, sets


def _loss(name: str, scores: Tensor, batch: LabelledCandidates) -> Tensor:
    if name == "margin":
        return margin_loss(scores, batch.lists, batch.km, MARGIN)
    return listwise_loss(scores, batch.lists, batch.km, TARGET_TEMPERATURE)


def _accuracy(ranker: Ranker, validation: CandidateSet, sources: Sequence[str]) -> dict[str, float]:
    """Shares by `<source>_<radius>km`, and the mean over radii and sources, each of which counts alike."""
    shares: dict[str, float] = {}
    means = []
    for number, source in enumerate(sources):
        mine, ranking = validation.of(number)
        if len(mine):
            found = accuracy(ranking, ranker.scores(ranking.lists))
            means.append(found.pop("mean"))
            shares |= {f"{source}_{radius}": share for radius, share in found.items()}
    return {**shares, "mean": sum(means) / len(means)}


def _calibration(ranker: Ranker, ranking: LabelledCandidates) -> dict[str, Any]:
    with torch.no_grad():
        scores = ranker.scores(ranking.lists)
    return asdict(answer.fit(ranking.lists, scores, ranking.km))
