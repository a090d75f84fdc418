"""[L]kNN: the peak of the density of the nearest gallery photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pinpoint_harness.features import Neighbours
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.params import param
from pinpoint_harness.types import Predictions

from ..common.kernel_grid import lknn_peak
from .knn import KNNParams, NearestPhoto

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


@dataclass(frozen=True)
class LKNNParams(KNNParams):
    k: int = param(100, "neighbours", minimum=1, maximum=4096)
    exponent: float = param(10.0, "of the inverse squared feature distance", minimum=0)
    sigma_deg: float = param(4.0, "width of the kernel", minimum=0.1, maximum=10)
    snap_km: float = param(100.0, "answer with the first neighbour this close to the peak", minimum=0)


class LKNN(NearestPhoto):
    """[L]kNN as released by Vo, Jacobs and Hays: the peak of a density of neighbours, then snapped.

    100 neighbours, each weighted by 1 / d^10 where d is FLANN's distance of unit vectors, the
    *squared* Euclidean one. The weights are summed on a grid of 1 degree and blurred by a Gaussian
    of 4 degrees; around the peak the same is done on a grid of 0.1 degree. The answer is the most
    similar neighbour within 100 km of that peak, or the peak where there is none. The grid is flat
    and has edges, as released: it does not wrap at the antimeridian.
    """

    Params: ClassVar[type[KNNParams]] = LKNNParams
    params: LKNNParams

    @property
    def neighbours(self) -> int:
        return max(self.params.k, self.params.candidates)

    def answer(self, found: Neighbours) -> Predictions:
        pairs = zip(found.cosine, found.coordinates, strict=True)
        placed = [self._place(cosine[: self.params.k], places[: self.params.k]) for cosine, places in pairs]
        return Predictions(
            np.array([place for place, _ in placed]).reshape(-1, 2),
            confidence=np.array([share for _, share in placed]),
            candidates=self._gallery.candidates(found, self.params.candidates),
        )

    def _place(self, cosine: Floats, places: Floats) -> tuple[Floats, float]:
        """The answer to one query, and the share of the weight within its snapping distance."""
        valid = ~np.isnan(cosine)
        places, squared = places[valid], np.maximum(2 - 2 * cosine[valid], 1e-6)
        if not len(places):
            return np.full(2, np.nan), np.nan
        weight = (squared[0] / squared) ** self.params.exponent
        peak = lknn_peak(places, weight, self.params.sigma_deg)
        # The released code measures this distance on a sphere of 6371 km, too.
        near = haversine_km(places, peak) < self.params.snap_km
        answer: Floats = places[np.argmax(near)] if near.any() else peak
        return answer, float(weight[near].sum() / weight.sum())
