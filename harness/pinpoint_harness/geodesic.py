"""Lengths of geodesics on WGS84, thousands at a time: Karney's series, evaluated by numpy.

The longitude on the auxiliary sphere exceeds that on the ellipsoid by less than 1/297 of the arc. It is
found as a fixed point, in three steps along the slope at the first, unless the points are nearly
antipodes: those few are left to pyproj, with which the tests compare all. Series and symbols are those of
C. F. F. Karney, "Algorithms for geodesics", J. Geodesy 87 (2013), equations 9 to 25, up to the last term
that is worth a nanometre.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import Geod

    from .types import Floats

_FLATTENING = 1 / 298.257223563
_POLAR_RADIUS_M = 6_378_137.0 * (1 - _FLATTENING)
_N = _FLATTENING / (2 - _FLATTENING)
_SECOND_ECCENTRICITY_SQUARED = _FLATTENING * (2 - _FLATTENING) / (1 - _FLATTENING) ** 2

_NEGLIGIBLE = 1e-15
"""Radians of length, 6 nm, that half the square of the missing longitude over the sine of the arc may be."""

_TINY = 1e-300
"""In place of a zero divisor: no azimuth matters where points are one."""


class _Ends(NamedTuple):
    """Two points by their reduced latitudes, `beta`."""

    sin_a: Floats
    cos_a: Floats
    sin_b: Floats
    cos_b: Floats


class _Arc(NamedTuple):
    """The great circle between two points of the auxiliary sphere that are a longitude `omega` apart."""

    sin_omega: Floats
    cos_omega: Floats
    sin_sigma: Floats
    cos_sigma: Floats
    sigma: Floats


class _Terms(NamedTuple):
    """What the series are made of."""

    sin_alpha: Floats
    """Of the azimuth at the equator, `alpha0`."""
    epsilon: Floats
    waves: tuple[Floats, Floats, Floats, Floats]
    """2 cos(2 l sigma_m) sin(l sigma), l = 1 to 4, where sigma_m is the middle of the arc."""


def geodesic_m(degrees: Floats) -> Floats:
    """Metres between points whose latitude, longitude, latitude, longitude are the rows of `(4, n)`.

    NaN where one is NaN or infinite, or a latitude is beyond a pole.
    """
    with np.errstate(all="ignore"):
        length_m, converged = _by_series(degrees)
        on_earth = np.isfinite(degrees).all(axis=0) & (np.abs(degrees[::2]) <= 90).all(axis=0)
    length_m[~on_earth] = np.nan
    hard = np.flatnonzero(on_earth & ~converged)
    if len(hard):
        length_m[hard] = _by_pyproj(degrees[:, hard])
    return length_m


def _by_pyproj(degrees: Floats) -> Floats:
    # A single pair as numbers: pyproj would take arrays of one for numbers, which numpy 1 and 2.0 warn of.
    single = degrees.shape[1] == 1
    latitude_a, longitude_a, latitude_b, longitude_b = degrees[:, 0].tolist() if single else degrees
    _, _, length_m = _wgs84().inv(longitude_a, latitude_a, longitude_b, latitude_b)
    return np.asarray(length_m, dtype=np.float64)


@cache
def _wgs84() -> Geod:
    # Importing pyproj costs a quarter of a second, which only near antipodes should pay.
    from pyproj import Geod

    return Geod(ellps="WGS84")


def _by_series(degrees: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Lengths in metres, and which of them are exact to rounding."""
    ends = _Ends(*_reduced(degrees[0]), *_reduced(degrees[2]))
    turn = np.abs(degrees[3] - degrees[1])
    longitude = np.radians(np.minimum(turn, np.abs(360.0 - turn)))
    omega = longitude / (1 - _FLATTENING * ends.cos_a * ends.cos_b)  # nearly, where the way is short
    arc = _first_arc(ends, omega)
    terms = _terms(ends, arc)
    step = (longitude - omega + _excess(arc.sigma, terms)) / (1 - _slope(ends, arc, terms.sin_alpha))
    omega, arc = omega + step, _turned(ends, arc, step)
    terms = _terms(ends, arc)
    missing = longitude - omega + _excess(arc.sigma, terms)
    length = _length(arc.sigma, terms) + missing * terms.sin_alpha / (1 - _FLATTENING)
    settled = (missing * missing <= _NEGLIGIBLE * arc.sin_sigma) & (arc.sin_omega >= 0) & (turn <= 540)
    return _POLAR_RADIUS_M * length, settled


def _slope(ends: _Ends, arc: _Arc, sin_alpha: Floats) -> Floats:
    """How fast the excess grows with the longitude on the sphere, to first order in the flattening."""
    square = sin_alpha * sin_alpha
    ratio = arc.sigma / np.maximum(arc.sin_sigma, _TINY)
    return _FLATTENING * (ratio * (ends.cos_a * ends.cos_b * arc.cos_omega - square * arc.cos_sigma) + square)


def _reduced(latitude: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of the reduced latitude, from one tangent."""
    tangent = (1 - _FLATTENING) * np.tan(np.radians(latitude))
    cosine = 1 / np.sqrt(1 + tangent * tangent)
    return tangent * cosine, cosine


def _first_arc(ends: _Ends, omega: Floats) -> _Arc:
    half = np.tan(omega / 2)
    square = half * half
    scale = 1 / (1 + square)
    sin_omega, cos_omega = 2 * half * scale, (1 - square) * scale
    sin_sigma, cos_sigma = _sides(ends, sin_omega, cos_omega)
    return _Arc(sin_omega, cos_omega, sin_sigma, cos_sigma, np.arctan2(sin_sigma, cos_sigma))


def _turned(ends: _Ends, arc: _Arc, step: Floats) -> _Arc:
    """The arc when the longitude grows by a small step, without another sine or arctangent."""
    square = step * step
    sine = step * (1 - square / 6 * (1 - square / 20))
    cosine = 1 - square / 2 * (1 - square / 12 * (1 - square / 30))
    sin_omega = arc.sin_omega * cosine + arc.cos_omega * sine
    cos_omega = arc.cos_omega * cosine - arc.sin_omega * sine
    sin_sigma, cos_sigma = _sides(ends, sin_omega, cos_omega)
    growth = sin_sigma * arc.cos_sigma - cos_sigma * arc.sin_sigma
    square = growth * growth
    growth *= 1 + square / 6 * (1 + square * (9 / 20) * (1 + square * (25 / 42)))  # its arcsine
    return _Arc(sin_omega, cos_omega, sin_sigma, cos_sigma, arc.sigma + growth)


def _sides(ends: _Ends, sin_omega: Floats, cos_omega: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of the arc, both well-conditioned."""
    across = ends.cos_b * sin_omega
    along = ends.cos_a * ends.sin_b - ends.sin_a * ends.cos_b * cos_omega
    cosine = ends.sin_a * ends.sin_b + ends.cos_a * ends.cos_b * cos_omega
    return np.sqrt(across * across + along * along), cosine


def _terms(ends: _Ends, arc: _Arc) -> _Terms:
    sin_sigma, cos_sigma = arc.sin_sigma, arc.cos_sigma
    sin_alpha = ends.cos_a * ends.cos_b * arc.sin_omega / np.maximum(sin_sigma, _TINY)
    cos_alpha_squared = 1 - sin_alpha * sin_alpha
    root = np.sqrt(1 + _SECOND_ECCENTRICITY_SQUARED * cos_alpha_squared)
    epsilon = (root - 1) / (root + 1)
    middle = cos_sigma - 2 * ends.sin_a * ends.sin_b / np.maximum(cos_alpha_squared, 1e-20)
    twice = 2 * middle * middle - 1
    sin_twice, cos_twice = 2 * sin_sigma * cos_sigma, 2 * cos_sigma * cos_sigma - 1
    waves = (
        2 * middle * sin_sigma,
        2 * twice * sin_twice,
        2 * middle * (2 * twice - 1) * (sin_sigma * (2 * cos_twice + 1)),
        (4 * twice * twice - 2) * (2 * sin_twice * cos_twice),
    )
    return _Terms(sin_alpha, epsilon, waves)


def _excess(sigma: Floats, terms: _Terms) -> Floats:
    """By how much the longitude on the sphere exceeds that on the ellipsoid: `f sin(alpha0) I3`."""
    e, (first, second, third, _) = terms.epsilon, terms.waves
    scale = 1 - e * (
        (1 - _N) / 2 + e * ((1 + _N / 2 - 1.5 * _N**2) / 4 + e * ((1 + 3 * _N + _N**2) / 16 + e * (3 / 64)))
    )
    series = first * ((1 - _N) / 4 + e * ((1 - _N**2) / 8 + e * ((1 + _N) * (3 / 64) + e * (5 / 128))))
    series += e * second * ((1 - 1.5 * _N) / 16 + e * (3 / 64))
    series += e * e * third * (5 / 192)
    return _FLATTENING * terms.sin_alpha * scale * (sigma + e * series)


def _length(sigma: Floats, terms: _Terms) -> Floats:
    """Length over the polar radius: `I1`."""
    e, (first, second, third, fourth) = terms.epsilon, terms.waves
    square = e * e
    scale = (1 + square / 4 * (1 + square / 16)) / (1 - e)
    series = -first * (1 / 2 - square * (3 / 16))
    series -= e * second * (1 / 16 - square / 32)
    series -= square * (third / 48 + e * fourth * (5 / 512))
    return scale * (sigma + e * series)
