"""SuperGlobal's reranking: retrieval that looks twice, by the same features and without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pinpoint_harness.features import Neighbours
from pinpoint_harness.params import param
from pinpoint_harness.types import Predictions

from ..common.place_gallery import best_rows
from .knn import KNNParams, NearestPhoto

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS = ("max", "average")


@dataclass(frozen=True)
class SuperGlobalParams(KNNParams):
    top: int = param(400, "most similar photos that are ranked anew", minimum=1, maximum=4096)
    k: int = param(9, "neighbours that refine a photo, found among the top", minimum=0, maximum=1000)
    beta: float = param(0.15, "weight of a neighbour, times its similarity; the photo's own is 1", minimum=0)
    pooling: str = param(
        "max", "how refined photos make the expanded query, number by number", choices=POOLINGS
    )


class SuperGlobal(NearestPhoto):
    """The best of the nearest photos after both sides were refined by their neighbours.

    Shao et al., ICCV 2023, reranking only (their pooling belongs to another network); defaults and
    arithmetic are those of the released code. Each of the 400 nearest photos becomes the weighted mean
    of itself and its 9 nearest among them; the 10 of these that are most like the query make an
    expanded query. A photo's score is the mean of both: its refined features with the query, and with
    the expanded query.

    All neighbours come from the first search, so that what the query must not see, its own photo or its
    author's, takes part in no expansion either.
    """

    Params: ClassVar[type[KNNParams]] = SuperGlobalParams
    check_with: ClassVar[Mapping[str, Any]] = {**NearestPhoto.check_with, "top": 40}
    answer_version: ClassVar[int] = 2
    params: SuperGlobalParams

    @property
    def neighbours(self) -> int:
        return self.params.top

    def answer(self, found: Neighbours) -> Predictions:
        order = np.tile(np.arange(found.row.shape[1]), (len(found.row), 1))  # (n, top)
        scores = np.full(order.shape, np.nan)
        # One query at a time: the last digits of a product hang on its shape.
        for query, (row, cosine) in enumerate(zip(found.row, found.cosine, strict=True)):
            count = int((row >= 0).sum())  # what is not there stands at the end
            if count:
                score = self._rescored(row[:count], cosine[:count])
                order[query, :count] = np.argsort(-score, kind="stable")
                scores[query, :count] = score[order[query, :count]]
        ranked = Neighbours(
            row=np.take_along_axis(found.row, order, axis=1),
            cosine=scores,
            coordinates=np.take_along_axis(found.coordinates, order[..., None], axis=1),
        )
        return super().answer(ranked)

    def _rescored(self, row: Any, cosine: Any) -> Any:
        """New scores of one query's nearest rows, `(count,)` float64."""
        import torch

        vectors = self._gallery.vectors(row).double()  # (count, width)
        similarity = torch.from_numpy(cosine).to(vectors.device)
        chosen = self.params
        return rerank(vectors, similarity, chosen.k, chosen.beta, chosen.pooling).cpu().numpy()


def rerank(vectors: Tensor, cosine: Tensor, k: int, beta: float, pooling: str) -> Tensor:
    """Scores of one query's candidates, `(m,)`, from their features and their similarity to the query.

    `vectors` `(m, width)` float64 are unit rows, best candidate first; `cosine` is `(m,)`. A neighbour
    whose similarity is negative counts nothing. Refined features are linear in the plain ones, so a
    refined candidate's score is the weighted mean of plain scores, and only those that make the
    expanded query are ever written out.
    """
    similarity = vectors @ vectors.T  # (m, m); exact if the rows hold fp16 values, so ties are ties
    similarity.fill_diagonal_(float("inf"))  # each is its own first neighbour
    near = best_rows(similarity, min(k + 1, len(vectors)))  # (m, k + 1)
    weight = beta * similarity.gather(1, near).clamp(min=0)
    weight[:, 0] = 1
    weight /= weight.sum(dim=1, keepdim=True)
    refined = (weight * cosine[near]).sum(dim=1)  # (m,)
    best = refined.argsort(descending=True, stable=True)[: k + 1]
    features = (weight[best, :, None] * vectors[near[best]]).sum(dim=1)  # (k + 1, width)
    query = features.amax(dim=0) if pooling == "max" else features.mean(dim=0)
    expanded = (weight * (vectors @ query)[near]).sum(dim=1)  # (m,)
    return (refined + expanded) / 2
