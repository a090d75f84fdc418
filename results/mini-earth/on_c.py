"""Variants of Pinpoint on split C of world 1, photo by photo: what they place, and paired differences.

    python results/mini-earth/on_c.py HOME results/mini-earth/strong.txt results/mini-earth/strong.csv

Each line of the list is `NAME METHOD NAME=VALUE ...`. What is not trained yet is trained below HOME; then C
is asked as the stage `calibration` asks it, with its people hidden and seen. A line is compared with the
variant that stands as `vs=NAME` in it, or else with the first one; intervals are those of `pinpoint compare`,
that of the mean over the radii likewise. A line that fails is told and left out. Errors are kept below
HOME/on-c, so that a line is computed once; processor seconds are of that first time, and of what no line
before it has trained.
"""

from __future__ import annotations

import csv
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinpoint_harness.api import train
from pinpoint_harness.artifacts import read_json
from pinpoint_harness.evaluation import get_protocol
from pinpoint_harness.evaluation.bootstrap import Clusters, cluster, cluster_draws, percentile_bounds
from pinpoint_harness.evaluation.comparison import RESAMPLES, compare_errors
from pinpoint_harness.features import StoreLookup
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_params
from pinpoint_harness.types import RADII_KM, Context
from pinpoint_methods.common.decoding import TemperatureScaling, decide
from pinpoint_methods.pinpoint.candidate_search import read_queries
from pinpoint_methods.pinpoint.method import Pinpoint
from pinpoint_methods.pinpoint.reranker_training import FILTERED, OPEN, label_candidates, scores_of

SETS = {"hidden": ("held", FILTERED), "seen": ("held-open", OPEN)}
"""By whether C's people are out of sight: the set of the stage `candidates`, the state of its calibration."""

FIELDS = ["name", "method", "parameters", "against", "source", "people", "photos", "metric"]
FIELDS += ["percent", "difference", "low", "high", "processor_seconds"]


def errors_on_c(method: str, parameters: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Of each source and set the errors in km, and the people."""
    registry = load_registry([])
    entry = registry.method(method)
    stores = StoreLookup(registry, home / "stores")
    pinpoint = Pinpoint(build_params(entry, parameters), Context(stores=stores, models=home / "models"))
    found: dict[str, Any] = {}
    for source in pinpoint._sources:
        retriever, model, _ = pinpoint._opened(source)
        store = stores.gallery(pinpoint.params.dataset_of(source), pinpoint.params.backbone)
        folder = pinpoint._folder("candidates")
        fitted = read_json(pinpoint._folder("calibration") / "config.json")["fitted"][source]
        for people, (name, state) in SETS.items():
            asked = read_queries(folder, source, name, store, list(pinpoint._galleries), pinpoint.params)
            ranking = label_candidates(retriever, asked)
            scores = scores_of(model, retriever, ranking.lists)
            calibration = TemperatureScaling.of(fitted[state])
            answer = decide(ranking.lists, scores, calibration, pinpoint.params.decoding)
            km = ranking.km.gather(1, answer.slot[:, :1])[:, 0].masked_fill(~answer.valid[:, 0], np.inf)
            found[f"{source} {people}"] = km.double().numpy()
            rows = np.load(folder / f"{source}.{name}.rows.npy")
            found[f"{source} {people} authors"] = store.table["author"].take(rows).to_numpy(False).astype(str)
    return found


def rows_of(kind: str, mine: Any, reference: Any, clusters: Clusters) -> Iterator[dict[str, Any]]:
    """A row for each radius and for their mean."""
    source, people = kind.split()
    common = {"source": source, "people": people, "photos": len(mine)}
    protocol = get_protocol("wgs84-lt" if source == "photos" else "haversine-6371-lt")
    compared = compare_errors({"this": mine, "that": reference}, clusters, protocol, test_medians=False)
    by_metric = {item.metric: item for item in compared.differences}
    for radius in RADII_KM:
        metric = f"acc_{radius:g}km"
        item = by_metric[metric]
        told = {"difference": item.difference, "low": item.low, "high": item.high}
        yield {**common, "metric": f"{radius:g}km", "percent": compared.values[metric]["this"], **told}
    share, other = (100 * np.mean([km < radius for radius in RADII_KM], axis=0) for km in (mine, reference))
    sums, sizes = (np.bincount(clusters.codes, weights) for weights in (share - other, np.ones(len(share))))
    draws = list(cluster_draws(clusters.count, RESAMPLES, 0))
    low, high = percentile_bounds(np.array([(drawn @ sums) / (drawn @ sizes) for drawn in draws]))
    told = {"difference": (share - other).mean(), "low": low, "high": high}
    yield {**common, "metric": "mean", "percent": share.mean(), **told}


def measured(line: Sequence[str], home: Path) -> dict[str, Any]:
    """The errors of a line, computed once."""
    name, method, *given = line
    kept = home / "on-c" / f"{name}.npz"
    if not kept.is_file():
        parameters = dict(word.split("=", 1) for word in given if not word.startswith("vs="))
        begun = time.process_time()
        train(method, parameters=parameters, home=home)
        seconds = time.process_time() - begun
        found = errors_on_c(method, parameters, home)
        kept.parent.mkdir(exist_ok=True)
        np.savez(kept, seconds=seconds, **found)
    with np.load(kept, allow_pickle=False) as stored:
        return {part: stored[part] for part in stored.files}


def main(home: Path, list_file: Path, out: Path) -> None:
    lines = [line.split() for line in list_file.read_text().splitlines() if line.strip()]
    done: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for line in lines:
        name, method, *given = line
        try:
            mine = done[name] = measured(line, home)
        except Exception:  # noqa: BLE001 # the other lines do not depend on it
            traceback.print_exc()
            continue
        against = next((word.removeprefix("vs=") for word in given if word.startswith("vs=")), lines[0][0])
        about = {"name": name, "method": method, "against": against}
        about["parameters"] = " ".join(word for word in given if not word.startswith("vs="))
        for kind in [part for part in mine if len(part.split()) == 2]:
            people = cluster(mine[f"{kind} authors"].astype(object), "author", len(mine[kind]))
            for row in rows_of(kind, mine[kind], done[against][kind], people):
                shown = {key: round(v, 2) if isinstance(v, float) else v for key, v in row.items()}
                rows.append({**about, **shown, "processor_seconds": round(float(mine["seconds"]))})
        with out.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        means = [f"{row['percent']:.2f}" for row in rows[-24:] if row["metric"] == "mean"]
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {name} {' '.join(means)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
