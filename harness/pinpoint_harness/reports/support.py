"""Support: how many photos of each gallery lie near a place, for the galleries that are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import HarnessError
from ..evaluation.slices import opened_points
from ..geo import chord_from_km, unit_xyz

if TYPE_CHECKING:
    from ..plugins import Registry
    from ..running import Run
    from ..types import Floats

SUPPORT_KM = 25.0


class Support:
    """The points of the galleries that some runs opened, `(m, 2)` each by its dataset or folder."""

    def __init__(self, points: dict[str, Floats]) -> None:
        from scipy.spatial import cKDTree

        self.points = points
        self._trees = {
            name: cKDTree(unit_xyz(places[np.isfinite(places).all(axis=1)]))
            for name, places in points.items()
        }

    @classmethod
    def of(cls, runs: Sequence[Run], registry: Registry) -> Support:
        """What is here of the galleries of `runs`; one that cannot be opened is left out."""
        found: dict[str, Floats] = {}
        for run in runs:
            if run.oracle or not run.galleries or {one.name for one in run.galleries} <= found.keys():
                continue
            try:
                found |= opened_points(run, registry)
            except HarnessError:
                continue
        return cls(found)

    def near(self, places: Floats) -> list[dict[str, int]]:
        """For each of `places` `(n, 2)` the photos within `SUPPORT_KM` of it, by gallery."""
        if not len(places):
            return []
        reach, xyz = float(chord_from_km(SUPPORT_KM)), unit_xyz(places)
        counts = {
            name: tree.query_ball_point(xyz, reach, return_length=True).tolist()
            for name, tree in self._trees.items()
        }
        return [{name: each[at] for name, each in counts.items()} for at in range(len(places))]
