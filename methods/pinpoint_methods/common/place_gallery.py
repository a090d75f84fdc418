"""Answers out of a gallery of coordinates, by the similarity of a photo to each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pinpoint_harness.types import Candidates, Predictions

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


def most_similar_places(logits: Tensor, coordinates: Floats, count: int) -> Predictions:
    """The places `(rows, 2)` with the highest of the logits `(n, rows)`, and `count` candidates.

    Probabilities are the softmax over the whole gallery. Candidates are points, of no photo.
    """
    rows = best_rows(logits, min(count, logits.shape[1]))  # (n, k)
    best = logits.gather(1, rows) - logits.logsumexp(dim=1, keepdim=True)
    probability = best.double().exp().cpu().numpy()
    places = coordinates[rows.cpu().numpy()]  # (n, k, 2)
    return Predictions(places[:, 0], confidence=probability[:, 0], candidates=Candidates(places, probability))


def best_rows(logits: Tensor, count: int) -> Tensor:
    """The `count` gallery rows with the highest logits, best first, `(n, count)`; of equals the lower row.

    Of GeoCLIP's 100,000 points 5,900 repeat another in float32, and `topk` leaves equals in any order.
    """
    values, rows = logits.topk(min(count + 1, logits.shape[1]), dim=1)
    best = rows[:, :count]
    (tied,) = torch.nonzero((values[:, 1:] == values[:, :-1]).any(dim=1), as_tuple=True)
    if len(tied):
        best[tied] = _lower_of_equals(logits[tied], values[tied, count - 1, None], count)
    return best


def _lower_of_equals(logits: Tensor, least: Tensor, count: int) -> Tensor:
    """The same where logits are equal, `least` `(n, 1)` being the last that is taken."""
    query, row = torch.nonzero(logits >= least, as_tuple=True)  # by query, then by row
    best = torch.sort(logits[query, row], descending=True, stable=True).indices
    order = best[torch.sort(query[best], stable=True).indices]
    first = torch.searchsorted(query, torch.arange(len(logits), device=logits.device))
    chosen = first[:, None] + torch.arange(count, device=logits.device)
    return row[order[chosen]]
