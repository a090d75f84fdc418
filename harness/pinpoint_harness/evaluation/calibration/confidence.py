"""How sure a method says it is: what it states of a radius, else the probabilities of its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from ...geo import on_globe
from ...types import RADII_KM, Candidates
from ..metrics import hits
from ..protocols import PROTOCOLS, Protocol

if TYPE_CHECKING:
    from ...types import Floats


def stated_within(
    coordinates: Floats,
    candidates: Candidates | None,
    within: Floats | None,
    radii_km: Sequence[float] = RADII_KM,
    *,
    protocol: Protocol = PROTOCOLS["haversine-6371-le"],
) -> Floats:
    """Probability, 0 to 1, that each answer lies within each radius, by the method's best word, `(n, radii)`.

    A row of `within`, `(n, 5)`, is what the method states of `RADII_KM`, and holds under every
    protocol. A row without a statement, and a radius that is none of them, go by the candidates: see
    `confidence_within`. A row without an answer is certainly wrong, 0; NaN is where nothing is said.
    """
    answered = on_globe(coordinates)
    if candidates is None:
        confidence = np.full((len(coordinates), len(radii_km)), np.nan)
    else:
        confidence = confidence_within(coordinates, candidates, radii_km, protocol=protocol)
    confidence[~answered] = 0.0
    if within is None:
        return confidence
    if within.shape != (len(coordinates), len(RADII_KM)):
        raise UsageError(
            f"every answer has its row of probabilities within {len(RADII_KM)} radii",
            found=f"{len(coordinates)} answers, probabilities of shape {within.shape}",
        )
    for column, radius in enumerate(radii_km):
        if radius in RADII_KM:
            stated = within[:, RADII_KM.index(radius)]
            used = answered & ~np.isnan(stated)
            confidence[used, column] = stated[used]
    return confidence


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
    valid = on_globe(places)  # (m, k)
    probability = np.where(valid, candidates.probability[answered], 0.0)
    summed = np.zeros((len(answers), len(radii_km)))
    for slot in range(places.shape[1]):
        within = hits(protocol.distance_km(answers, places[:, slot]), radii_km, protocol.inclusive)
        summed += within * probability[:, slot, None]  # a NaN within no radius is NaN all the same
    summed[~valid.any(axis=1)] = np.nan
    # Probabilities may sum to a little more than 1 in their last digits.
    confidence[answered] = np.minimum(summed, 1.0)
    return confidence
