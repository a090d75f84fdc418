"""The headline and the ablations of mini-Earth, from what `pinpoint reproduce` has run of generator 2.

    python results/mini-earth/headline.py headline results/runs results/mini-earth
    python results/mini-earth/headline.py ablations results/runs results/mini-earth

`headline` reads the runs of `mini-earth-v2`: two worlds on which nothing was chosen, three training seeds.
`ablations` reads those of `mini-earth-v2-development`: two worlds on which choices were made, one seed.

A photo counts with the share of training seeds that place it, and photos of all worlds stand side by side.
Intervals are hierarchical: worlds are drawn with replacement, of each drawn world seeds, and whole
photographers; both methods of a pair see the same draws. p is twice the share of resamples on the other
side of zero, corrected after Holm over all cells of a file. With two worlds half of the resamples see one
world twice: that is what two worlds tell of others, and they share climate and countries.

Writes `FILE.csv` (all methods, world by world and seed by seed), `FILE-differences.csv` and `FILE-runs.csv`
(what each run was made from). The best control of a cell is the one with the highest pooled accuracy
there: chosen by the answers it is measured on, which favours the control.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinpoint_harness import read_run
from pinpoint_harness.evaluation.comparison import holm
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.reproduce import load_recipe
from pinpoint_harness.types import RADII_KM

SETS = ("query-clean", "query-noisy", "query-street")
UNFAIR = ("query-street", 0)
"""No cell: at 1 km, since `query-street` lies 1 km from the street view that is searched."""

CONTROLS = (
    *("pinpoint-top1-gps", "pinpoint-top1-image", "pinpoint-top1-raw"),
    *("pinpoint-no-reranker", "pinpoint-no-reranker-plus"),
    *("nearest-photo", "nearest-photo-photos", "nearest-photo-streetview"),
)
SINGLE = ("pinpoint-photos-only", "pinpoint-streetview-only")
OWN_RETRIEVAL = ("pinpoint-no-reranker", "pinpoint-top1-gps", "pinpoint-top1-image", "pinpoint-top1-raw")
RESAMPLES = 20_000

Hits = NDArray[Any]
"""`(seeds, photos, radii)` of one world, true where a photo was placed."""


@dataclass(frozen=True)
class Study:
    """Which runs are read, and who is compared with whom."""

    worlds: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    pairs: tuple[tuple[str, str, tuple[str, ...]], ...]
    """What a comparison is called, whose it is, and against whom: of several the best of each cell."""


def studies() -> dict[str, Study]:
    """Both, by name."""
    further = load_recipe("mini-earth-v2").more
    ablations = tuple(dict.fromkeys(step.words[1] for step in further if step.words[0] == "train"))
    return {
        "headline": Study(
            worlds=("v2-3", "v2-4"),
            seeds=(0, 1, 2),
            methods=("pinpoint-plus", "pinpoint", *CONTROLS, *SINGLE),
            pairs=(
                ("best control", "pinpoint-plus", CONTROLS),
                *(("single source", "pinpoint-plus", (name,)) for name in SINGLE),
                *(("own retrieval", "pinpoint", (name,)) for name in OWN_RETRIEVAL),
            ),
        ),
        "ablations": Study(
            worlds=("v2-1", "v2-2"),
            seeds=(0,),
            methods=("pinpoint", *ablations),
            pairs=tuple(("pinpoint", name, ("pinpoint",)) for name in ablations),
        ),
    }


def names_of(method: str, seeds: Sequence[int], folder: Path) -> list[str]:
    """The runs of a method: one for each training seed that was run, or one that has nothing to train."""
    seeded = [name for name in (f"{method}-seed{seed}" for seed in seeds) if (folder / name).is_dir()]
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


def read_set(study: Study, queries: str, runs: Path) -> tuple[dict[str, list[Hits]], list[NDArray[Any]]]:
    """Hits of every method in each world, and a number for the photographer of each photo."""
    found: dict[str, list[Hits]] = {method: [] for method in study.methods}
    people = []
    for world in study.worlds:
        dataset = f"mini-earth-{world}/{queries}"
        folder = runs / dataset.replace("/", "-")
        for method in study.methods:
            each = [hits_of(name, dataset, runs) for name in names_of(method, study.seeds, folder)]
            found[method].append(np.stack([hits for hits, _ in each]))
            authors = each[0][1]
        people.append(np.unique(np.array(authors, dtype=str), return_inverse=True)[1])
    return found, people


def resampled(
    ours: Sequence[Hits], its: Sequence[Hits], people: Sequence[NDArray[Any]], resamples: int = RESAMPLES
) -> NDArray[Any]:
    """The mean difference of each resample in percent, `(resamples, radii)`: worlds, seeds, photographers."""
    random = np.random.default_rng(0)
    worlds = len(ours)
    total, count = np.zeros((resamples, len(RADII_KM))), np.zeros((resamples, 1))
    for _ in range(worlds):
        drawn = random.integers(0, worlds, resamples)
        for world in range(worlds):
            here = np.flatnonzero(drawn == world)
            # A method that is not trained stands beside each seed of the other.
            difference = ours[world].astype(float) - its[world].astype(float)
            sums, sizes = _by_photographer(difference, people[world])
            seeds = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), len(here)) / len(sums)
            times = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), len(here))
            total[here] += np.einsum("rs,rp,spc->rc", seeds, times, sums, optimize=True)
            count[here, 0] += times @ sizes
    return 100 * total / count


def _by_photographer(values: Hits, person: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sums `(seeds, photographers, radii)`, and the photos of each."""
    sizes = np.bincount(person)
    sums = np.zeros((len(values), len(sizes), values.shape[2]))
    for seed, hits in enumerate(values):
        np.add.at(sums[seed], person, hits)
    return sums, sizes


def pooled(worlds: Sequence[Hits]) -> NDArray[Any]:
    """Share of all photos of all worlds, each counted with the share of seeds that place it."""
    shares: NDArray[Any] = np.concatenate([hits.mean(axis=0) for hits in worlds]).mean(axis=0)
    return shares


def accuracies(study: Study, found: Mapping[str, list[Hits]], queries: str) -> Iterator[dict[str, Any]]:
    """A row for each method, world and seed, and one for each method over all."""
    for method, worlds in found.items():
        for world, hits in zip(study.worlds, worlds, strict=True):
            for seed, shares in zip(study.seeds if len(hits) > 1 else ["0"], hits.mean(axis=1), strict=True):
                yield _row(queries, method, world, seed, shares)
        yield _row(queries, method, "all", f"mean of {len(worlds[0])}", pooled(worlds))


def _row(queries: str, method: str, world: Any, seed: Any, shares: NDArray[Any]) -> dict[str, Any]:
    cells = {f"{radius:g} km": f"{100 * share:.2f}" for radius, share in zip(RADII_KM, shares, strict=True)}
    return {"queries": queries, "method": method, "world": world, "seed": seed, **cells}


def differences(
    study: Study, found: Mapping[str, list[Hits]], people: Sequence[NDArray[Any]], queries: str
) -> Iterator[dict[str, Any]]:
    """Each comparison of the study in each cell of a query set, p not yet corrected."""
    shares = {method: pooled(worlds) for method, worlds in found.items()}
    draws: dict[tuple[str, str], NDArray[Any]] = {}
    for title, ours, others in study.pairs:
        for cell in range(len(RADII_KM)):
            if (queries, cell) == UNFAIR:
                continue
            other = max(others, key=lambda name: shares[name][cell])
            if (ours, other) not in draws:
                draws[ours, other] = resampled(found[ours], found[other], people)
            seen = draws[ours, other][:, cell]
            low, high = np.percentile(seen, [2.5, 97.5])
            beyond = min((seen <= 0).sum(), (seen >= 0).sum())
            yield {
                "queries": queries,
                "radius": f"{RADII_KM[cell]:g} km",
                "method": ours,
                "against": title,
                "other": other,
                "percent": f"{100 * shares[ours][cell]:.2f}",
                "other_percent": f"{100 * shares[other][cell]:.2f}",
                "difference": f"{100 * (shares[ours][cell] - shares[other][cell]):+.2f}",
                "low": f"{low:+.2f}",
                "high": f"{high:+.2f}",
                "p": min(1.0, 2 * (beyond + 1) / (len(seen) + 1)),
            }


def corrected(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with p corrected after Holm over all of them."""
    return [
        {**row, "p": f"{row['p']:.4f}", "p_holm": f"{p:.4f}"}
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)
    ]


def made_from(study: Study, runs: Path) -> Iterator[dict[str, Any]]:
    """A row for each run: its key, the keys of what it was made from, how long it took."""
    for world in study.worlds:
        for queries in SETS:
            dataset = f"mini-earth-{world}/{queries}"
            folder = runs / dataset.replace("/", "-")
            for method in study.methods:
                for name in names_of(method, study.seeds, folder):
                    run = read_run(f"{name}@{dataset}", runs)
                    spec, session = run.record["recipe"], run.sessions()[-1]
                    stages = spec["parameters"].get("stages") or {}
                    yield {
                        "dataset": dataset,
                        "run": name,
                        "key": run.key,
                        "answered": run.record["counts"]["ok"],
                        "of": run.record["counts"]["total"],
                        "store": spec["inputs"]["store"][:16],
                        "stages": " ".join(f"{stage}={key[:16]}" for stage, key in sorted(stages.items())),
                        "seconds": round(session["seconds"]["predict"], 1),
                        "peak_mib": session["peak_memory_mib"],
                    }


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(name: str, runs: Path, out: Path) -> None:
    study = studies()[name]
    shown: list[dict[str, Any]] = []
    tested: list[dict[str, Any]] = []
    for queries in SETS:
        found, people = read_set(study, queries, runs)
        shown += accuracies(study, found, queries)
        tested += differences(study, found, people, queries)
    write(out / f"{name}.csv", shown)
    write(out / f"{name}-differences.csv", corrected(tested))
    write(out / f"{name}-runs.csv", list(made_from(study, runs)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
