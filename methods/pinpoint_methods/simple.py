"""Methods that look at no photo: the floor every other one must beat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError
from pinpoint_harness.params import param
from pinpoint_harness.readers import read_coordinates
from pinpoint_harness.types import Context, Predictions, Queries

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""splitmix64's increment, 2^64 divided by the golden ratio (Steele, Lea and Flood, OOPSLA 2014)."""


@dataclass(frozen=True)
class ConstantParams:
    latitude: float = param(help="degrees north", minimum=-90, maximum=90)
    longitude: float = param(help="degrees east", minimum=-180, maximum=180)


class Constant:
    """One coordinate for every photo: what the skew of a benchmark alone is worth."""

    Params: ClassVar[type[ConstantParams]] = ConstantParams
    answer_version: ClassVar[int] = 1
    input = "none"

    def __init__(self, params: ConstantParams, context: Context) -> None:
        self._coordinate = np.array([params.latitude, params.longitude])

    def predict(self, queries: Queries) -> Predictions:
        return Predictions(np.tile(self._coordinate, (len(queries), 1)))


@dataclass(frozen=True)
class RandomPriorParams:
    table: Path | None = param(None, "places to draw from, a row each; none: uniform on the sphere")


class RandomPrior:
    """A place drawn by chance, on the sphere or from where a gallery's photos were taken.

    A query's draw depends on its key and the seed alone, so it is the same in any tile.
    """

    Params: ClassVar[type[RandomPriorParams]] = RandomPriorParams
    answer_version: ClassVar[int] = 1
    input = "none"

    def __init__(self, params: RandomPriorParams, context: Context) -> None:
        self._seed = context.seed
        self._places = None if params.table is None else read_coordinates(params.table)
        if self._places is not None and not len(self._places):
            raise DataError(f"'{params.table}' has no place to draw from", fix="give a table with rows")

    def predict(self, queries: Queries) -> Predictions:
        first, second = uniform_draws(queries.key, self._seed, 2)
        if self._places is not None:
            return Predictions(self._places[(first * len(self._places)).astype(np.int64)])
        # Archimedes: the height of a uniform point on the sphere is uniform.
        latitude = np.degrees(np.arcsin(2 * first - 1))
        return Predictions(np.stack([latitude, 360 * second - 180], axis=1))


def uniform_draws(key: NDArray[np.uint64], seed: int, count: int) -> list[Floats]:
    """`count` numbers in [0, 1) for each key, hashed from the key and the seed."""
    state = key ^ splitmix64(np.array([seed % 2**64], dtype=np.uint64))
    draws = []
    for _ in range(count):
        state = splitmix64(state)
        draws.append((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)
    return draws


def splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output of one splitmix64 step from each state; arrays wrap around without a warning."""
    mixed = state + np.uint64(_GOLDEN_GAMMA)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
