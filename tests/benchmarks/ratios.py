"""Ratios that benchmarks state, larger where ours is faster, and what was committed of them.

A benchmark calls `state`; `run_all.py` collects what it and its processes stated and compares.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

COMMITTED = Path(__file__).with_name("ratios.json")
"""`processor`, and by the title of a row its ratio in `ratios`."""

WORSE = 0.15
"""A ratio that is smaller by more than this share is called a regression."""

FILE = "PINPOINT_BENCH_RATIOS"


def state(title: str, ratio: float) -> None:
    """Keep a ratio for whoever runs several benchmarks; alone a benchmark only prints it."""
    if path := os.environ.get(FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps([title, round(ratio, 4)]) + "\n")


def stated(path: Path) -> dict[str, float]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return dict(json.loads(line) for line in lines)


def processor() -> str:
    """What decides how ratios lie: which instructions products are made of."""
    import torch

    from pinpoint_harness.devices import cpu_features

    bf16 = sorted(cpu_features() & {"avx512_bf16", "amx_bf16"})
    return " ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *bf16])


def committed() -> tuple[str, dict[str, float]]:
    """The processor and its ratios."""
    if not COMMITTED.exists():
        return "", {}
    kept = json.loads(COMMITTED.read_text("utf-8"))
    return kept["processor"], kept["ratios"]


def commit(ratios: dict[str, float]) -> None:
    kept = {"processor": processor(), "ratios": ratios}
    COMMITTED.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", "utf-8")


def compared(found: dict[str, float], known: dict[str, float]) -> tuple[list[str], list[str]]:
    """A line for each ratio beside the known one, and the titles that are worse by more than `WORSE`."""
    lines, worse = [], []
    for title, ratio in found.items():
        said = "nothing committed"
        if title in known:
            change = ratio / known[title] - 1
            said = f"committed {known[title]:.2f}x ({change:+.0%})"
            if change < -WORSE:
                worse.append(title)
                said += "  REGRESSION"
        lines.append(f"{title:60} {ratio:9.2f}x  {said}")
    absent = sorted(known.keys() - found)
    lines += [f"{title:60}   not run, committed {known[title]:.2f}x" for title in absent]
    return lines, worse
