"""Rehearsal of the full size: every stage at its real widths over growing rows, extended to all of them.

    python tests/benchmarks/full_size.py [--rows 10000 30000 100000] [--queries 10000] [--folder DIR]

Synthetic photos and street view (45 and 55 % of the rows, as MP16-Pro and OSV-5M have them) go through
`embed`, the stages of `train pinpoint`, `run` and `audit`, each command in a process of its own, on a CPU.
Taken of each are its processor time and the peaks of what it holds itself (anonymous memory) and of
what it has mapped (files, which the system may take back). Straight lines over what drives a stage, its
rows or its pairs of query and row, are extended to 4.08 M + 4.89 M rows and 210,122 queries.

Widths are real: features of 1,536 numbers, embeddings of 256, tables of 64 neighbours. The encoder is a stub
and the hidden layers of the towers are narrow: what those cost is known by their FLOP (`tests/gpu`), and it
does not hang on the rows at hand at once. More of the rows are held out than at full size, for
the smallest size to have some. What is made is removed in the end, unless `--folder` names where to keep it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FULL = {"photos": 4_080_000, "streetview": 4_890_000, "queries": 210_122}
FULL_ROWS = FULL["photos"] + FULL["streetview"]
FULL_ASKING = 0.01 * 4_080_000 * 1.1 + 0.04 * 4_890_000
"""Photos of B and C; all but B's photos twice, as they ask with their authors in sight as well."""

SETTINGS = {
    "config": "full",
    "backbone": "stub",
    "photos": "full/photos",
    "streetview": "full/streetview",
    "photos_spelling": "verbatim",
    "photos_a_percent": 96,
    "streetview_b_percent": 4,
    "streetview_c_one_in": 25,
    "leave_out": "full/queries",
    "hidden": 64,
    "location_hidden": 64,
    "adapter_depth": 1,
    "trunk_depth": 1,
    "location_depth": 1,
    "batch": 1024,
    "passes": 0.5,
    "validations": 2,
    "layers": 1,
    "width": 48,
    "reranker_epochs": 1,
    "reranker_batch": 64,
}
STAGES = ("splits", "embedder", "raw", "gallery", "support", "candidates", "reranker", "calibration")
DRIVERS = {
    "candidates": "pairs of those asking and rows",
    "run": "pairs of queries and rows",
    "nearest-photo": "pairs of queries and rows",
    "audit": "pairs of queries and rows",
}
"""What a step's time grows with, where that is not its rows."""


@dataclass
class Measured:
    """One command: processor seconds, and peaks in MiB of its own and of mapped memory."""

    step: str
    rows: int
    seconds: float
    own_mib: float
    mapped_mib: float


class Peaks(threading.Thread):
    """Looks at what this process holds every few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.mapped = 0.0

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.005)

    def look(self) -> None:
        lines = Path("/proc/self/status").read_text().splitlines()
        held = dict(line.split(":", 1) for line in lines)
        own, mapped = (int(held[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
        self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)


def one_command(took: str, words: Sequence[str]) -> None:
    """In a process of its own: the command, then what it took into a file."""
    peaks = Peaks()
    peaks.start()
    from pinpoint_harness.cli.main import main as pinpoint

    before = time.process_time()
    try:
        sys.argv = ["pinpoint", *words]
        pinpoint()
    except SystemExit as end:
        if end.code:
            raise
    peaks.look()
    Path(took).write_text(json.dumps([time.process_time() - before, peaks.own, peaks.mapped]))


def measure(step: str, rows: int, home: Path, words: Sequence[str]) -> Measured:
    options = [
        "--plugin",
        str(HERE / "full_size_world.py"),
        "--home",
        str(home / "results"),
        "--device",
        "cpu",
    ]
    took = home / "took.json"
    environment = os.environ | {"PINPOINT_REHEARSAL": str(home)}
    command = [sys.executable, __file__, "--command", str(took), *words, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} at {rows:,} rows failed:\n{done.stdout}\n{done.stderr}")
    seconds, own, mapped = json.loads(took.read_text())
    found = Measured(step, rows, round(seconds, 2), round(own), round(mapped))
    print(
        f"{step:14} {rows:9,} rows {seconds:9.1f} s  {own:7,.0f} MiB own  {mapped:7,.0f} MiB mapped",
        flush=True,
    )
    return found


def settings(names: Sequence[str] = tuple(SETTINGS)) -> list[str]:
    return [word for name in names for word in ("--set", f"{name}={SETTINGS[name]}")]


def rehearse(rows: int, queries: int, home: Path, steps: Sequence[str]) -> list[Measured]:
    """All commands at one size."""
    sys.path.insert(0, str(HERE))
    from full_size_world import write_photos

    photos = round(rows * FULL["photos"] / FULL_ROWS)
    home.mkdir(parents=True, exist_ok=True)
    sizes = {"photos": photos, "streetview": rows - photos, "queries": queries}
    for number, (name, count) in enumerate(sizes.items()):
        if not (home / f"{name}.parquet").exists():
            write_photos(home, name, count, number + 1)
    gallery = ["--set", "gallery=full/photos,full/streetview", "--set", "backbone=stub"]
    commands: dict[str, list[str]] = {
        "embed queries": ["embed", "full/queries", "--backbone", "stub"],
        "embed photos": ["embed", "full/photos", "--backbone", "stub"],
        "embed streetview": ["embed", "full/streetview", "--backbone", "stub"],
        **{stage: ["train", "pinpoint", "--stage", stage, *settings()] for stage in STAGES},
        "run": ["run", "pinpoint", "full/queries", *settings()],
        "nearest-photo": ["run", "nearest-photo", "full/queries", *gallery],
        "audit": ["audit", "full/photos,full/streetview", "full/queries", "--backbone", "stub"],
    }
    chosen = {step: words for step, words in commands.items() if not steps or step.split()[0] in steps}
    return [measure(step, rows, home, words) for step, words in chosen.items()]


def asking(home: Path) -> int:
    """How many rows the stage `candidates` asked about."""
    (path,) = (home / "results" / "models" / "pinpoint-candidates").glob("*/config.json")
    return sum(json.loads(path.read_text())["asking"].values())


def fitted(drivers: Sequence[float], values: Sequence[float], at: float) -> tuple[float, float]:
    """The value at full size by a straight line, and the slope of logarithms between the largest sizes."""
    slope, start = np.polyfit(drivers, values, 1)
    small, large = np.log(np.maximum(values[-2:], 1e-9))
    steepness = (large - small) / np.log(drivers[-1] / drivers[-2])
    return max(float(start + slope * at), 0.0), float(steepness)


def report(found: Sequence[Measured], asked: dict[int, int], queries: int) -> str:
    """The table of docs/full-size.md."""
    lines = [
        "| step | rows | processor s | own MiB | mapped MiB | slope: time, own "
        "| full: hours | own GiB | mapped GiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for step in dict.fromkeys(one.step for one in found):
        mine = [one for one in found if one.step == step]
        rows = [float(one.rows) for one in mine]
        full, pairs, all_pairs = FULL_ROWS, rows, FULL_ROWS
        if step == "candidates" and asked:
            pairs = [row * asked[int(row)] for row in rows]
            all_pairs = FULL_ROWS * FULL_ASKING
        elif step in DRIVERS:
            pairs, all_pairs = [row * queries for row in rows], FULL_ROWS * FULL["queries"]
        ends: list[str] = [""] * 4
        if len(mine) > 1:
            hours, steep = fitted(pairs, [one.seconds for one in mine], all_pairs)
            own, steep_own = fitted(rows, [one.own_mib for one in mine], full)
            mapped, _ = fitted(rows, [one.mapped_mib for one in mine], full)
            memory = [f"{peak / 1024:.1f}" for peak in (own, mapped)]
            ends = [f"{steep:.2f}, {steep_own:.2f}", f"{hours / 3600:.2f}", *memory]
        for one in mine:
            last = ends if one is mine[-1] else [""] * 4
            cells = [
                step,
                f"{one.rows:,}",
                f"{one.seconds:,.1f}",
                f"{one.own_mib:,.0f}",
                f"{one.mapped_mib:,.0f}",
            ]
            lines.append("| " + " | ".join([*cells, *last]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="keep here what is made, and go on where it was left")
    parser.add_argument("--steps", nargs="*", default=[], help="some of them [default: all]")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="full-size-"))
    found: list[Measured] = []
    asked: dict[int, int] = {}
    try:
        for rows in given.rows:
            home = folder / str(rows)
            found += rehearse(rows, given.queries, home, given.steps)
            if (home / "results" / "models" / "pinpoint-candidates").is_dir():
                asked[rows] = asking(home)
            if given.folder is None:
                shutil.rmtree(home)
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps([asdict(one) for one in found]))
    print(report(found, asked, given.queries))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--command"]:
        one_command(sys.argv[2], sys.argv[3:])
    else:
        main()
