"""The stage `weights`: how much location and raw similarity weigh where the retrieval ranks.

Of each source those weights are tried that make its lists of B likeliest at one of the radii, by a softmax
over a list's candidates, and those that were given; the ones whose first candidates lie within most radii of
C are kept. A pool's candidates are chosen by the weights, so its lists are as long as the pool is deep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.artifacts import Content
from pinpoint_harness.search import xyz_of
from pinpoint_harness.training import StageContext, describe
from pinpoint_harness.types import RADII_KM

from ..common.candidates import chord_km, share_of_radii
from .candidate_search import QueryBatch, read_queries, training_sets
from .config import PinpointConfig, part
from .retriever import SourceRetriever, galleries_of, open_retriever
from .selection import quotas, retrieval_sum

if TYPE_CHECKING:
    from pinpoint_harness.features import FeatureStore

OF_WEIGHTS = (
    *("galleries", "candidates_image", "candidates_raw", "candidates_location", "candidate_pool", "csls"),
    *("photos_lists", "streetview_lists", "retrieval_location", "retrieval_raw"),
)

WEIGHTS = ("retrieval_location", "retrieval_raw")
"""What is fitted; the weight of the image similarity is 1."""

_LISTS = 4000
"""Of B, evenly spaced: enough for three numbers."""

_HEAVIEST = 30.0
"""Of a channel against the image's, in deviations of both: beyond it the image says nothing."""

_LOG_TEMPERATURE = (-5.0, 5.0)


@dataclass(frozen=True)
class SimilarityLists:
    """Of some queries' candidates the similarity by channel, and how far from the truth they lie."""

    similar: Tensor  # (n, c, 3)
    valid: Tensor  # (n, c)
    km: Tensor  # (n, c)


def make_weights(
    stage_context: StageContext, config: PinpointConfig, stores: Mapping[str, FeatureStore]
) -> dict[str, Content]:
    """The weights of each source, and what each of those that were tried places of C."""
    made = stage_context.inputs
    wide = _as_long_as_the_pool(config)
    fitted: dict[str, dict[str, float]] = {}
    tried: dict[str, dict[str, Any]] = {}
    for source in stores:
        galleries = galleries_of(made["gallery"], made["raw"], stores, stage_context.context.device)
        retriever = open_retriever(wide, source, galleries, hubness=made.get("hubness"))

        def lists(name: str, source: str = source, retriever: SourceRetriever = retriever) -> SimilarityLists:
            asked = read_queries(made["candidates"], source, name, stores[source], list(stores), config)
            return similarity_lists(retriever, asked)

        weights = {"given": {name: getattr(config, name) for name in WEIGHTS}}
        train = [lists(name) for name in training_sets(source, config)]
        for radius in RADII_KM:
            location, raw = fit_weights(train, radius)
            weights[f"{radius:g}km"] = {"retrieval_location": location, "retrieval_raw": raw}
        validation = lists("held")
        places = {name: share_placed(validation, replace(config, **some)) for name, some in weights.items()}
        best = max(places, key=places.__getitem__)  # of equal ones the first: as given
        fitted[source] = weights[best]
        tried[source] = {name: {**some, "mean": places[name]} for name, some in weights.items()}
    return {"config.json": describe(part(config, *OF_WEIGHTS), fitted=fitted, tried=tried)}


def _as_long_as_the_pool(config: PinpointConfig) -> PinpointConfig:
    """Lists that hold the best of a pool, as many rows of each gallery as it is deep, and no support."""
    bare = replace(config, support="none", density=0, cells=0, retrieval_weights="given")
    if not config.candidate_pool:
        return bare
    searched = [channel for channel, quota in quotas(config).items() if quota]
    counts = dict.fromkeys(searched, 1)
    counts[searched[0]] += config.candidate_pool - len(searched)
    galleries = 2 if config.galleries == "both" else 1
    wide: dict[str, Any] = {f"candidates_{channel}": galleries * n for channel, n in counts.items()}
    return replace(bare, **wide)


def similarity_lists(retriever: SourceRetriever, asked: QueryBatch) -> SimilarityLists:
    """The lists of a set, or of `_LISTS` of its queries."""
    every = slice(None, None, -(-len(asked) // _LISTS))
    found = [
        {channel: rows[every] for channel, rows in asked.found[gallery.source].items()}
        for gallery in retriever.galleries
    ]
    scores, valid, xyz = retriever.similarities(found, asked.image[every], asked.raw[every])
    truth = torch.from_numpy(xyz_of(asked.coordinates[every])).to(xyz.device)
    return SimilarityLists(scores, valid, chord_km(xyz, truth[:, None]))


def fit_weights(lists: list[SimilarityLists], radius_km: float) -> tuple[float, float]:
    """Weights of location and raw similarity, at least 0, under which what happened was likeliest.

    What happened is that the truth lies within the radius of some candidates, whose probabilities are summed;
    lists without one say nothing. Where no list says anything, both are 0.
    """
    from scipy.optimize import minimize

    parts = [_that_teach(some, radius_km) for some in lists]
    similar, valid, within = (torch.cat(each) for each in zip(*parts, strict=True))  # (n, c, ...)
    if not len(similar):
        return 0.0, 0.0
    # Of one size, so that a step is as long in each direction.
    deviation = similar[valid].std(dim=0).clamp(min=1e-6)
    image, raw, location = (similar / deviation).unbind(dim=2)

    def surprise(given: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.tensor(given, dtype=torch.float64, device=similar.device, requires_grad=True)
        scores = (image + free[1] * location + free[2] * raw) * torch.exp(-free[0])
        log_p = scores.masked_fill(~valid, -torch.inf).log_softmax(dim=1)
        loss = -log_p.masked_fill(~within, -torch.inf).logsumexp(dim=1).mean()
        (gradient,) = torch.autograd.grad(loss, free)
        return float(loss.detach()), gradient.cpu().numpy()

    bounds = [_LOG_TEMPERATURE, (0.0, _HEAVIEST), (0.0, _HEAVIEST)]
    found = minimize(surprise, np.array([-1.0, 0.7, 0.3]), jac=True, method="L-BFGS-B", bounds=bounds)
    size = (deviation[0] / deviation).tolist()
    return float(found.x[1]) * size[2], float(found.x[2]) * size[1]


def _that_teach(lists: SimilarityLists, radius_km: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of the lists with a candidate within the radius the similarities, who is there, and who is right."""
    within = (lists.km < radius_km) & lists.valid
    right = within.any(dim=1)
    return lists.similar[right].double(), lists.valid[right], within[right]


def share_placed(lists: SimilarityLists, config: PinpointConfig) -> float:
    """What the first candidate by the configuration's weights places, as the mean share of the radii."""
    scores = retrieval_sum(lists.similar, config).masked_fill(~lists.valid, -torch.inf)
    km = lists.km.masked_fill(~lists.valid, torch.inf).gather(1, scores.argmax(dim=1, keepdim=True))
    return float(share_of_radii(km).double().mean())
