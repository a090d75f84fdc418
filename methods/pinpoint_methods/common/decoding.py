"""From scores to an answer: probabilities of candidates, how they are calibrated, and which one is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.types import RADII_KM

from .candidates import CandidateBatch, between_km, queries_at_once, slices

_LOG_TEMPERATURE = (-5.0, 5.0)
"""Bounds of the logarithm of a temperature over the deviation of the scores: beyond them a softmax is its
best score alone, or no longer tells scores apart."""


@dataclass(frozen=True)
class TemperatureScaling:
    """Fitted on C, for each of `RADII_KM`: by what scores are divided, and the logit of "none of these"."""

    temperature: tuple[float, ...]
    none: tuple[float, ...]

    @classmethod
    def of(cls, stored: Mapping[str, Sequence[float]]) -> TemperatureScaling:
        """From the JSON of a stage."""
        return cls(tuple(stored["temperature"]), tuple(stored["none"]))


@dataclass(frozen=True)
class Answer:
    """Candidates in the order of preference, `(n, c)` each; those merged into another are last, with 0."""

    slot: Tensor
    probability: Tensor  # mean over the radii
    expected_share: Tensor  # of the five radii, if this one is answered
    within: Tensor  # (n, c, 5), probability that this one lies within each of the radii
    valid: Tensor


def by_radius(scores: Tensor) -> Tensor:
    """`(n, c, 5)` of scores that hold for all radii, `(n, c)`, or are one for each already."""
    return scores if scores.ndim == 3 else scores[..., None].expand(-1, -1, len(RADII_KM))


def overall(scores: Tensor) -> Tensor:
    """One score for each candidate, `(n, c)`: what argmax goes by."""
    return scores if scores.ndim == 2 else scores.mean(dim=2)


def probabilities(scores: Tensor, calibration: TemperatureScaling) -> Tensor:
    """Of each candidate at each radius, `(n, c, 5)` float64; what is missing to 1 is that of none of them."""
    temperature, none = (
        torch.tensor(values, dtype=torch.float64, device=scores.device)
        for values in (calibration.temperature, calibration.none)
    )
    logits = by_radius(scores).double() / temperature
    return torch.cat([logits, none.expand(len(logits), 1, -1)], dim=1).softmax(dim=1)[:, :-1]


def same_place(lists: CandidateBatch) -> Tensor:
    """Whether a candidate is there and shares another's coordinate, `(n, c, c)`."""
    return (lists.xyz[:, :, None] == lists.xyz[:, None]).all(dim=3) & lists.valid[:, None]


def merge(lists: CandidateBatch, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates that share a coordinate as one: the first holds all their probability.

    Returns which are first `(n, c)`, and the summed probability `(n, c, 5)`, zero for the others.
    """
    same = same_place(lists)
    earlier = same.tril(-1).any(dim=2)
    first = lists.valid & ~earlier
    return first, (same.double() @ probability) * first[..., None]


def decide(lists: CandidateBatch, scores: Tensor, calibration: TemperatureScaling, decoding: str) -> Answer:
    """Candidates from best to worst: by score (`argmax`), or by the share of the radii to expect."""
    size = queries_at_once(scores.shape[1])
    if len(lists) <= size:
        return _decide(lists, scores, calibration, decoding)
    parts = [
        _decide(lists.take(some), scores[some], calibration, decoding) for some in slices(len(lists), size)
    ]
    return Answer(*(torch.cat([getattr(part, item.name) for part in parts]) for item in fields(Answer)))


def _decide(lists: CandidateBatch, scores: Tensor, calibration: TemperatureScaling, decoding: str) -> Answer:
    first, merged = merge(lists, probabilities(scores, calibration))
    km = between_km(lists)
    near = [(km < radius).double() @ merged[..., number, None] for number, radius in enumerate(RADII_KM)]
    # Each radius has a calibration of its own, but what lies within one lies within the next.
    within = torch.cat(near, dim=2).clamp(max=1.0).cummax(dim=2).values  # (n, c, 5)
    expected = within.mean(dim=2)
    worth = expected if decoding == "expected" else overall(scores).double()
    # Where several share a coordinate, the best of them is the one that argmax would name.
    best = worth[:, None].masked_fill(~same_place(lists), -torch.inf).amax(dim=2)
    order = best.masked_fill(~first, -torch.inf).argsort(dim=1, descending=True, stable=True)

    def ordered(values: Tensor) -> Tensor:
        return values.gather(1, order)

    wide = order[..., None].expand(-1, -1, len(RADII_KM))
    return Answer(
        order, ordered(merged.mean(dim=2)), ordered(expected), within.gather(1, wide), ordered(first)
    )


def fit(lists: CandidateBatch, scores: Tensor, km: Tensor) -> TemperatureScaling:
    """For each radius the temperature and "none" logit under which what happened was most likely.

    What happened is that the truth lay within the radius of some candidates, whose probabilities are
    summed, or of none; `km` `(n, c)` is their distance to the truth.
    """
    valid = lists.valid.any(dim=1)
    present, km, each = lists.valid[valid], km[valid], by_radius(scores[valid]).double()
    fitted = [
        _fit_radius(each[..., number], (km < radius) & present, present)
        for number, radius in enumerate(RADII_KM)
    ]
    temperature, none = zip(*fitted, strict=True)
    return TemperatureScaling(temperature, none)


def _fit_radius(scores: Tensor, within: Tensor, valid: Tensor) -> tuple[float, float]:
    """Temperature and "none" logit of one radius, from `(n, c)` scores and who of them was right."""
    from scipy.optimize import minimize

    spread = float(scores[valid].std(correction=0)) or 1.0
    right = within.any(dim=1)

    def surprise(given: np.ndarray) -> float:
        logits = scores / (float(np.exp(given[0])) * spread)
        none = torch.full_like(logits[:, :1], float(given[1]))
        p = torch.cat([logits, none], dim=1).softmax(dim=1)
        likely = torch.where(right, (p[:, :-1] * within).sum(dim=1), p[:, -1])
        return float(-likely.clamp(min=1e-12).log().mean())

    # Where nobody is ever right, or the order says nothing, the likeliest temperature is infinite.
    bounds = [_LOG_TEMPERATURE, (None, None)]
    top = float(scores.amax(dim=1).median()) / spread
    starts = [np.array([log_t, top / np.exp(log_t) - 1]) for log_t in (-2.0, -1.0, 0.0)]
    found = min(
        (
            minimize(
                surprise, start, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-3, "fatol": 1e-6}
            )
            for start in starts
        ),
        key=lambda result: float(result.fun),
    )
    return float(np.exp(found.x[0])) * spread, float(found.x[1])
