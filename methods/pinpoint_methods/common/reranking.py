"""Losses and accuracy of rerankers over candidate lists."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pinpoint_harness.types import RADII_KM

from .candidates import CandidateBatch, share_of_radii
from .decoding import by_radius, overall

Row = dict[str, float]

RIGHT_KM = 25.0
"""A list whose nearest candidate lies farther from the truth holds nothing right."""


@dataclass(frozen=True)
class LabelledCandidates:
    """Lists of a set and how far from the truth each candidate lies."""

    lists: CandidateBatch
    km: Tensor  # (n, c)

    def __len__(self) -> int:
        return len(self.lists)

    def take(self, rows: Tensor | slice) -> LabelledCandidates:
        return LabelledCandidates(self.lists.take(rows), self.km[rows])


def margin_loss(scores: Tensor, lists: CandidateBatch, km: Tensor, margin: float) -> Tensor:
    """`relu(m - s_best + s_j)` over all candidates farther from the truth than the best one.

    Lists without a candidate within `RIGHT_KM` teach which of several wrong places is less wrong, and count
    for nothing.
    """
    away = km.masked_fill(~lists.valid, torch.inf)
    nearest, best = away.min(dim=1, keepdim=True)
    farther = lists.valid & (km > nearest) & (nearest < RIGHT_KM)  # what lies where the best does is as good
    # An empty slot must not make 0 * inf of the loss, and a list may have no other.
    scores = scores.clamp(min=torch.finfo(scores.dtype).min / 4)
    loss = (margin - scores.gather(1, best) + scores).relu() * farther
    return loss.sum() / farther.sum().clamp(min=1)


def listwise_loss(scores: Tensor, lists: CandidateBatch, km: Tensor, temperature: float) -> Tensor:
    """Cross-entropy against the softmax of each candidate's share of the radii.

    Lists in which no candidate is within the largest radius teach nothing and count for nothing.
    """
    share = share_of_radii(km)
    target = (share / temperature).masked_fill(~lists.valid, -torch.inf).softmax(dim=1)
    log_p = scores.log_softmax(dim=1).masked_fill(~lists.valid, 0.0)
    teaches = (share * lists.valid).amax(dim=1) > 0
    losses = -(target.nan_to_num(0.0) * log_p).sum(dim=1)
    return losses[teaches].sum() / teaches.sum().clamp(min=1)


def radii_loss(scores: Tensor, lists: CandidateBatch, km: Tensor) -> Tensor:
    """Mean over the radii of `-log` of the probability that the truth lies within it of a candidate.

    A softmax for each radius; lists in which nobody is within it teach it nothing. It is what the
    calibration makes most likely on C, without "none of these".
    """
    # A list without candidates is a softmax of infinities otherwise, and its gradient no number.
    scores = by_radius(scores).clamp(min=torch.finfo(scores.dtype).min / 4)
    log_p = scores.log_softmax(dim=1)
    within = torch.stack([km < radius for radius in RADII_KM], dim=2) & lists.valid[..., None]
    teaches = within.any(dim=1)  # (n, 5)
    right = log_p.masked_fill(~within, torch.finfo(log_p.dtype).min / 4).logsumexp(dim=1)
    losses = -(right * teaches).sum(dim=0) / teaches.sum(dim=0).clamp(min=1)
    return losses.mean()


def accuracy(ranking: LabelledCandidates, scores: Tensor) -> Row:
    """Share of all queries whose best-scored candidate lies within each radius, and the mean of the five."""
    best = overall(scores).argmax(dim=1, keepdim=True)
    km = torch.where(ranking.lists.valid.any(dim=1), ranking.km.gather(1, best)[:, 0], torch.inf)
    shares = {f"{radius:g}km": float((km < radius).double().mean()) for radius in RADII_KM}
    return {**shares, "mean": sum(shares.values()) / len(shares)}


class FeatureStandardizer(nn.Module):
    """Numbers of different sizes brought to mean 0 and deviation 1, as measured once in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def measure(self, values: Tensor) -> None:
        """Take mean and deviation from rows `(n, width)`."""
        self.mean, self.deviation = values.mean(dim=0), values.std(dim=0).clamp(min=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (x - self.mean) / self.deviation
        return out
