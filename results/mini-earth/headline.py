"""The headline of mini-Earth: what `pinpoint reproduce mini-earth` has run, pooled over seeds and worlds.

    python results/mini-earth/headline.py results/runs results/mini-earth

A photo counts with the share of training seeds that place it. Photos of both worlds stand side by
side, and whole photographers are drawn from each world (paired cluster bootstrap). For each cell the
best control is the one with the highest pooled accuracy there: chosen by the answers it is measured
on, which favours the control. Writes `headline.csv` (all methods, seed by seed),
`headline-differences.csv` (pinpoint-plus against the controls and the single sources),
`headline-runs.csv` (what each run was made from) and, where `--all` has run them, `ablations.csv` (each
ablation against pinpoint on the first world, tested as `pinpoint compare` does).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness import read_run
from pinpoint_harness.evaluation import compare
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.reproduce import load_recipe
from pinpoint_harness.running import Run
from pinpoint_harness.types import RADII_KM

WORLDS = (5, 6)
SEEDS = (0, 1, 2)
SETS = ("query-clean", "query-noisy", "query-street")
OURS = "pinpoint-plus"
CONTROLS = (
    *("pinpoint-top1-gps", "pinpoint-top1-image", "pinpoint-top1-raw", "pinpoint-no-reranker-plus"),
    *("nearest-photo", "nearest-photo-photos", "nearest-photo-streetview"),
)
SINGLE = ("pinpoint-photos-only", "pinpoint-streetview-only")
METHODS = (OURS, "pinpoint", *CONTROLS, *SINGLE)
RESAMPLES = 2000

Hits = NDArray[Any]
"""`(seeds, photos, radii)` of one world, true where a photo was placed."""


def names_of(method: str, dataset: str, runs: Path) -> list[str]:
    """The runs of a method: one for each training seed, or one alone where there is nothing to train."""
    folder = runs / dataset.replace("/", "-")
    seeded = [f"{method}-seed{seed}" for seed in SEEDS if (folder / f"{method}-seed{seed}").is_dir()]
    return seeded or [method]


def hits_of(name: str, dataset: str, runs: Path) -> tuple[Hits, list[str]]:
    """Which photos a run placed, `(photos, radii)`, by its dataset's default protocol; and their authors."""
    frame = read_run(f"{name}@{dataset}", runs).predictions().sort_values("id")
    km = frame["error_km"].to_numpy()
    if "street" in dataset:  # haversine-6371-lt; the others wgs84-lt
        sides = ("", "predicted_")
        truth, answer = (frame[[f"{side}latitude", f"{side}longitude"]].to_numpy() for side in sides)
        km = haversine_km(truth, answer)
    away = np.where(np.isnan(km), np.inf, km)
    return away[:, None] < np.array(RADII_KM), frame["author"].tolist()


def interval(differences: Sequence[Hits], people: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """95 % bounds of the mean over all photos in percent, `(2, radii)`; `(photos, radii)` per world."""
    random = np.random.default_rng(0)
    sums, counts = np.zeros((RESAMPLES, len(RADII_KM))), np.zeros((RESAMPLES, 1))
    for values, person in zip(differences, people, strict=True):
        count = int(person.max()) + 1
        total = np.stack([np.bincount(person, column, count) for column in values.T], axis=1)
        size = np.bincount(person, minlength=count)
        for resample in range(RESAMPLES):
            times = np.bincount(random.integers(0, count, count), minlength=count)
            sums[resample] += times @ total
            counts[resample] += times @ size
    bounds: NDArray[Any] = np.percentile(100 * sums / counts, [2.5, 97.5], axis=0)
    return bounds


def read_set(queries: str, runs: Path) -> tuple[dict[str, list[Hits]], list[NDArray[Any]]]:
    """Hits of every method in each world, and a number for the photographer of each photo."""
    found: dict[str, list[Hits]] = {method: [] for method in METHODS}
    people = []
    for world in WORLDS:
        dataset = f"mini-earth-{world}/{queries}"
        for method in METHODS:
            each = [hits_of(name, dataset, runs) for name in names_of(method, dataset, runs)]
            found[method].append(np.stack([hits for hits, _ in each]))
            authors = each[0][1]
        people.append(np.unique(np.array(authors, dtype=str), return_inverse=True)[1])
    return found, people


def accuracies(found: Mapping[str, list[Hits]], queries: str) -> list[dict[str, Any]]:
    """A row for each method, world and seed, and one for each method over all."""
    rows = []
    for method, worlds in found.items():
        for world, hits in zip(WORLDS, worlds, strict=True):
            for seed, shares in enumerate(hits.mean(axis=1)):
                rows.append(_row(queries, method, world, seed, shares))
        rows.append(_row(queries, method, "both", f"mean of {len(worlds[0])}", pooled(worlds)))
    return rows


def pooled(worlds: Sequence[Hits]) -> NDArray[Any]:
    """Share of all photos of both worlds, each counted with the share of seeds that place it."""
    shares: NDArray[Any] = np.concatenate([hits.mean(axis=0) for hits in worlds]).mean(axis=0)
    return shares


def _row(queries: str, method: str, world: Any, seed: Any, shares: NDArray[Any]) -> dict[str, Any]:
    cells = {f"{radius:g} km": f"{100 * share:.2f}" for radius, share in zip(RADII_KM, shares, strict=True)}
    return {"queries": queries, "method": method, "world": world, "seed": seed, **cells}


def differences(
    found: Mapping[str, list[Hits]], people: Sequence[NDArray[Any]], queries: str
) -> list[dict[str, Any]]:
    """pinpoint-plus minus the best control of each cell, and minus each single source."""
    shares = {method: pooled(worlds) for method, worlds in found.items()}
    bounds = {
        other: interval(
            [
                ours.mean(axis=0) - its.mean(axis=0)
                for ours, its in zip(found[OURS], found[other], strict=True)
            ],
            people,
        )
        for other in (*CONTROLS, *SINGLE)
    }
    rows = []
    for cell, radius in enumerate(RADII_KM):
        ranked = sorted(CONTROLS, key=lambda method, cell=cell: -shares[method][cell])  # type: ignore[misc]
        for against, other in (("best control", ranked[0]), *(("single source", name) for name in SINGLE)):
            low, high = bounds[other][:, cell]
            difference = 100 * (shares[OURS][cell] - shares[other][cell])
            rows.append(
                {
                    "queries": queries,
                    "radius": f"{radius:g} km",
                    "against": against,
                    "method": other,
                    "plus": f"{100 * shares[OURS][cell]:.2f}",
                    "its": f"{100 * shares[other][cell]:.2f}",
                    "difference": f"{difference:+.2f}",
                    "low": f"{low:+.2f}",
                    "high": f"{high:+.2f}",
                    "beyond": "yes" if low > 0 or high < 0 else "no",
                }
            )
    return rows


def made_from(runs: Path) -> list[dict[str, Any]]:
    """A row for each run: its key, the keys of what it was made from, how long it took."""
    rows = []
    for world in WORLDS:
        for queries in SETS:
            dataset = f"mini-earth-{world}/{queries}"
            for folder in sorted((runs / dataset.replace("/", "-")).iterdir()):
                run = read_run(f"{folder.name}@{dataset}", runs)
                spec, session = run.record["recipe"], run.sessions()[-1]
                stages = spec["parameters"].get("stages") or {}
                rows.append(
                    {
                        "dataset": dataset,
                        "run": folder.name,
                        "key": run.key,
                        "answered": run.record["counts"]["ok"],
                        "of": run.record["counts"]["total"],
                        "store": spec["inputs"]["store"][:16],
                        "stages": " ".join(f"{name}={key[:16]}" for name, key in sorted(stages.items())),
                        "seconds": round(session["seconds"]["predict"], 1),
                        "peak_mib": session["peak_memory_mib"],
                    }
                )
    return rows


def ablations(runs: Path) -> list[dict[str, Any]]:
    """Each ablation against pinpoint, on the first world with the first training seed."""
    names = list(
        dict.fromkeys(step.words[1] for step in load_recipe("mini-earth").more if step.words[0] == "train")
    )
    rows = []
    for queries in SETS:
        dataset = f"mini-earth-{WORLDS[0]}/{queries}"
        present = [name for name in names if (runs / dataset.replace("/", "-") / f"{name}-seed0").is_dir()]
        for name in present:
            pair = [read_run(f"{method}-seed0@{dataset}", runs) for method in (name, "pinpoint")]
            rows += _compared(queries, name, pair)
    return rows


def _compared(queries: str, name: str, pair: list[Run]) -> list[dict[str, Any]]:
    found = compare(pair)
    rows = []
    for item in found.differences:
        if not item.metric.startswith("acc_"):
            continue
        # The better of the two stands first.
        sign = 1 if item.first == found.names[0] else -1
        low, high = sorted((sign * float(item.low or 0), sign * float(item.high or 0)))
        its, base = (found.values[item.metric][title] for title in found.names)
        rows.append(
            {
                "queries": queries,
                "method": name,
                "radius": item.metric.removeprefix("acc_"),
                "percent": f"{its:.2f}",
                "pinpoint": f"{base:.2f}",
                "difference": f"{sign * float(item.difference or 0):+.2f}",
                "low": f"{low:+.2f}",
                "high": f"{high:+.2f}",
                "p_holm": f"{item.p_holm:.4f}",
            }
        )
    return rows


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(runs: Path, out: Path) -> None:
    shown: list[dict[str, Any]] = []
    tested: list[dict[str, Any]] = []
    for queries in SETS:
        found, people = read_set(queries, runs)
        shown += accuracies(found, queries)
        tested += differences(found, people, queries)
    write(out / "headline.csv", shown)
    write(out / "headline-differences.csv", tested)
    write(out / "headline-runs.csv", made_from(runs))
    if rows := ablations(runs):
        write(out / "ablations.csv", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
