"""The run on a GPU, rehearsed on the CPU: every check holds, and an item that fails costs no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ABSENT = [
    "click",
    "faiss",
    "geopy",
    "pyproj",
    "bokeh",
    "matplotlib",
    "tabulate",
    "platformdirs",
    "simplejpeg",
]
"""Requirements of this repository that a machine with a GPU may lack."""

TRIAL = """
import os, time
def fails(bench):
    raise ValueError("as it is meant to")
def dies(bench):
    print("last words", flush=True)
    os._exit(3)
def hangs(bench):
    time.sleep(600)
def works(bench):
    bench.report("sleep", [0.001, 0.003], floor=0.001)
"""
RUN_TRIAL = """
import sys
sys.path.insert(0, sys.argv[1])
import run_all
from plan import Item
run_all.PLAN = tuple(
    Item(f"G0 {name}" if name == "works" else name, "checks_trial", name, 0, 1 if name == "hangs" else 120)
    for name in ("fails", "dies", "hangs", "works")
)
sys.argv[1:] = sys.argv[2:]
raise SystemExit(run_all.main())
"""


def run(folder: Path, *command: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """A run on the CPU with what lies in `folder` on the path, and the record it left."""
    asked = ["--device", "cpu", "--tiny", "--out", str(folder / "out")]
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, *command, *asked], env=environment, capture_output=True, text=True, check=False
    )
    (path,) = (folder / "out").glob("*-cpu-tiny.json")
    assert f"written to {path}" in done.stdout, done.stdout + done.stderr
    return done, json.loads(path.read_text())


def test_the_whole_run_without_what_only_the_command_line_needs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n")
    done, record = run(tmp_path, str(HERE / "run_all.py"), "--minutes", "30")
    failed = [(item["name"], item.get("traceback")) for item in record["items"] if item["status"] != "ok"]
    assert not failed
    assert done.returncode == 0
    figures = {item["name"]: item["figures"] for item in record["items"] if item["kind"] == "figure"}
    assert [name for name, taken in figures.items() if not taken] == ["G14 determinism"]  # it is yes or no
    assert record["roof"].keys() >= {"copy", "bf16", "fp32"}
    first = figures["G2 search"][0]
    assert 0 < first["min"] <= first["median"] <= first["max"]
    assert first["percent_of_floor"] > 0


def test_an_item_that_fails_dies_or_hangs_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "checks_trial.py").write_text(TRIAL)
    done, record = run(tmp_path, "-c", RUN_TRIAL, str(HERE))
    assert done.returncode == 1
    found = {item["name"]: item for item in record["items"]}
    assert [item["status"] for item in found.values()] == ["failed", "failed", "failed", "ok"]
    assert 'raise ValueError("as it is meant to")' in found["fails"]["traceback"]
    assert found["dies"]["reason"] == "the process ended with 3"
    assert "last words" in found["dies"]["traceback"]
    assert found["hangs"]["reason"] == "ended after 1 s"
    assert found["G0 works"]["figures"][0]["median"] == 2
    assert "G0 sleep 2 ms" in " ".join(done.stdout.split())


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    program = "import sys\nsys.modules.update(dict.fromkeys(['pluggy', 'PIL']))\n"
    (tmp_path / "sitecustomize.py").write_text(program)
    command = [sys.executable, str(HERE / "run_all.py")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "missing: pip install pluggy Pillow\n"
