"""The process in which items run one after another; run_all.py starts it and reads its notes."""

from __future__ import annotations

import gc
import importlib
import json
import platform
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from bench import Bench, Skipped
from plan import BROKEN, Item


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text())
    with Path(order["lines"]).open("a") as lines:

        def note(line: dict[str, Any]) -> None:
            lines.write(json.dumps(line) + "\n")
            lines.flush()

        if order["device"] == "cuda" and not torch.cuda.is_available():
            raise SystemExit("torch finds no CUDA device here; --device cpu --tiny rehearses without one")
        bench = Bench(order["device"], order["tiny"], order["left"], order["roof"])
        note({"machine": machine(bench)})
        for item in order["items"]:
            note(run(Item(**item), bench))
            if bench.broken:
                raise SystemExit(BROKEN)
            gc.collect()
            if bench.cuda:
                torch.cuda.empty_cache()


def run(item: Item, bench: Bench) -> dict[str, Any]:
    """One item, whatever becomes of it."""
    begun = time.monotonic()
    line: dict[str, Any] = {"name": item.name, "kind": "check" if item.is_check else "figure"}
    bench.start(item)
    try:
        if bench.left() < item.seconds and not bench.tiny:
            raise Skipped(f"takes about {item.seconds} s, and {bench.left():.0f} s are left")
        facts = getattr(importlib.import_module(item.module), item.function)(bench)
        line |= {"status": "ok", "facts": facts or {}}
    except Skipped as skipped:
        line |= {"status": "skipped", "reason": str(skipped)}
    except torch.OutOfMemoryError as error:
        line |= {
            "status": "failed",
            "reason": str(error).splitlines()[0],
            "traceback": traceback.format_exc(),
        }
        bench.broken = True
    except AssertionError as error:
        line |= {"status": "failed", "reason": _said(error), "traceback": traceback.format_exc()}
    except Exception as error:  # noqa: BLE001 - whatever fails is noted, and the others run
        bench.broken = bench.cuda
        line |= {"status": "failed", "reason": _said(error), "traceback": traceback.format_exc()}
    line |= {"seconds": round(time.monotonic() - begun, 2), "figures": bench.figures, "roof": bench.roof}
    return line | {"notes": bench.notes, "peak_gib": None if bench.broken else bench.peak_gib()}


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def machine(bench: Bench) -> dict[str, Any]:
    """What the figures were measured on, and with."""
    import numpy
    import transformers

    found: dict[str, Any] = {
        "device": bench.device.type,
        "name": torch.cuda.get_device_name() if bench.cuda else platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "numpy": numpy.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }
    if bench.cuda:
        found["memory_gib"] = round(torch.cuda.get_device_properties(bench.device).total_memory / 2**30, 1)
        found["capability"] = ".".join(map(str, torch.cuda.get_device_capability()))
        found["driver"] = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return found


def _commit() -> str:
    return _output("git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    main()
