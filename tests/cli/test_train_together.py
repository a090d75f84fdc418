"""Training by several processes as `torchrun` starts them: the line of the documents, one answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.pinpoint_world import World

from pinpoint_harness.artifacts import read_json
from pinpoint_harness.features import iter_stores

PINPOINT = "from pinpoint_harness.cli.main import main; main()"
SETTINGS = {
    "backbone": "colours", "photos": "toy/photos", "streetview": "toy/streetview",
    "photos_spelling": "verbatim",
    "photos_a_percent": 60, "photos_c_one_in": 2, "hidden": 8, "embedding": 8, "frequencies": 8,
    "location_hidden": 8, "batch": 32, "passes": 2.6, "validations": 1,
}  # fmt: skip


def test_two_processes_embed_and_train_together_and_the_first_prints(tmp_path: Path) -> None:
    world = World(tmp_path)
    words = ["--plugin", str(world.plugin), "--home", str(tmp_path / "home")]
    words += ["train", "pinpoint-top1-image", "--stage", "embedder", "--device", "cpu", "--json"]
    words += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "--no-python", sys.executable, "-P", "-c", PINPOINT, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    splits, embedder = json.loads(done.stdout)
    assert (splits["made"], embedder["made"]) == ("now", "now")
    assert len(re.findall(r"step (\d+) of \1 ", done.stderr)) == 1
    spec = read_json(Path(embedder["folder"]) / "manifest.json")["recipe"]
    assert spec["made"]["processes"] == 2
    assert {store.dataset for store in iter_stores(tmp_path / "home" / "stores")} == {
        "toy/photos",
        "toy/streetview",
    }
