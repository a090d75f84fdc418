"""The headline of mini-Earth: what `pinpoint reproduce mini-earth` has run, pooled over seeds and worlds.

    python results/mini-earth/headline.py results/runs headline.csv

A photo counts with the share of training seeds that place it. Photos of both worlds stand side by
side, and whole photographers are drawn from each world (paired cluster bootstrap). For each cell the
best control is the one with the highest pooled accuracy there.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness import read_run
from pinpoint_harness.types import RADII_KM

WORLDS, SEEDS = (3, 4), (0, 1, 2)
SETS = ("query-clean", "query-noisy", "query-street")
PROTOCOL = {"query-clean": "wgs84", "query-noisy": "wgs84", "query-street": "haversine"}
SEEDED = (
    *("pinpoint", "pinpoint-plus", "pinpoint-no-reranker-plus", "pinpoint-top1-gps", "pinpoint-top1-image"),
    *("pinpoint-photos-only", "pinpoint-streetview-only"),
)
ONCE = ("pinpoint-top1-raw", "nearest-photo", "nearest-photo-photos", "nearest-photo-streetview")
CONTROLS = (
    *("pinpoint-top1-gps", "pinpoint-top1-image", "pinpoint-top1-raw", "pinpoint-no-reranker-plus"),
    *("nearest-photo", "nearest-photo-photos", "nearest-photo-streetview"),
)
SINGLE = ("pinpoint-photos-only", "pinpoint-streetview-only")
RESAMPLES = 2000
Hits = NDArray[np.float64]


def errors_km(name: str, dataset: str, runs: Path) -> tuple[NDArray[np.float64], list[str]]:
    """Error of each photo in the distance of its dataset's protocol, infinite for a miss; and its author."""
    from pinpoint_harness.geo import haversine_km

    frame = read_run(f"{name}@{dataset}", runs).predictions().sort_values("id")
    if "street" in dataset:
        truth, answer = (frame[[f"{p}latitude", f"{p}longitude"]].to_numpy() for p in ("", "predicted_"))
        km = haversine_km(truth, answer)
    else:
        km = frame["error_km"].to_numpy()
    return np.where(np.isnan(km), np.inf, km), frame["author"].tolist()


def hits(method: str, questions: str, runs: Path) -> tuple[list[Hits], NDArray[np.int64]]:
    """Share of seeds that place a photo within each radius, `(photos, 5)` per world; and seed by seed."""
    each: list[Hits] = []
    for world in WORLDS:
        names = [f"{method}-seed{seed}" for seed in SEEDS] if method in SEEDED else [method]
        errors = [errors_km(name, f"mini-earth-{world}/{questions}", runs)[0] for name in names]
        each.append(np.stack([[km < radius for radius in RADII_KM] for km in errors]).transpose(0, 2, 1) * 1.0)
    return each, np.array([len(found[0]) for found in each])


def clusters(questions: str, runs: Path) -> list[NDArray[np.int64]]:
    authors = [errors_km(ONCE[1], f"mini-earth-{world}/{questions}", runs)[1] for world in WORLDS]
    return [np.unique(np.array(names, dtype=str), return_inverse=True)[1] for names in authors]


def interval(difference: list[Hits], codes: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """95 % bounds of a mean difference, `(2, 5)`: photographers drawn anew in each world."""
    random = np.random.default_rng(0)
    sums, counts = np.zeros((RESAMPLES, len(RADII_KM))), np.zeros((RESAMPLES, 1))
    for values, code in zip(difference, codes, strict=True):
        people = int(code.max()) + 1
        total = np.stack([np.bincount(code, values[:, r], people) for r in range(values.shape[1])], 1)
        size = np.bincount(code, minlength=people)
        for resample in range(RESAMPLES):
            times = np.bincount(random.integers(0, people, people), minlength=people)
            sums[resample] += times @ total
            counts[resample] += times @ size
    bounds: NDArray[np.float64] = np.percentile(100 * sums / counts, [2.5, 97.5], axis=0)
    return bounds


def main(runs: Path, out: Path) -> None:
    rows = []
    for questions in SETS:
        codes = clusters(questions, runs)
        found = {method: hits(method, questions, runs)[0] for method in (*SEEDED, *ONCE)}
        mean = {m: 100 * np.concatenate([w.mean(0) for w in each]).mean(0) for m, each in found.items()}
        for cell, radius in enumerate(RADII_KM):
            best = max(CONTROLS, key=lambda method, cell=cell: mean[method][cell])
            against = {"best control": best, **{name: name for name in SINGLE}}
            for label, other in against.items():
                difference = [
                    a.mean(0) - b.mean(0) for a, b in zip(found["pinpoint-plus"], found[other], strict=True)
                ]
                low, high = interval(difference, codes)[:, cell]
                seeds = [
                    float(100 * np.mean([w[min(s, len(w) - 1)][:, cell].mean() for w in found["pinpoint-plus"]]))
                    for s in range(len(SEEDS))
                ]
                rows.append(
                    {
                        "set": questions,
                        "radius_km": f"{radius:g}",
                        "plus": f"{mean['pinpoint-plus'][cell]:.2f}",
                        "plus_by_seed": " ".join(f"{value:.2f}" for value in seeds),
                        "against": label,
                        "method": other,
                        "its": f"{mean[other][cell]:.2f}",
                        "difference": f"{mean['pinpoint-plus'][cell] - mean[other][cell]:+.2f}",
                        "low": f"{low:+.2f}",
                        "high": f"{high:+.2f}",
                    }
                )
    with out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
