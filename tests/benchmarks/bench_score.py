"""Row `score/osv-size`: scoring as many rows as OSV-5M's test set has, intervals included.

    python tests/benchmarks/bench_score.py

Ours: WGS84 errors, five radii, GeoScore, mean, median and 1,000 resamples of photographers, on
210,122 rows. Theirs: a geopy loop and a bootstrap that gathers the rows of the drawn
photographers, as one writes it with numpy. It is timed on a random subsample, large enough that
fixed costs hardly show, and extrapolated linearly in the number of rows; on the subsample both
must give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import geopy.distance
import numpy as np
from numpy.typing import NDArray
from ratios import state

from pinpoint_harness.evaluation import get_protocol, metric_names
from pinpoint_harness.evaluation.bootstrap import cluster, estimate_all
from pinpoint_harness.types import RADII_KM

Floats = NDArray[np.float64]
Numbers = dict[str, Floats]

ROWS, PHOTOGRAPHERS, SUBSAMPLE_ROWS = 210_122, 20_000, 20_000
RESAMPLES, SEED, ROUNDS = 1_000, 0, 5
PROTOCOL = get_protocol("wgs84-lt")


def draw_rows(n: int) -> tuple[Floats, Floats, list[str | None]]:
    """Truth, answers and photographers: few with thousands of photos, most with a handful; 1 % misses."""
    generator = np.random.default_rng(1)
    share = 1 / (np.arange(PHOTOGRAPHERS) + 10)
    photographers = generator.choice(PHOTOGRAPHERS, n, p=share / share.sum())
    skill = generator.normal(0, 0.7, PHOTOGRAPHERS)
    error_deg = 10 ** (generator.normal(-0.3, 1.0, n) + skill[photographers])
    truth = np.stack(
        [np.degrees(np.arcsin(generator.uniform(-1, 1, n))), generator.uniform(-180, 180, n)], axis=1
    )
    predicted = truth + generator.normal(size=(n, 2)) * np.minimum(error_deg, 60)[:, None]
    predicted[:, 0] = predicted[:, 0].clip(-90, 90)
    predicted[:, 1] = (predicted[:, 1] + 180) % 360 - 180
    predicted[generator.random(n) < 0.01] = np.nan
    return truth, predicted, [f"creator {photographer}" for photographer in photographers]


def ours(truth: Floats, predicted: Floats, authors: list[str | None]) -> Numbers:
    clusters = cluster(authors, "creator_id", len(truth))
    error_km = PROTOCOL.distance_km(truth, predicted)
    found = estimate_all(
        error_km,
        clusters,
        RADII_KM,
        PROTOCOL.inclusive,
        PROTOCOL.round_geoscore,
        resamples=RESAMPLES,
        seed=SEED,
    )
    return {
        name: np.array([item.value, item.standard_error, item.low, item.high], dtype=np.float64)
        for name, item in found.items()
    }


def theirs(truth: Floats, predicted: Floats, authors: list[str | None]) -> Numbers:
    error_km = np.array(
        [
            np.inf if np.isnan(answer).any() else geopy.distance.geodesic(place, answer).km
            for place, answer in zip(truth, predicted, strict=True)
        ]
    )
    rows_of: dict[str | None, list[int]] = {}
    for row, author in enumerate(authors):
        rows_of.setdefault(author, []).append(row)
    groups = [np.array(rows) for rows in rows_of.values()]
    generator = np.random.default_rng(SEED)
    replicates = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(len(groups), size=len(groups))
        replicates.append(plain_metrics(error_km[np.concatenate([groups[group] for group in drawn])]))
    ordered = np.sort(replicates, axis=0)
    numbers = np.stack(
        [plain_metrics(error_km), np.std(replicates, axis=0, ddof=1), ordered[24], ordered[-25]]
    )
    return dict(zip(metric_names(RADII_KM), numbers.T, strict=True))


def plain_metrics(error_km: Floats) -> list[float]:
    return [
        *(100 * float(np.mean(error_km < radius)) for radius in RADII_KM),
        float(error_km[np.isfinite(error_km)].mean()),
        float(np.median(error_km)),
        float(np.round(5000 * np.exp(-error_km / 1492.7)).mean()),
    ]


def print_peak_memory(rows: int) -> None:
    """What the scoring adds to a process that has its imports and nothing else, inputs included."""
    PROTOCOL.distance_km([(0.0, 0.0)], [(1.0, 1.0)])
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours(*draw_rows(rows))
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib))


def measure_peak_mib() -> float:
    command = [sys.executable, __file__, "--peak-memory"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(finished.stdout)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peak-memory", action="store_true", help="only score once and print KiB of memory")
    if parser.parse_args().peak_memory:
        print_peak_memory(ROWS)
        return
    # First, while this process is small: a child's ru_maxrss starts at its parent's.
    peak_mib = measure_peak_mib()
    truth, predicted, authors = draw_rows(ROWS)
    sample = np.sort(np.random.default_rng(2).choice(ROWS, SUBSAMPLE_ROWS, replace=False))
    subsample = truth[sample], predicted[sample], [authors[row] for row in sample]
    fast_numbers, slow_numbers = ours(*subsample), theirs(*subsample)
    for name in metric_names(RADII_KM):
        np.testing.assert_allclose(fast_numbers[name], slow_numbers[name], rtol=1e-9, err_msg=name)
    print(f"on {SUBSAMPLE_ROWS:,} rows both sides give the same values, standard errors and intervals")
    rounds = []
    for _ in range(ROUNDS):
        started, started_cpu = time.perf_counter(), time.process_time()
        ours(truth, predicted, authors)
        middle, middle_cpu = time.perf_counter(), time.process_time()
        theirs(*subsample)
        rounds.append((middle - started, middle_cpu - started_cpu, time.perf_counter() - middle))
    wall_s, cpu_s, sampled_s = (statistics.median(side) for side in zip(*rounds, strict=True))
    scale = ROWS / SUBSAMPLE_ROWS
    ratios = sorted(slow * scale / fast for fast, _, slow in rounds)
    print(f"clusters: {cluster(authors, 'creator_id', ROWS).describe()}")
    print(
        f"ours:   {ROWS:,} rows, {RESAMPLES:,} resamples: "
        f"{wall_s:.2f} s wall, {cpu_s:.2f} s CPU, {peak_mib:.0f} MiB"
    )
    print(
        f"theirs: {SUBSAMPLE_ROWS:,} rows took {sampled_s:.2f} s; "
        f"extrapolated LINEARLY to {ROWS:,} rows (x {scale:.1f}): {sampled_s * scale:.0f} s"
    )
    state("score against a loop over rows", statistics.median(ratios))
    print(f"ratio:  {statistics.median(ratios):.0f} x ({ratios[0]:.0f} to {ratios[-1]:.0f})")


if __name__ == "__main__":
    main()
