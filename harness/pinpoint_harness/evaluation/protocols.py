"""The ways in which the field turns two coordinates into a hit or a miss, as data.

No two projects measure the same thing: they differ in the distance, in whether a radius belongs
to its circle, and in rounding. A result names its protocol, and results of different protocols
are different measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError, UsageError, unknown_name
from ..geo import geodesic_km, great_circle_km, haversine_km, on_globe

if TYPE_CHECKING:
    from ..types import Floats

_SPHERICAL = {"haversine": haversine_km, "great-circle": great_circle_km}


@dataclass(frozen=True)
class Protocol:
    """One way of measuring an answer against the truth.

    `radius_km` is the sphere's, None on the ellipsoid. `inclusive` counts an error of exactly the
    radius as a hit. `round_geoscore` rounds each photo's GeoScore to a whole number before the
    mean. `used_by` names the papers whose rows are comparable.
    """

    name: str
    distance: Literal["haversine", "great-circle", "wgs84"]
    radius_km: float | None
    inclusive: bool
    round_geoscore: bool
    used_by: str

    def __post_init__(self) -> None:
        if (self.radius_km is None) != (self.distance == "wgs84"):
            raise UsageError(
                f"protocol '{self.name}' does not define a distance",
                found=f"distance {self.distance} with a radius of {self.radius_km}",
                fix="give a radius in km for haversine and great-circle, None for wgs84",
            )

    def distance_km(self, truth: ArrayLike, predicted: ArrayLike) -> Floats:
        """Error of each answer, `(n,)`; `inf` where there is none or it is nowhere on Earth.

        Raises DataError when a row of the truth has no valid coordinate: such a row cannot be
        scored, and dropping it would change the denominator.
        """
        # An infinite coordinate is an answer nowhere on Earth, not a reason to warn.
        with np.errstate(invalid="ignore"):
            if self.radius_km is None:
                error_km = geodesic_km(truth, predicted)
            else:
                error_km = _SPHERICAL[self.distance](truth, predicted, self.radius_km)
        _check_truth(truth)
        there = on_globe(np.asarray(predicted, dtype=np.float64))
        error_km[~np.broadcast_to(there, error_km.shape)] = np.inf
        return error_km


def get_protocol(name: str) -> Protocol:
    """The preset of this name; UsageError that lists all of them when there is none."""
    if name not in PROTOCOLS:
        raise unknown_name(f"there is no protocol '{name}'", name, PROTOCOLS)
    return PROTOCOLS[name]


def _check_truth(truth: ArrayLike) -> None:
    nowhere = np.flatnonzero(~on_globe(np.asarray(truth, dtype=np.float64)))
    if len(nowhere):
        raise DataError(
            "every row of the truth needs a valid coordinate",
            found=f"{len(nowhere)} without one, first at row {nowhere[0]}",
            fix="correct the truth file, or leave these rows out with a list of ids",
        )


_PRESETS = (
    Protocol(
        name="haversine-6371-le",
        distance="haversine",
        radius_km=6371.0,
        inclusive=True,
        round_geoscore=False,
        used_by="Vo et al. 2017, GeoEstimation (PlaNet/ISNs line), SemP",
    ),
    Protocol(
        name="haversine-6371-lt",
        distance="haversine",
        radius_km=6371.0,
        inclusive=False,
        round_geoscore=False,
        used_by="OSV-5M, PLONK, SwC",
    ),
    Protocol(
        name="haversine-6378-lt",
        distance="haversine",
        radius_km=6378.137,
        inclusive=False,
        round_geoscore=True,
        used_by="PIGEON",
    ),
    Protocol(
        name="wgs84-le",
        distance="wgs84",
        radius_km=None,
        inclusive=True,
        round_geoscore=False,
        used_by="GeoCLIP",
    ),
    Protocol(
        name="wgs84-lt",
        distance="wgs84",
        radius_km=None,
        inclusive=False,
        round_geoscore=True,
        used_by="Pinpoint, G3, GeoRanker",
    ),
    Protocol(
        name="great-circle-6371.009-le",
        distance="great-circle",
        radius_km=6371.009,
        inclusive=True,
        round_geoscore=False,
        used_by="GeoDecoder",
    ),
)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({preset.name: preset for preset in _PRESETS})
"""Every preset by its name."""
