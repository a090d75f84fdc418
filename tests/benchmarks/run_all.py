"""Run every benchmark, or those named, each in a process of its own.

python tests/benchmarks/run_all.py            all of them
python tests/benchmarks/run_all.py score cli  some
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    here = Path(__file__).parent
    known = {path.stem.removeprefix("bench_"): path for path in sorted(here.glob("bench_*.py"))}
    chosen = sys.argv[1:] or list(known)
    if unknown := set(chosen) - set(known):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    failed = []
    for name in chosen:
        print(f"\n== {name} ==", flush=True)
        if subprocess.run([sys.executable, str(known[name])], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
