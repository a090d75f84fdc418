"""Row `metric/distance`: vectorised distances against geopy's loops.

    python tests/benchmarks/bench_distance.py [PAIRS]

PAIRS (default 100,000) are compared one by one with geopy, poles, the antimeridian and antipodes
among them; a million takes a few minutes. Speed is the median over alternating rounds of ours on
210,122 pairs, as many as OSV-5M's test set has, against geopy on a slice of the same pairs.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable

import geopy.distance
import numpy as np
from numpy.typing import NDArray
from ratios import state

from pinpoint_harness.geo import geodesic_km, great_circle_km, haversine_km

Floats = NDArray[np.float64]
Distance = Callable[[Floats, Floats], Floats]

ROUNDS = 5
OSV_ROWS = 210_122
GREAT_CIRCLE_ROWS, GEODESIC_ROWS = 20_000, 2_000
"""Rows of a geopy round: about 0.15 s each."""


def draw_pairs(n: int) -> tuple[Floats, Floats]:
    """Uniform on the sphere; of every 20 rows one antipode, one pole, one antimeridian, one near pair."""
    generator = np.random.default_rng(0)

    def anywhere() -> Floats:
        latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, n)))
        return np.stack([latitude, generator.uniform(-180, 180, n)], axis=1)

    a, b = anywhere(), anywhere()
    b[0::20] = np.stack(
        [-a[0::20, 0], np.where(a[0::20, 1] > 0, a[0::20, 1] - 180, a[0::20, 1] + 180)], axis=1
    )
    a[1::20, 0] = np.where(a[1::20, 0] > 0, 90, -90)
    a[2::20, 1], b[2::20, 1] = 180 - 1e-3, -180 + 1e-3
    b[3::20] = np.clip(a[3::20] + generator.normal(scale=0.01, size=b[3::20].shape), [-90, -180], [90, 180])
    return a, b


def geopy_great_circle(a: Floats, b: Floats) -> Floats:
    return np.array([geopy.distance.great_circle(p, q).km for p, q in zip(a, b, strict=True)])


def geopy_geodesic(a: Floats, b: Floats) -> Floats:
    return np.array([geopy.distance.geodesic(p, q).km for p, q in zip(a, b, strict=True)])


def haversine_on_geopy_radius(a: Floats, b: Floats) -> Floats:
    return haversine_km(a, b, radius_km=6371.009)


def compare(a: Floats, b: Floats) -> None:
    """Largest difference from geopy over all pairs, asserted before any time is taken."""
    great_circle, geodesic = geopy_great_circle(a, b), geopy_geodesic(a, b)
    opposite = great_circle > 20_000
    haversine = haversine_on_geopy_radius(a, b)
    differences = {
        "haversine, up to 20,000 km": (np.abs(haversine - great_circle)[~opposite].max(), 1e-8),
        "haversine, at antipodes": (np.abs(haversine - great_circle)[opposite].max(), 3e-4),
        "great circle": (np.abs(great_circle_km(a, b) - great_circle).max(), 1e-10),
        "WGS84 geodesic": (np.abs(geodesic_km(a, b) - geodesic).max(), 1e-10),
    }
    print(f"largest difference from geopy over {len(a):,} pairs")
    for name, (difference_km, allowed_km) in differences.items():
        print(f"  {name:28} {difference_km:.1e} km  (allowed {allowed_km:.0e})")
        assert difference_km <= allowed_km, name


def seconds_per_pair(distance: Distance, a: Floats, b: Floats) -> float:
    started = time.perf_counter()
    distance(a, b)
    return (time.perf_counter() - started) / len(a)


def race(name: str, ours: Distance, theirs: Distance, theirs_rows: int, a: Floats, b: Floats) -> None:
    """Median of the pairwise ratios of alternating rounds, and what ours allocates."""
    ours(a[:1000], b[:1000])
    theirs(a[:100], b[:100])
    rounds = [
        (seconds_per_pair(ours, a, b), seconds_per_pair(theirs, a[:theirs_rows], b[:theirs_rows]))
        for _ in range(ROUNDS)
    ]
    tracemalloc.start()
    result = ours(a, b)
    temporary_bytes = tracemalloc.get_traced_memory()[1] - result.nbytes
    tracemalloc.stop()
    ratios = sorted(slow / fast for fast, slow in rounds)
    fast, slow = (statistics.median(side) for side in zip(*rounds, strict=True))
    state(f"distance {name}", statistics.median(ratios))
    print(
        f"{name:34} {fast * 1e9:7.0f} ns against {slow * 1e6:6.1f} us a pair: "
        f"{statistics.median(ratios):6.0f} x ({ratios[0]:.0f} to {ratios[-1]:.0f}); "
        f"{len(a):,} pairs in {fast * len(a):.3f} s, temporaries {temporary_bytes / 2**20:.1f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=int, nargs="?", default=100_000)
    compare(*draw_pairs(parser.parse_args().pairs))
    a, b = draw_pairs(OSV_ROWS)
    race("haversine / great_circle", haversine_on_geopy_radius, geopy_great_circle, GREAT_CIRCLE_ROWS, a, b)
    race("great circle / great_circle", great_circle_km, geopy_great_circle, GREAT_CIRCLE_ROWS, a, b)
    race("haversine / geodesic", haversine_on_geopy_radius, geopy_geodesic, GEODESIC_ROWS, a, b)
    race("WGS84 geodesic / geodesic", geodesic_km, geopy_geodesic, GEODESIC_ROWS, a, b)


if __name__ == "__main__":
    main()
