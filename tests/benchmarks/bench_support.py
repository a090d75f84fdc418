"""Rows `support/*`: the nearest photos on Earth, against scikit-learn, scipy, and the stored table.

    python tests/benchmarks/bench_support.py [--rows N] [--points M] [--pairs P]

Places lie around towns of very different size, many photos in one place. Ours and the peer
alternate in one process; the ratio is the median over the pairs, above 1 where ours is faster. Before
a time is taken, the distances of both must agree.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from ratios import state
from scipy.spatial import cKDTree
from sklearn.neighbors import BallTree  # type: ignore[import-untyped] # no types published

from pinpoint_harness.geo import EARTH_RADIUS_KM, chord_from_km, km_from_chord
from pinpoint_harness.search import Rows, SupportIndex, xyz_of

K, RADIUS_KM, CANDIDATES = 16, 25.0, 12
Floats = NDArray[np.float64]


def places(rows: int, seed: int) -> Floats:
    """Around 5,000 towns with Zipf's sizes; a fifth of the photos share a place with another."""
    random = np.random.default_rng(seed)
    town_random = np.random.default_rng(0)
    towns = np.column_stack(
        [np.degrees(np.arcsin(town_random.uniform(-0.9, 0.95, 5000))), town_random.uniform(-180, 180, 5000)]
    )
    drawn = towns[np.minimum(random.zipf(1.3, rows), 5000) - 1] + random.standard_t(2, (rows, 2)) * 0.05
    drawn[: rows // 5] = drawn[random.integers(rows // 5, rows, rows // 5)]
    drawn = np.clip(drawn[random.permutation(rows)], [-90, -180], [90, 180])
    return np.asarray(drawn, dtype=np.float64)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def race(
    title: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    pairs: int,
    aim: str,
    share: float = 1.0,
) -> None:
    """Ratio of theirs to ours; the peer is given a `share` of the work where all of it takes minutes."""
    ours(), theirs()
    times = [(seconds(ours), seconds(theirs) / share) for _ in range(pairs)]
    ratios = [peer / mine for mine, peer in times]
    mine, peer = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    state(title, statistics.median(ratios))
    print(
        f"{title:40} {statistics.median(ratios):7.1f}x ({min(ratios):.1f} to {max(ratios):.1f})  "
        f"{mine:9.2f} against {peer:9.1f} ms  aim {aim}",
        flush=True,
    )


def bench_online(store: Floats, points: Floats, pairs: int) -> SupportIndex:
    xyz, point_xyz = xyz_of(store), xyz_of(points)
    index = SupportIndex(Rows(xyz=xyz))
    tree = cKDTree(xyz)
    ball = BallTree(np.radians(store), metric="haversine")
    some = points[: max(100, len(points) // 20)]
    found = index.nearest(point_xyz, K, RADIUS_KM)
    distance, _ = tree.query(point_xyz, K, distance_upper_bound=float(chord_from_km(RADIUS_KM)))
    limit = RADIUS_KM - 1e-3  # on the very edge float32 and float64 places may differ
    expected = np.where(np.isinf(distance), np.inf, km_from_chord(np.minimum(distance, 2.0)))
    np.testing.assert_allclose(found.distance_km[expected < limit], expected[expected < limit], atol=2e-3)
    angle, _ = ball.query(np.radians(some), K)
    near = angle * EARTH_RADIUS_KM < limit
    np.testing.assert_allclose(found.distance_km[: len(some)][near], angle[near] * EARTH_RADIUS_KM, atol=2e-3)
    race(
        f"support/online {len(points):,} points vs BallTree",
        lambda: index.nearest(point_xyz, K, RADIUS_KM),
        lambda: ball.query(np.radians(some), K),
        pairs,
        "60x",
        len(some) / len(points),
    )
    race(
        f"support/online {len(points):,} points vs cKDTree",
        lambda: index.nearest(point_xyz, K, RADIUS_KM),
        lambda: tree.query(point_xyz, K, distance_upper_bound=float(chord_from_km(RADIUS_KM))),
        pairs,
        "1x",
    )
    return index


def bench_table(index: SupportIndex, store: Floats, pairs: int, queries: int = 1000) -> None:
    """Twelve candidates for each of a thousand queries: a gather from the table, or a tree at query time."""
    xyz = xyz_of(store)
    chosen = np.random.default_rng(7).integers(0, len(store), queries * CANDIDATES)
    table = np.full((len(store), K), -1, dtype=np.int32)
    table[chosen] = index.nearest(xyz[chosen], K, RADIUS_KM).rows
    tree = cKDTree(xyz)
    reach = float(chord_from_km(RADIUS_KM))
    race(
        f"support/table {queries:,} queries x {CANDIDATES}",
        lambda: table[chosen],
        lambda: tree.query(xyz[chosen], K, distance_upper_bound=reach),
        5 * pairs,
        "50x",
    )


def join(xyz: NDArray[np.float32]) -> object:
    return SupportIndex(Rows(xyz=xyz)).nearest(xyz, K, RADIUS_KM)


def bench_build(largest: int) -> None:
    sizes = [size for size in (10_000, 30_000, 100_000, 300_000, 1_000_000) if size <= largest]
    times = []
    for size in sizes:
        store = places(size, 8)
        times.append(seconds(partial(join, xyz_of(store))))
        print(f"support/build-growth {size:9,} rows onto themselves  {times[-1]:7.2f} s", flush=True)
        if size == 100_000:
            radians = np.radians(store)
            ball = BallTree(radians, metric="haversine")
            peer = seconds(partial(BallTree, radians, metric="haversine"))
            peer += seconds(partial(ball.query, radians[:1000], K)) * size / 1000
            print(f"support/build-growth vs BallTree (extrapolated)  {peer / times[-1]:.0f}x  aim 50x")
    fitted = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    print(f"support/build-growth slope {fitted:.3f}  aim 1.15")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--most-rows", type=int, default=300_000)
    given = parser.parse_args()
    store, points = places(given.rows, 1), places(given.points, 2)
    index = bench_online(store, points, given.pairs)
    bench_table(index, store, given.pairs)
    bench_build(given.most_rows)


if __name__ == "__main__":
    main()
