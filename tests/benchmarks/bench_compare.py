"""Do the tests keep their word? Error rates under a true null, shaped like IM2GPS3k.

    python tests/benchmarks/bench_compare.py

2,997 photos by 198 photographers, the largest with 235. Two methods of equal skill, whose answers
are exchanged for whole photographers 2,000 times: no difference is real. Printed: how often sign
flips reject at 5 % (asserted: 4 to 6 %), how often the paired bootstrap's 95 % interval holds the
zero, and how often McNemar's exact test rejects, which takes photos for independent and is invalid
here. Then the time of one whole comparison.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from pinpoint_harness.evaluation import get_protocol
from pinpoint_harness.evaluation.bootstrap import cluster
from pinpoint_harness.evaluation.comparison import compare_errors
from pinpoint_harness.evaluation.exchanges import sign_flips
from pinpoint_harness.types import RADII_KM

PHOTOS, PHOTOGRAPHERS, LARGEST = 2_997, 198, 235
NULLS, FLIPS, RESAMPLES = 2_000, 10_000, 1_000
LEVEL = 0.05

Floats = NDArray[np.float64]


def photographers() -> NDArray[np.int64]:
    """Who took each photo: sizes fall by a power law, are at least 1, and add up."""
    sizes = np.maximum(1, (LARGEST / np.arange(1, PHOTOGRAPHERS + 1) ** 0.66).astype(int))
    sizes[0] = LARGEST
    surplus = PHOTOS - sizes.sum()
    for index in range(abs(surplus)):
        sizes[1 + index % (PHOTOGRAPHERS - 1)] += np.sign(surplus)
    assert (sizes.sum(), sizes.min() >= 1) == (PHOTOS, True)
    return np.repeat(np.arange(PHOTOGRAPHERS), sizes)


def main() -> None:
    generator = np.random.default_rng(0)
    author = photographers()
    skill = generator.normal(0, 0.6, PHOTOGRAPHERS)[author]  # some trips are easier, for both alike
    own = generator.normal(0, 0.4, (2, PHOTOGRAPHERS))[:, author]  # and some suit one of the two
    errors = 10 ** (generator.normal(1.6, 1.1, (2, PHOTOS)) + skill + own)
    draws = np.array(
        [
            np.bincount(generator.integers(PHOTOGRAPHERS, size=PHOTOGRAPHERS), minlength=PHOTOGRAPHERS)
            for _ in range(RESAMPLES)
        ]
    )
    sizes = np.bincount(author)
    print(
        f"{PHOTOS} photos, {PHOTOGRAPHERS} photographers, largest {sizes.max()}, {NULLS} nulls, {FLIPS} flips"
    )
    print(f"{'radius':>9}  sign flips reject  bootstrap covers  McNemar rejects (invalid)")
    started = time.perf_counter()
    rejected, covered, naive = (np.zeros((NULLS, len(RADII_KM)), dtype=bool) for _ in range(3))
    for trial in range(NULLS):
        swap = generator.integers(0, 2, PHOTOGRAPHERS).astype(bool)[author]
        first, second = np.where(swap, errors[1], errors[0]), np.where(swap, errors[0], errors[1])
        hits = np.array([(first < radius).astype(float) - (second < radius) for radius in RADII_KM])
        contributions = np.array([np.bincount(author, row) for row in hits])
        methods = {"first": contributions, "second": np.zeros_like(contributions)}
        rejected[trial] = sign_flips(methods, [("first", "second")], FLIPS, trial)[0] < LEVEL
        resampled = (draws @ contributions.T) / (draws @ sizes)[:, None]
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
        covered[trial] = (low <= 0) & (high >= 0)
        wins, losses = (hits > 0).sum(axis=1), (hits < 0).sum(axis=1)
        p = np.minimum(1, 2 * binom.cdf(np.minimum(wins, losses), wins + losses, 0.5))
        naive[trial] = p < LEVEL
    rates = 100 * rejected.mean(axis=0), 100 * covered.mean(axis=0), 100 * naive.mean(axis=0)
    for radius, reject, cover, invalid in zip(RADII_KM, *rates, strict=True):
        print(f"{radius:6g} km  {reject:15.1f} %  {cover:14.1f} %  {invalid:14.1f} %")
    print(f"all radii  {rates[0].mean():13.1f} %  {rates[1].mean():14.1f} %  {rates[2].mean():14.1f} %")
    print(f"{time.perf_counter() - started:.0f} s")
    assert 4 <= rates[0].mean() <= 6, "the sign-flip test does not keep its level"

    clusters = cluster([str(a) for a in author], "AUTHOR", PHOTOS)
    started = time.perf_counter()
    compare_errors({"a": errors[0], "b": errors[1]}, clusters, get_protocol("wgs84-lt"))
    print(
        f"one comparison of two runs, {FLIPS} flips, median included: {time.perf_counter() - started:.2f} s"
    )


if __name__ == "__main__":
    main()
