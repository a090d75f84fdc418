"""What the similarity of support adds to the retrieval's on split C: weights fitted on B, and none learned.

    python results/mini-earth/support_weights.py HOME mini-earth-v2-2 results/mini-earth/support-v2-2.csv

For the candidates of `pinpoint`, trained below HOME, sums of similarities are fitted on B's lists as the
stage `weights` does, but for its bounds (what happened at 25, 200 or 750 km is likeliest), and placed on C;
of the three fits the one that places most of C stands in the table. Support enters as its highest, its mean
and the logarithm of its number, by the learned embedding as the reranker is told them, and as its mean
similarity by raw features.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import torch
from scipy.optimize import minimize
from torch import Tensor

from pinpoint_harness.features import StoreLookup
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_params
from pinpoint_harness.types import RADII_KM, Context
from pinpoint_methods.pinpoint.candidate_search import QueryBatch, read_queries
from pinpoint_methods.pinpoint.method import Pinpoint
from pinpoint_methods.pinpoint.reranker_training import label_candidates
from pinpoint_methods.pinpoint.retriever import SourceRetriever

NAMES = ("image", "raw", "location", "support highest", "support mean", "support number", "support raw mean")
SEARCHES = (0, 1, 2)
SUMS = {
    "searches by pictures": (0, 1),
    "searches by pictures, and the mean of support": (0, 1, 4),
    "searches by pictures, and the mean of support by raw features": (0, 1, 6),
    "searches": SEARCHES,
    "and the highest of support": (*SEARCHES, 3),
    "and the mean of support": (*SEARCHES, 4),
    "and the mean of support by raw features": (*SEARCHES, 6),
    "and all of these": (*SEARCHES, 3, 4, 5, 6),
}
FITTED_AT_KM = (25.0, 200.0, 750.0)

Lists = tuple[Tensor, Tensor, Tensor]
"""Numbers of each candidate `(n, c, 7)`, who is there, and km from the truth."""


def lists_of(retriever: SourceRetriever, asked: QueryBatch) -> Lists:
    labelled = label_candidates(retriever, asked)
    lists, raw = labelled.lists, []
    for start in range(0, len(lists), 64):
        piece = lists.take(slice(start, start + 64))
        there = piece.support >= 0
        vectors = retriever._taken(retriever.support, "raw", piece.support)
        similar = torch.einsum("ne,ncme->ncm", asked.raw[start : start + 64].float(), vectors)
        raw.append((similar * there).sum(dim=2) / there.sum(dim=2).clamp(min=1))
    numbers = torch.cat([lists.scores, lists.support_facts, torch.cat(raw)[..., None]], dim=2).double()
    has = (lists.support >= 0).any(dim=2)
    for column in (3, 4, 6):  # a candidate without support is told the mean
        mean = numbers[..., column][has & lists.valid].mean()
        numbers[..., column] = torch.where(has, numbers[..., column] - mean, 0.0)
    return numbers, lists.valid, labelled.km


def fitted(lists: Lists, columns: list[int], radius_km: float) -> Tensor:
    """Weights under which it is likeliest that the truth lies within the radius of a candidate."""
    numbers, valid, km = lists
    within = (km < radius_km) & valid
    teach = within.any(dim=1)
    numbers, valid, within = numbers[teach][..., columns], valid[teach], within[teach]
    deviation = numbers[valid].std(dim=0).clamp(min=1e-6)
    scaled = numbers / deviation

    def surprise(given: Any) -> tuple[float, Any]:
        weights = torch.tensor(given, dtype=torch.float64, requires_grad=True)
        log_p = (scaled @ weights).masked_fill(~valid, -torch.inf).log_softmax(dim=1)
        loss = -log_p.masked_fill(~within, -torch.inf).logsumexp(dim=1).mean()
        (gradient,) = torch.autograd.grad(loss, weights)
        return float(loss.detach()), gradient.numpy()

    found = minimize(surprise, [0.5] * len(columns), jac=True, method="L-BFGS-B")
    return torch.tensor(found.x) / deviation


def placed(lists: Lists, columns: list[int], weights: Tensor) -> list[float]:
    """Percent within each radius by the first candidate."""
    numbers, valid, km = lists
    scores = (numbers[..., columns] @ weights).masked_fill(~valid, -torch.inf)
    away = km.masked_fill(~valid, torch.inf).gather(1, scores.argmax(dim=1, keepdim=True))[:, 0]
    return [100 * float((away < radius).double().mean()) for radius in RADII_KM]


def main(home: Path, world: str, out: Path) -> None:
    registry = load_registry([])
    stores = StoreLookup(registry, home / "stores")
    given = {"photos": f"{world}/photos", "streetview": f"{world}/streetview"}
    params = build_params(registry.method("pinpoint"), given)
    pinpoint = Pinpoint(params, Context(stores=stores, models=home / "models"))
    rows = []
    for source in pinpoint._sources:
        retriever, _, _ = pinpoint._opened(source)
        store = stores.gallery(pinpoint.params.dataset_of(source), pinpoint.params.backbone)

        def asked(name: str, source: str = source, store: Any = store) -> QueryBatch:
            folder = pinpoint._folder("candidates")
            return read_queries(folder, source, name, store, list(pinpoint._galleries), pinpoint.params)

        b, c = lists_of(retriever, asked("train")), lists_of(retriever, asked("held"))
        as_given = placed(c, [0, 2], torch.tensor([1.0, params.retrieval_location]).double())
        rows.append(_row(world, source, len(c[0]), "as given", "", as_given))
        for title, columns in SUMS.items():
            fits = [fitted(b, list(columns), radius) for radius in FITTED_AT_KM]
            best = max(fits, key=lambda weights: sum(placed(c, list(columns), weights)))
            weights = " ".join(f"{NAMES[i]}={w:.2f}" for i, w in zip(columns, best.tolist(), strict=True))
            rows.append(_row(world, source, len(c[0]), title, weights, placed(c, list(columns), best)))
    with out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(
    world: str, source: str, photos: int, title: str, weights: str, cells: list[float]
) -> dict[str, Any]:
    shown = {f"{radius:g} km": f"{cell:.2f}" for radius, cell in zip(RADII_KM, cells, strict=True)}
    mean = f"{sum(cells) / len(cells):.2f}"
    row = {"world": world, "source": source, "photos": photos, "sum of": title}
    return {**row, **shown, "mean": mean, "weights": weights}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
