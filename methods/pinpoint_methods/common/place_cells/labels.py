"""What a photo is taught to say, and what is made of what the network says: several partitions at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from pinpoint_harness.geo import EARTH_RADIUS_KM


@dataclass(frozen=True)
class Hierarchy:
    """Partitions from coarse to fine, whose outputs stand side by side: `(b, sum of sizes)`.

    `parents` says for each finest cell in which cell of each coarser partition it lies.
    """

    sizes: Sequence[int]
    parents: Sequence[Tensor]  # (finest,) each

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """Of the finest cells, `(b, finest)`: the product of a cell's and its parents', made to sum to 1."""
        *coarser, finest = (
            log_softmax(part.double(), dim=1) for part in torch.split(outputs, list(self.sizes), dim=1)
        )
        for parent, part in zip(self.parents, coarser, strict=True):
            finest = finest + part[:, parent]
        return log_softmax(finest, dim=1)


def likeliest(log_probabilities: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` cells, fewer if there are not as many, best first: values and numbers, `(b, k)`."""
    values, cells = log_probabilities.topk(min(count, log_probabilities.shape[1]), dim=1)
    return values, cells


def hard_loss(outputs: Tensor, labels: Tensor, sizes: Sequence[int]) -> Tensor:
    """Cross-entropy, summed over the partitions; a photo in no cell of one (-1) says nothing about it."""
    losses = []
    for part, label in zip(torch.split(outputs, list(sizes), dim=1), labels.unbind(1), strict=True):
        known = (label >= 0).sum().clamp(min=1)
        losses.append(cross_entropy(part, label, ignore_index=-1, reduction="sum") / known)
    return torch.stack(losses).sum()


def smooth_loss(
    outputs: Tensor, xyz: Tensor, places: Sequence[Tensor], sizes: Sequence[int], tau_km: float
) -> Tensor:
    """Cross-entropy to labels smoothed over each partition's cells, summed over the partitions."""
    parts = zip(torch.split(outputs, list(sizes), dim=1), places, strict=True)
    losses = [
        -(smooth_labels(xyz, cells, tau_km) * log_softmax(part, dim=1)).sum(dim=1).mean()
        for part, cells in parts
    ]
    return torch.stack(losses).sum()


def smooth_labels(xyz: Tensor, places: Tensor, tau_km: float) -> Tensor:
    """PIGEON's labels, `(b, cells)`: exp(-(km to a cell - km to one's own) / tau), here made to sum to 1.

    `xyz` `(b, 3)` are photos and `places` `(cells, 3)` cells on the unit sphere. Divided by their
    sum, the distance to one's own cell cancels out, so photos in no cell have labels, too.
    """
    # Differences and not a matrix product: that would lose 2 km to cancellation in float32.
    chord = torch.cdist(xyz, places, compute_mode="donot_use_mm_for_euclid_dist")  # (b, cells)
    km = 2 * EARTH_RADIUS_KM * torch.asin((chord / 2).clamp(max=1))
    return torch.softmax(-km / tau_km, dim=1)
