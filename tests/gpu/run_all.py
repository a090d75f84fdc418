"""Checks and figures on a GPU in one short run.

    python tests/gpu/run_all.py [--minutes 8] [--device cuda] [--out results/gpu]
    python tests/gpu/run_all.py --device cpu --tiny       a rehearsal: every line runs, no figure counts

Checks come first: what a GPU computes against what a CPU does. Figures follow in the order of their
worth (see plan.py), each beside the floor that memory and arithmetic of this very run allow. An item
that fails is noted with its traceback, one that takes too long is ended, one that no longer fits into
the minutes is left out with that reason, and the run goes on. The results are written after every
item to `OUT/<time>-<device>.json`, and printed as one table in the end.

Ends with 1 where a check failed, 2 where it could not begin. Needs no network, and of this repository's
requirements only those named in NEEDED.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plan import BROKEN, PLAN, Item
from table import table

REPOSITORY = Path(__file__).resolve().parents[2]
ROOTS = [str(REPOSITORY / name) for name in ("harness", "methods", "datasets", "results")]
NEEDED = {
    **{
        name: name for name in ("torch", "numpy", "scipy", "pandas", "pyarrow", "safetensors", "transformers")
    },
    "pluggy": "pluggy",
    "PIL": "Pillow",
}
"""Modules, and what brings each of them."""

POLL_SECONDS = 0.05
AT_THE_END = 5.0
"""Seconds kept for the table."""


class Run:
    """The items that are done, and the file they stand in."""

    def __init__(self, options: argparse.Namespace, items: Sequence[Item], path: Path) -> None:
        self.options, self.path, self.todo = options, path, list(items)
        self.begun = time.monotonic()
        self.deadline = self.begun + 60 * options.minutes - AT_THE_END
        self.record: dict[str, Any] = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "arguments": vars(options) | {"out": str(options.out)},
            "machine": {},
            "roof": {},
            "items": [],
        }

    def go(self) -> None:
        """All items, in as many processes as it takes: one that hangs or dies costs no other item."""
        while self.todo:
            with tempfile.TemporaryDirectory() as folder:
                self._one_process(Path(folder))

    def _one_process(self, folder: Path) -> None:
        order, lines = folder / "order.json", folder / "lines"
        lines.touch()
        order.write_text(
            json.dumps(
                {
                    "items": [asdict(item) for item in self.todo],
                    "left": self.deadline - time.monotonic(),
                    "roof": self.record["roof"],
                    "device": self.options.device,
                    "tiny": self.options.tiny,
                    "lines": str(lines),
                }
            )
        )
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), str(order)]
        paths = os.pathsep.join([*ROOTS, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
        with (folder / "output").open("w+") as output:
            worker = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
            try:
                why = self._follow(worker, lines)
            finally:
                _end(worker)
            output.seek(0)
            said = output.read()[-4000:]
        if self.todo and worker.returncode != BROKEN:  # what it was at has failed
            self._add(_lost(self.todo[0], why or f"the process ended with {worker.returncode}", said))

    def _follow(self, worker: subprocess.Popen[bytes], lines: Path) -> str:
        """Take up what the process notes until it ends; why it was ended before, or nothing."""
        since, warming = time.monotonic(), True
        with lines.open() as stream:
            while True:
                ended = worker.poll() is not None
                while (line := stream.readline()).endswith("\n"):
                    self._take(json.loads(line))
                    since, warming = time.monotonic(), False
                if ended or not self.todo:
                    return ""
                # The first item also waits for libraries to be loaded.
                limit = self.todo[0].limit + 60 * warming
                if time.monotonic() - since > limit:
                    return f"ended after {limit} s"
                if time.monotonic() > self.deadline + AT_THE_END:
                    return "ended with the budget of the whole run"
                time.sleep(POLL_SECONDS)

    def _take(self, line: dict[str, Any]) -> None:
        if "machine" in line:
            self.record["machine"] = line["machine"]
            return
        self.record["roof"] |= line.pop("roof", {})
        self._add(line)

    def _add(self, item: dict[str, Any]) -> None:
        self.todo.pop(0)
        self.record["items"].append(item)
        self.record["seconds"] = round(time.monotonic() - self.begun, 1)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.record, indent=1) + "\n")
        temporary.replace(self.path)
        about = item.get("reason") or (item.get("traceback") or "").strip().rpartition("\n")[2]
        print(f"{item['status']:8} {item['name']}  {item['seconds']:.1f} s  {about}", flush=True)


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End the process and what it started, which share a session of their own."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _lost(item: Item, why: str, said: str) -> dict[str, Any]:
    kind = "check" if item.is_check else "figure"
    return {
        "name": item.name,
        "kind": kind,
        "status": "failed",
        "seconds": 0.0,
        "reason": why,
        "traceback": said,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="of the whole run [8]")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that take no time and prove nothing")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "results" / "gpu", help="[results/gpu]")
    parser.add_argument("--only", metavar="TEXT", default="", help="items whose name holds this")
    return parser.parse_args()


def main() -> int:
    options = _options()
    missing = [brings for module, brings in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"missing: pip install {' '.join(missing)}", file=sys.stderr)
        return 2
    items = [item for item in PLAN if options.only.lower() in item.name.lower()]
    if not items:
        print(f"no item is named '{options.only}'", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    run = Run(options, items, options.out / f"{stamp}-{options.device}{'-tiny' * options.tiny}.json")
    run.go()
    print()
    print(table(run.record))
    print(f"\nwritten to {run.path}")
    failed = [item["name"] for item in run.record["items"] if item["status"] == "failed"]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(any(i["status"] == "failed" and i["kind"] == "check" for i in run.record["items"]))


if __name__ == "__main__":
    raise SystemExit(main())
