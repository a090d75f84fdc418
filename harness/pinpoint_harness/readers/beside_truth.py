"""Answers held against the truth: whether they are the truth itself, or follow another convention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..geo import haversine_km, on_globe
from .conventions import FEWEST, FEWEST_WHOLE

if TYPE_CHECKING:
    from ..types import Floats

_SAME_PLACE_KM = 0.1
_TELLING = ((25.0, 0.1), (750.0, 0.3))
"""Within so many km must be so large a share of the answers for another convention to be theirs."""
_TELLING_OF_FEW = ((25.0, 0.5),)
_TURN = "turn that sign in a copy"


def share_at_truth(truth: Floats, answers: Floats) -> float:
    """Share of the answers that are the truth itself, within 100 m, however it was rounded."""
    answered = on_globe(answers) & on_globe(truth)
    if not answered.any():
        return 0.0
    return _share_within(truth[answered], answers[answered], _SAME_PLACE_KM)


@dataclass(frozen=True)
class Convention:
    """Another reading of coordinates `(n, 2)`: its words in a message, and what to do to the file."""

    name: str
    words: str
    read: Callable[[Floats], Floats]
    fix: str


_OTHERS = (
    Convention("exchanged", "with latitude and longitude exchanged", lambda it: it[:, ::-1], ""),
    Convention("radians", "read as radians", np.degrees, ""),
    Convention(
        "longitude",
        "with the sign of the longitudes turned",
        lambda it: it * (1, -1),
        _TURN,
    ),
    Convention(
        "latitude",
        "with the sign of the latitudes turned",
        lambda it: it * (-1, 1),
        _TURN,
    ),
    Convention(
        "from the pole",
        "with latitudes counted from the north pole",
        lambda it: it * (-1, 1) + (90, 0),
        "write 90 minus each latitude in a copy",
    ),
    Convention(
        "from the south pole",
        "with latitudes counted from the south pole",
        lambda it: it - (90, 0),
        "subtract 90 from each latitude in a copy",
    ),
    Convention(
        "gradians", "read as gradians", lambda it: it * 0.9, "multiply the coordinates by 0.9 in a copy"
    ),
    Convention(
        "from the antimeridian",
        "with longitudes counted from the antimeridian",
        lambda it: np.stack([it[:, 0], it[:, 1] % 360 - 180], axis=1),  # 360 may be subtracted already
        "subtract 180 from each longitude in a copy, and add 360 where that is below -180",
    ),
    Convention(
        "radian latitude",
        "with latitudes alone read as radians",
        lambda it: it * (180 / np.pi, 1),
        "multiply each latitude by 57.29577951 in a copy",
    ),
    Convention(
        "radian longitude",
        "with longitudes alone read as radians",
        lambda it: it * (1, 180 / np.pi),
        "multiply each longitude by 57.29577951 in a copy",
    ),
)
"""The fix of the first two is an option of the reader."""


def better_convention(truth: Floats, answers: Floats) -> tuple[list[Convention], str] | None:
    """In which other conventions the answers would be far better, and in words how much; None for none.

    One convention, or exchanged columns and a second one. Compares the shares within 25 km and 750 km:
    better means too much better for chance. Nothing is told of answers that are all the same.
    """
    answered = np.isfinite(answers).all(axis=1) & on_globe(truth)
    truth, answers = truth[answered], answers[answered]
    if len(answers) < FEWEST_WHOLE or (answers == answers[0]).all():
        return None
    exchanged = _OTHERS[0]
    for km, enough in _TELLING if len(answers) >= FEWEST else _TELLING_OF_FEW:
        as_given = _share_within(truth, answers, km)
        if 3 * as_given > 1:  # nothing can be so much better
            continue
        for others in [*([one] for one in _OTHERS), *([exchanged, one] for one in _OTHERS[1:])]:
            values = answers
            for other in others:
                values = other.read(values)
            share = _share_within(truth, values, km)
            if share * len(answers) >= FEWEST_WHOLE and share >= max(enough, 3 * as_given):
                words = f"{share:.0%} of them lie within {km:g} km of the truth"
                words = f"{words} {' and '.join(other.words for other in others)}"
                return others, f"{words}, {as_given:.0%} as they are"
    return None


def _share_within(truth: Floats, answers: Floats, km: float) -> float:
    """Share of all answers; one that lies off the globe is not within any distance."""
    possible = on_globe(answers)
    return float((haversine_km(truth[possible], answers[possible]) <= km).sum() / max(len(truth), 1))
