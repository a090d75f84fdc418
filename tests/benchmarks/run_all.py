"""Run every benchmark, or those named, each in a process of its own.

python tests/benchmarks/run_all.py                  all of them
python tests/benchmarks/run_all.py score cli        some
python tests/benchmarks/run_all.py --quick          small sizes of those that state ratios
python tests/benchmarks/run_all.py --quick --keep   the same, to be committed

`--quick` takes five minutes and is for the hand, before a release. A ratio more than 15 % below the committed
one is a regression: it is printed, and the exit code is 1. Other instructions than on the processor of the
committed ones, and nothing is judged.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ratios import COMMITTED, FILE, commit, committed, compared, processor, stated

QUICK = {
    "search": "batch single channels exclusion --rows 20000 --pairs 4",
    "support": "--rows 50000 --points 4000 --most-rows 10000 --pairs 5",
    "rerank": "--pairs 6",
    "loss": "--batch 2048 --pairs 5",
    "score": "",
    "distance": "",
    "lknn": "",
    "decode": "",
    "end_to_end": "cached --rows 12000 --queries 1000 --slice 100 --pairs 5",
}
"""What each is given that takes part in `--quick`."""


def main() -> int:
    here = Path(__file__).parent
    known = {path.stem.removeprefix("bench_"): path for path in sorted(here.glob("bench_*.py"))}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="small sizes, compared with what is committed")
    parser.add_argument("--keep", action="store_true", help="write what --quick finds where it is committed")
    asked = parser.parse_args()
    if asked.keep and not asked.quick:
        parser.error("--keep is for --quick")
    among = QUICK if asked.quick else known
    if unknown := set(asked.names) - set(among):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(among)}")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        collected = Path(folder) / "ratios"
        for name in asked.names or among:
            print(f"\n== {name} ==", flush=True)
            before, started = len(stated(collected)), time.perf_counter()
            code = run(known[name], QUICK[name].split() if asked.quick else [], collected)
            # Gates are for the full sizes: of a quick look it is asked that it stated something.
            if len(stated(collected)) == before if asked.quick else code:
                failed.append(name)
            print(f"{time.perf_counter() - started:.0f} s", flush=True)
        found = stated(collected)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    worse = asked.quick and compare(found, whole=not asked.names, keep=asked.keep)
    return int(bool(failed) or worse)


def run(benchmark: Path, given: list[str], collected: Path) -> int:
    root = str(benchmark.parents[2])  # for tests.support
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {FILE: str(collected), "PYTHONPATH": paths}
    return subprocess.run([sys.executable, str(benchmark), *given], env=environment, check=False).returncode


def compare(found: dict[str, float], whole: bool, keep: bool) -> bool:
    """Print ratios beside those committed; whether one is worse. Of a part, only its own are looked at."""
    of, known = committed()
    lines, worse = compared(found, known if whole else {one: known[one] for one in known if one in found})
    print("\n== ratios ==", *lines, sep="\n")
    if keep:
        commit(found if whole else known | found)
        print(f"kept in {COMMITTED.name}")
        return False
    if (here := processor()) != of:
        print(f"nothing is judged: committed on {of or 'no processor'}, and this one is {here}")
        return False
    if worse:
        print(
            f"{len(worse)} worse by more than 15 %: run them again on a quiet machine, then see what changed"
        )
    return bool(worse)


if __name__ == "__main__":
    raise SystemExit(main())
