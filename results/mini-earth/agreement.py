"""Whether gains on split C agree with gains on the query sets, on the development worlds of generator 2.

    python results/mini-earth/agreement.py HOME results/mini-earth/agreement.csv

HOME is where `pinpoint reproduce mini-earth-v2-development` ran. A gain is a method's accuracy less that of
`pinpoint`, the mean of 25, 200, 750 and 2500 km: of C's photos, their people out of sight, beside
`query-clean`, and of C's street view beside `query-street`. C is asked with the decoding of the run. C chose
the pass of each reranker and fitted its calibration, so it flatters what is trained.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from headline import hits_of, studies

from pinpoint_harness import read_run
from pinpoint_harness.artifacts import read_json
from pinpoint_methods.pinpoint.reranker_training import FILTERED

WORLDS, OTHERS = ("v2-1", "v2-2"), ("pinpoint-no-reranker", "pinpoint-plus", "pinpoint-no-reranker-plus")
SIDES = {"photos": "query-clean", "streetview": "query-street"}
RADII = ("25km", "200km", "750km", "2500km")


def accuracies(method: str, world: str, source: str, home: Path) -> tuple[float, float]:
    """Mean accuracy of a method on C and on the query set, in percent."""
    dataset, name = f"mini-earth-{world}/{SIDES[source]}", f"{method}-seed0"
    run = read_run(f"{name}@{dataset}", home / "runs")
    parameters = run.record["recipe"]["parameters"]
    key = parameters["stages"]["calibration"][:16]
    held = read_json(home / "models" / "pinpoint-calibration" / key / "config.json")["held"]
    on_c = held[source][FILTERED][parameters["decoding"]]
    hits, _ = hits_of(name, dataset, home / "runs")
    return float(np.mean([on_c[radius] for radius in RADII])), 100 * float(hits[:, 1:].mean())


def rows(home: Path) -> list[dict[str, Any]]:
    methods = [*OTHERS, *(name for name in studies()["ablations"].methods if name != "pinpoint")]
    found = []
    for world in WORLDS:
        for source in SIDES:
            base = accuracies("pinpoint", world, source, home)
            for method in methods:
                own = accuracies(method, world, source, home)
                gains = [value - start for value, start in zip(own, base, strict=True)]
                row = {"world": world, "source": source, "method": method, "queries": SIDES[source]}
                found.append({**row, "on_c": f"{gains[0]:+.2f}", "on_queries": f"{gains[1]:+.2f}"})
    return found


def summary(found: list[dict[str, Any]]) -> str:
    """Of each source how many gains of half a point and more agree in sign, and how gains go together."""
    lines = []
    for source in SIDES:
        mine = [row for row in found if row["source"] == source]
        pairs = np.array([(row["on_c"], row["on_queries"]) for row in mine], float)
        large = pairs[np.abs(pairs[:, 0]) >= 0.5]
        agree = int((large[:, 0] * large[:, 1] > 0).sum())
        together = np.corrcoef(pairs.T)[0, 1]
        slope = (pairs[:, 0] @ pairs[:, 1]) / (pairs[:, 0] @ pairs[:, 0])
        lines.append(
            f"{source}: {agree} of {len(large)} gains of 0.5 points and more on C have the same sign on the "
            f"query set; correlation of all {len(pairs)} {together:.2f}, slope through zero {slope:.2f}, "
            f"largest difference {np.abs(pairs[:, 0] - pairs[:, 1]).max():.1f} points"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    table = rows(Path(sys.argv[1]))
    with Path(sys.argv[2]).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print(summary(table))  # noqa: T201 - what it is run for
