"""A run over a truth file, for tests of what a truth file says."""

from __future__ import annotations

from pathlib import Path

from pinpoint_harness.artifacts import Subset
from pinpoint_harness.home import find_home
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.readers.truth import TableDataset, TruthSpec
from pinpoint_harness.running import Run, build_request
from pinpoint_harness.running.runner import run
from pinpoint_harness.types import DataLocation


def run_of(spec: TruthSpec, path: Path, out: Path) -> Run:
    """The constant (1, 1) over a truth of that declaration."""
    kind = type("Toy", (TableDataset,), {"spec": spec})
    dataset = kind(DataLocation(path))
    settings = {"latitude": "1", "longitude": "1"}
    entry = load_registry().method("constant")
    return run(
        build_request(entry, "toy", dataset, parameters=settings, subset=Subset(), home=find_home(out))
    )
