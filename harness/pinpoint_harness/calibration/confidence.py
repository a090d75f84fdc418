"""How sure a method says it is, from the probabilities of its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..metrics import hits
from ..predictions import on_globe
from ..protocols import PROTOCOLS, Protocol
from ..types import RADII_KM, Candidates

if TYPE_CHECKING:
    from ..types import Floats


def confidence_within(
    coordinates: Floats,
    candidates: Candidates,
    radii_km: Sequence[float] = RADII_KM,
    *,
    protocol: Protocol = PROTOCOLS["haversine-6371-le"],
) -> Floats:
    """Probability, 0 to 1, that each answer lies within each radius of the truth, `(n, radii)`.

    It is the summed probability of the candidates that lie within the radius of the answer, where
    the protocol decides what "within" means. `coordinates` is `(n, 2)`. A row without an answer is
    certainly wrong, 0. A row is NaN where the method gives no candidate, or one without a
    probability; all rows are NaN where it gives no probabilities at all.
    """
    if len(coordinates) != len(candidates.coordinates):
        raise UsageError(
            "every answer has its row of candidates",
            found=f"{len(coordinates)} answers, {len(candidates.coordinates)} rows of candidates",
        )
    confidence = np.zeros((len(coordinates), len(radii_km)))
    if candidates.probability is None:
        confidence.fill(np.nan)
        return confidence
    answered = on_globe(coordinates)
    answers, places = coordinates[answered], candidates.coordinates[answered]  # (m, 2), (m, k, 2)
    there = on_globe(places)  # (m, k)
    probability = np.where(there, candidates.probability[answered], 0.0)
    summed = np.zeros((len(answers), len(radii_km)))
    for slot in range(places.shape[1]):
        within = hits(protocol.distance_km(answers, places[:, slot]), radii_km, protocol.inclusive)
        summed += within * probability[:, slot, None]  # a NaN within no radius is NaN all the same
    summed[~there.any(axis=1)] = np.nan
    # Probabilities may sum to a little more than 1 in their last digits.
    confidence[answered] = np.minimum(summed, 1.0)
    return confidence
