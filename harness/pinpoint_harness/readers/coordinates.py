"""Points from any table: galleries, priors, places to draw from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..geo import on_globe
from ..types import DataLocation
from .delimited import ALIASES, pick_column, read_table, sniff

if TYPE_CHECKING:
    from ..plugins import Registry
    from ..types import Floats


def open_gallery(registry: Registry, gallery: str, data: Path | None = None) -> Floats:
    """The points of any table, or of datasets by name, several separated by commas, `(m, 2)`.

    `data` is where the datasets' truth lies, as for `--data`.
    """
    if Path(gallery).is_file():
        return read_coordinates(Path(gallery))
    truths = [registry.open_dataset(name, DataLocation(data)).truth() for name in gallery.split(",")]
    return np.concatenate([truth[["latitude", "longitude"]].to_numpy() for truth in truths])


def read_coordinates(path: Path) -> Floats:
    """The points of any table that has a latitude and a longitude column, `(m, 2)`."""
    form = sniff(path)
    found = {role: pick_column(form.names, ALIASES[role]) for role in ("latitude", "longitude")}
    for role, names in found.items():
        if len(names) != 1:
            raise DataError(
                f"'{path}' must have exactly one {role} column",
                found=form.describe(),
                fix=f"name it one of: {', '.join(ALIASES[role])}",
            )
    table = read_table(form, [names[0] for names in found.values()])
    try:
        points = np.stack(
            [table.column(names[0]).to_numpy().astype(np.float64) for names in found.values()], axis=1
        )
    except ValueError as error:
        raise DataError(f"'{path}' has a coordinate that is no number", found=str(error)) from error
    off_globe = np.flatnonzero(~on_globe(points))
    if len(off_globe):
        raise DataError(
            f"'{path}' has {len(off_globe)} points that are not on the globe",
            found=f"{table.where(off_globe[:1].tolist())[0]}: {points[off_globe[0]].tolist()}",
            fix="latitudes are -90 to 90 and longitudes -180 to 180 degrees",
        )
    return points
