"""From scores to an answer: probabilities of candidates, how they are calibrated, and which one is named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.types import RADII_KM

from .lists import Lists, between_km, share_of_radii


@dataclass(frozen=True)
class Calibration:
    """Fitted on C: by what scores are divided, and the logit of "none of these"."""

    temperature: float
    none: float


@dataclass(frozen=True)
class Answer:
    """Candidates in the order of preference, `(n, c)` each; those merged into another are last, with 0."""

    slot: Tensor
    probability: Tensor
    expected_share: Tensor  # of the five radii, if this one is answered
    there: Tensor


def probabilities(scores: Tensor, calibration: Calibration) -> Tensor:
    """Probability of each candidate, `(n, c)` float64; what is missing to 1 is that of none of them."""
    logits = scores.double() / calibration.temperature
    none = torch.full_like(logits[:, :1], calibration.none)
    return torch.cat([logits, none], dim=1).softmax(dim=1)[:, :-1]


def merge(lists: Lists, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates that share a coordinate as one: the first holds all their probability.

    Returns which are first, and the summed probability, zero for the others.
    """
    same = (lists.xyz[:, :, None] == lists.xyz[:, None]).all(dim=3) & lists.there[:, None]  # (n, c, c)
    earlier = same.tril(-1).any(dim=2)
    first = lists.there & ~earlier
    return first, (same * probability[:, None]).sum(dim=2) * first


def decide(lists: Lists, scores: Tensor, calibration: Calibration, decoding: str) -> Answer:
    """Candidates from best to worst: by score (`argmax`), or by the share of the radii to expect."""
    probability = probabilities(scores, calibration)
    first, merged = merge(lists, probability)
    share = share_of_radii(between_km(lists)).double()  # (n, c, c), of one candidate if another is the place
    expected = (share * merged[:, None]).sum(dim=2)
    worth = expected if decoding == "expected" else scores.double()
    # Where several share a coordinate, the best of them is the one that argmax would name.
    same = (lists.xyz[:, :, None] == lists.xyz[:, None]).all(dim=3) & lists.there[:, None]
    best = worth[:, None].masked_fill(~same, -torch.inf).amax(dim=2)
    order = best.masked_fill(~first, -torch.inf).argsort(dim=1, descending=True, stable=True)

    def ordered(values: Tensor) -> Tensor:
        return values.gather(1, order)

    return Answer(order, ordered(merged), ordered(expected), ordered(first))


def fit(lists: Lists, scores: Tensor, km: Tensor) -> Calibration:
    """Temperature and "none" logit under which what happened on C was most likely.

    For each radius what happened is that the truth lay within it of some candidates, whose
    probabilities are summed, or of none; `km` `(n, c)` is their distance to the truth.
    """
    from scipy.optimize import minimize

    there = lists.there.any(dim=1)
    scores, km = scores[there].double(), km[there]
    spread = float(scores[lists.there[there]].std()) or 1.0
    within = [(km < radius) & lists.there[there] for radius in RADII_KM]

    def surprise(given: np.ndarray) -> float:
        p = probabilities(scores, Calibration(float(np.exp(given[0])) * spread, float(given[1])))
        none = 1 - p.sum(dim=1)
        likely = [torch.where(near.any(dim=1), (p * near).sum(dim=1), none) for near in within]
        return float(-torch.stack(likely).clamp(min=1e-12).log().mean())

    top = float(scores.max(dim=1).values.median()) / spread
    starts = [np.array([log_t, top / np.exp(log_t) - 1]) for log_t in (-2.0, -1.0, 0.0)]
    found = min(
        (
            minimize(surprise, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-6})
            for start in starts
        ),
        key=lambda result: float(result.fun),
    )
    return Calibration(float(np.exp(found.x[0])) * spread, float(found.x[1]))
