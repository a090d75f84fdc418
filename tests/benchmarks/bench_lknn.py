"""Row `lknn`: the peak of 100 weighted neighbours, against blurring the whole grids with scipy.

    python tests/benchmarks/bench_lknn.py

Both blur a Gaussian of 4 degrees, cut at two sigma, first on whole degrees and then on tenths around the
highest cell, and must name the same peaks. Processor time of one thread; the aim is 2 ms a query.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from ratios import state
from scipy.ndimage import gaussian_filter

from pinpoint_methods.common.kernel_grid import lknn_peak

SIGMA_DEG, QUERIES, ROUNDS, AIM_MS = 4.0, 40, 7, 2.0
Floats, Cells = NDArray[np.float64], NDArray[np.int64]
Drawn = list[tuple[Floats, Floats]]


def blurred_peak(places: Floats, weight: Floats, sigma_deg: float) -> Floats:
    half, whole = np.array([90, 180]), np.array([180, 360])
    cells = np.ceil(places).astype(int) + half - 1
    coarse = _highest(cells, weight, (180, 360), sigma_deg) + 1
    middle = 10 * np.clip(coarse, 21, whole - 21)
    fine = np.ceil(places * 10).astype(int) + 10 * half - (middle - 200)
    inside = ((fine >= 0) & (fine <= 400)).all(axis=1)
    peak = _highest(fine[inside], weight[inside], (401, 401), 10 * sigma_deg) + middle - 200
    return np.asarray((peak - 10 * half) / 10)


def _highest(
    cells: NDArray[np.int64], weight: Floats, shape: tuple[int, int], sigma: float
) -> NDArray[np.int64]:
    grid = np.zeros(shape)
    np.add.at(grid, tuple(cells.T), weight)
    blurred = gaussian_filter(grid, sigma, mode="nearest", radius=int(np.ceil(2 * sigma)))
    return np.array(np.unravel_index(int(np.argmax(blurred)), shape))


def milliseconds(
    work: Callable[[Floats, Floats, float], Floats], drawn: list[tuple[Floats, Floats]]
) -> float:
    started = time.process_time()
    for places, weight in drawn:
        work(places, weight, SIGMA_DEG)
    return 1e3 * (time.process_time() - started) / len(drawn)


def main() -> None:
    random = np.random.default_rng(0)
    drawn = [
        (
            np.stack([random.uniform(-60, 70, 100), random.uniform(-160, 160, 100)], axis=1),
            (1 / random.uniform(0.3, 1, 100)) ** 10,
        )
        for _ in range(QUERIES)
    ]
    for places, weight in drawn:
        np.testing.assert_allclose(
            lknn_peak(places, weight, SIGMA_DEG), blurred_peak(places, weight, SIGMA_DEG), atol=0.11
        )
    rounds = [(milliseconds(lknn_peak, drawn), milliseconds(blurred_peak, drawn)) for _ in range(ROUNDS)]
    ratios = sorted(theirs / ours for ours, theirs in rounds)
    ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    state("lknn peak of 100 neighbours against gaussian_filter", statistics.median(ratios))
    spread = f"{min(own for own, _ in rounds):.2f} to {max(own for own, _ in rounds):.2f}"
    print(
        f"lknn: {ours:.2f} ms a query ({spread}, aim {AIM_MS:g}) against {theirs:.2f} of scipy's filter: "
        f"{statistics.median(ratios):.1f}x ({ratios[0]:.1f} to {ratios[-1]:.1f})"
    )


if __name__ == "__main__":
    main()
