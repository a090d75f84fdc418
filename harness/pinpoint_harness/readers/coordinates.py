"""Points from any table: galleries, priors, places to draw from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..errors import DataError
from ..reading import reads
from ..types import DataLocation
from .delimited import ALIASES, pick_column, read_table
from .forms import open_form
from .place_columns import only_position
from .truth_columns import coordinates_of

if TYPE_CHECKING:
    from ..plugins import Registry
    from ..types import Floats

log = logging.getLogger(__name__)


def open_gallery(registry: Registry, gallery: str, data: Path | None = None) -> Floats:
    """The points of any table, or of datasets by name, several separated by commas, `(m, 2)`.

    `data` is where the datasets' truth lies, as for `--data`.
    """
    if Path(gallery).is_file():
        return read_coordinates(Path(gallery))
    truths = [registry.open_dataset(name, DataLocation(data)).truth() for name in gallery.split(",")]
    return np.concatenate([truth[["latitude", "longitude"]].to_numpy() for truth in truths])


@reads()
def read_coordinates(path: Path) -> Floats:
    """The points of any table that has a latitude and a longitude column, `(m, 2)`."""
    form = open_form(path)
    found = {role: pick_column(form.names, ALIASES[role]) for role in ("latitude", "longitude")}
    if not any(found.values()) and (position := only_position(form)):
        found = {"latitude": [position[0]], "longitude": [position[1]]}
    for role, names in found.items():
        if len(names) != 1:
            raise DataError(
                f"'{path}' must have exactly one {role} column",
                found=form.describe(),
                fix=f"name it one of: {', '.join(ALIASES[role])}",
            )
    table = read_table(form, list(dict.fromkeys(names[0] for names in found.values())))
    rows = pd.Series([f"point {row + 1}" for row in range(len(table))])
    points, notes = coordinates_of(table, found["latitude"][0], found["longitude"][0], rows, exchange="")
    for note in notes:
        log.warning("%s: %s", path.name, note)
    return points
