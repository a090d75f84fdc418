"""How `land.png` was made; run once, kept so that anyone can see where the coastlines come from.

    pip install global-land-mask==1.0.0
    python -m pinpoint_harness.reports.build_land land.png

The package carries the sea of NOAA's GLOBE elevation model (public domain), which has no height
there, on a grid of 1/120 degree; the package's own code is under the MIT licence and is not taken.
"""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 12
"""GLOBE has 120 points a degree; 12 a side make cells of 0.1 degree, 44 kB as a PNG of one bit."""


def land_cells(sea: NDArray[np.bool_], points: int = POINTS) -> NDArray[np.bool_]:
    """Cells of `points` x `points` samples of which half or more are land."""
    rows, columns = sea.shape
    wet = sea.reshape(rows // points, points, columns // points, points).sum((1, 3))
    land: NDArray[np.bool_] = 2 * wet <= points * points
    return land


def main(out: Path) -> None:
    from PIL import Image

    # By name, since it is no dependency: it is needed once.
    package = importlib.import_module("global_land_mask")
    with np.load(Path(package.__path__[0], "globe_combined_mask_compressed.npz")) as globe:
        land = land_cells(globe["mask"])
    data = io.BytesIO()
    Image.fromarray(land).convert("1").save(data, "PNG", optimize=True)
    out.write_bytes(data.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
