"""Row `report/osv-size`: a report of two runs over as many rows as OSV-5M's test set has.

    python tests/benchmarks/bench_report.py

Seconds to write it (scores stored before, as `pinpoint run` leaves them), megabytes without pictures, and in
headless Chromium: seconds to the first paint, to the first sentence, and milliseconds of a filter, from the
change of a choice to the new sentence, with map, curves and photos behind it. The aims are 30 s, 12 MB, 3 s
and 200 ms on two cores.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tests.support

from tests.support.browser import opened

ROWS, AUTHORS = 210_122, 20_000
SECONDS, MEGABYTES, PAINT_S, FILTER_MS = 30, 12, 3, 200

PLUGIN = '''
"""A dataset without pictures, and a method that answers at random around a row's place."""
from dataclasses import dataclass

import numpy as np

from pinpoint_harness import DatasetInfo, MethodInfo, Predictions, hookimpl
from pinpoint_harness.params import param
from pinpoint_harness.readers.truth import TableDataset, TruthSpec

INFO = DatasetInfo(title="As large as OSV-5M", source="drawn", licence="none", cluster_column="author")


class Large(TableDataset):
    spec = TruthSpec(name="large", info=INFO, files=("truth.csv",), ids="verbatim", extras=None)


@dataclass(frozen=True)
class Params:
    draw: int = param(0, "another draw")


class Guess:
    Params = Params
    input = "none"
    answer_version = 1

    def __init__(self, params, context):
        self.draw = params.draw

    def predict(self, queries):
        random = np.random.default_rng([self.draw, int(queries.key[0] % 2**32)])
        answers = random.uniform([-60, -180], [70, 180], (len(queries), 2))
        return Predictions(answers, confidence=random.random(len(queries)))


@hookimpl
def pinpoint_register(register):
    register.dataset("large", f"{__name__}:Large", INFO)
    register.method("guess", f"{__name__}:Guess", MethodInfo(title="Guesses"))
'''


def write_truth(path: Path) -> None:
    random = np.random.default_rng(0)
    share = 1 / (np.arange(AUTHORS) + 10)
    authors = random.choice(AUTHORS, ROWS, p=share / share.sum())
    ids = np.sort(random.choice(10**15, ROWS, replace=False))
    places = np.stack([random.uniform(-50, 70, ROWS), random.uniform(-180, 180, ROWS)], axis=1)
    countries = random.integers(0, 220, ROWS)
    with path.open("w") as file:
        file.write("image,latitude,longitude,author,country,continent\n")
        rows = zip(ids.tolist(), places.tolist(), authors.tolist(), countries.tolist(), strict=True)
        file.writelines(
            f"{name},{place[0]:.6f},{place[1]:.6f},a{author},C{country},continent {country % 6}\n"
            for name, place, author, country in rows
        )


def write(root: Path) -> tuple[Path, float, float]:
    """The report, and the seconds that it took, by the clock and of the processor."""
    from pinpoint_harness.api import evaluate, score
    from pinpoint_harness.plugins import load_registry
    from pinpoint_harness.reports.pages import ReportOptions, write_report
    from pinpoint_harness.types import DataLocation

    write_truth(root / "truth.csv")
    (root / "plugin.py").write_text(PLUGIN)
    registry = load_registry([str(root / "plugin.py")])
    runs = []
    for draw in (1, 2):
        shared: dict[str, Any] = {"data": root / "truth.csv", "home": root, "registry": registry}
        runs.append(evaluate("guess", "large", parameters={"draw": draw}, label=f"guess-{draw}", **shared))
        score(runs[-1])
    started, worked = time.perf_counter(), time.process_time()
    options = ReportOptions(pictures=0, location=DataLocation(root / "truth.csv"))
    write_report(runs, registry, root / "report.html", options)
    return root / "report.html", time.perf_counter() - started, time.process_time() - worked


def browse(path: Path) -> tuple[float, float, list[float]]:
    """Seconds to the first paint and to the first sentence, milliseconds of filters."""
    started = time.perf_counter()
    with opened(path, viewport={"width": 1280, "height": 900}) as (page, watch):
        ready_s = time.perf_counter() - started
        paint_s = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
        taken = [
            page.evaluate(
                """async (value) => {
                  const roots = Bokeh.documents[0].roots();
                  const text = (name) => document.getElementById(name).innerHTML;
                  const shown = () => ["s0-sentence", "s0-map-note", "s0-photos"].map(text);
                  const choice = roots.find((one) => one.title === "Continent"), before = shown();
                  const started = performance.now();
                  choice.value = value;
                  while (shown().some((one, at) => one === before[at])) {
                    await new Promise((done) => setTimeout(done));
                  }
                  await new Promise(requestAnimationFrame);
                  return performance.now() - started;
                }""",
                value,
            )
            for value in ("0", "1", "", "2", "3", "")
        ]
        assert not watch.complaints, watch.complaints
        assert watch.requests == [path.resolve().as_uri()]
    return paint_s, ready_s, taken


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path, seconds, cpu_s = write(Path(folder))
        megabytes = path.stat().st_size / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{ROWS:,} rows, two runs, peak {peak:.0f} MiB, load {os.getloadavg()[0]:.1f}")
        print(f"written in {seconds:.1f} s (aim {SECONDS}), {cpu_s:.1f} s of CPU")
        print(f"{megabytes:.1f} MB (aim {MEGABYTES})")
        paint_s, ready_s, filters_ms = browse(path)
        print(f"first paint {paint_s:.1f} s (aim {PAINT_S}), ready {ready_s:.1f} s with Chromium's own start")
        median_ms, most_ms = statistics.median(filters_ms), max(filters_ms)
        print(f"a filter {median_ms:.0f} ms, at most {most_ms:.0f} ms (aim {FILTER_MS})")
    return int(megabytes > MEGABYTES)


if __name__ == "__main__":
    raise SystemExit(main())
