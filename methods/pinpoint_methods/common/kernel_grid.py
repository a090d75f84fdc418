"""The peak of weighted places blurred on a grid of degrees, as [L]kNN finds it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats


def lknn_peak(places: Floats, weight: Floats, sigma_deg: float) -> Floats:
    """The highest point of the blurred weights: first on whole degrees, then on tenths around that."""
    half, whole = np.array([90, 180]), np.array([180, 360])
    cells = np.ceil(places).astype(int) + half  # 1..180 and 1..360 as in MATLAB
    inside = ((cells >= 1) & (cells <= whole)).all(axis=1)
    coarse = _peak(cells[inside] - 1, weight[inside], _blur(180, sigma_deg), _blur(360, sigma_deg)) + 1
    middle = 10 * np.clip(coarse, 21, [159, 339])
    # Rounding as the released code does it: 0.1 degree, the cell named by its upper edge.
    fine = np.ceil(places * 10).astype(int) + 10 * half - (middle - 200)
    inside = ((fine >= 0) & (fine <= 400)).all(axis=1)
    if not inside.any():  # all weight at the rim, beyond the clipped window: the coarse peak stands
        rim: Floats = (coarse - half).astype(np.float64)
        return rim
    blur = _blur(401, 10 * sigma_deg)
    peak = _peak(fine[inside], weight[inside], blur, blur) + middle - 200
    answer: Floats = (peak - 10 * half) / 10
    return answer


def _peak(cells: NDArray[Any], weight: Floats, rows: Floats, columns: Floats) -> NDArray[np.int64]:
    """The cell with the most blurred weight; of equals the first down the columns, as MATLAB finds it."""
    density = columns[:, cells[:, 1]] @ (rows[:, cells[:, 0]] * weight).T  # (columns, rows)
    column, row = divmod(int(np.argmax(density)), len(rows))
    return np.array([row, column])


@cache
def _blur(cells: int, sigma: float) -> Floats:
    """A one-dimensional Gaussian filter as a matrix, cut at two sigma and continued at the edges."""
    from scipy.ndimage import gaussian_filter1d

    radius = int(np.ceil(2 * sigma))
    blur: Floats = gaussian_filter1d(np.eye(cells), sigma, axis=0, mode="nearest", radius=radius)
    return blur
