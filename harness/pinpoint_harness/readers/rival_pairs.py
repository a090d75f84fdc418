"""Whether a table of truth holds another pair of coordinates, so that one of the two is not the truth."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..geo import haversine_km, on_globe
from .answer_columns import looks_like_answer, looks_like_truth
from .cells import LATITUDE_NAMES, LONGITUDE_NAMES, read_angles
from .delimited import read_table
from .sign_columns import is_sign_name
from .table_form import TableForm

if TYPE_CHECKING:
    from ..types import Floats

    Pair = tuple[str, str]

_SAME_PLACE_KM = 0.1
_MANY = 0.05
"""Share of the rows from which on two pairs are not the same places."""
_NO_PLACE = {
    "error",
    "err",
    "std",
    "sigma",
    "diff",
    "delta",
    "offset",
    "index",
    "idx",
    "bin",
    "rad",
    "radians",
}
"""Words in the names of columns that hold something else of a coordinate."""


def refuse_rivals(form: TableForm, taken: Pair, values: Floats, *, option: bool = True) -> None:
    """DataError where other columns hold other places than those `taken`, whose `values` are `(n, 2)`.

    Columns called answers, or beside a pair called the truth, are no rivals. Half of one pair beside
    half of another is refused as well. `option` says whether `--column` can choose.
    """
    stems = [_stem(name, axes) for name, axes in zip(taken, (LATITUDE_NAMES, LONGITUDE_NAMES), strict=True)]
    if None in stems:
        return
    pairs = [pair for pair in _pairs(form.names) if pair != taken and _is_rival(pair, taken)]
    differing = [pair for pair in pairs if stems[0] != stems[1] or _differs(form, pair, values)]
    if not differing:
        return
    truths = sorted(differing, key=lambda pair: not looks_like_truth(_stem(pair[0], LATITUDE_NAMES) or ""))
    choices = [*truths[:3], *([taken] if stems[0] == stems[1] else [])]
    fix = "say which one is the truth: " + " or ".join(map(_option, choices))
    names = " and ".join(f"'{name}'" for name in taken)
    others = "; ".join(f"'{pair[0]}' and '{pair[1]}'" for pair in truths[:3])
    raise DataError(
        f"{form.called()} holds several coordinates of each photo",
        found=f"{names}, and other places in {others}",
        fix=fix if option else "leave only those of the truth in the table",
    )


def _option(pair: Pair) -> str:
    roles = zip(("latitude", "longitude"), pair, strict=True)
    return " ".join(f"--column {shlex.quote(f'{role}={name}')}" for role, name in roles)


def _is_rival(pair: Pair, taken: Pair) -> bool:
    stem, own = (_stem(one[0], LATITUDE_NAMES) or "" for one in (pair, taken))
    if looks_like_truth(stem):
        return True
    return not looks_like_answer(stem) and not looks_like_truth(own)


def _pairs(names: tuple[str, ...]) -> list[Pair]:
    """Columns that differ in the word for the axis alone, in the order of the file."""
    axes: list[dict[str, list[str]]] = [{}, {}]
    for axis, words in enumerate((LATITUDE_NAMES, LONGITUDE_NAMES)):
        for name in names:
            stem = _stem(name, words)
            if stem is not None and names.count(name) == 1 and not is_sign_name(name):
                axes[axis].setdefault(stem, []).append(name)
    return [pair for stem in axes[0] for pair in zip(axes[0][stem], axes[1].get(stem, ()), strict=False)]


def _stem(name: str, axis: tuple[str, ...]) -> str | None:
    """A column's name without the word for the axis; None where it has none, or is no coordinate."""
    words = re.split(r"[_ .\-]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    rest = [word for word in words if word not in axis]
    return None if len(rest) != len(words) - 1 or _NO_PLACE & set(rest) else "_".join(rest)


def _differs(form: TableForm, pair: Pair, values: Floats) -> bool:
    cells = read_table(form, list(pair))
    axes = [read_angles(cells.column(pair[0]), "latitude"), read_angles(cells.column(pair[1]), "longitude")]
    others = np.stack([axis.degrees for axis in axes], axis=1)  # (n, 2)
    if len(others) != len(values):
        return False
    known = on_globe(others) & on_globe(values)
    return bool(known.any() and (haversine_km(others[known], values[known]) > _SAME_PLACE_KM).mean() >= _MANY)
