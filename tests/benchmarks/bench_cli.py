"""How long `pinpoint --help` takes beyond starting Python (aim: 0.3 s)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PROGRAM = "import sys; sys.argv[1:] = [{!r}]; from pinpoint_harness.cli.main import main; main()"
PAIRS = 9


def seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    seconds(PROGRAM.format("--help"))  # warm the file cache
    extra = [seconds(PROGRAM.format("--help")) - seconds("pass") for _ in range(PAIRS)]
    print(
        f"cli/help: {statistics.median(extra):.3f} s beyond `python -c pass` "
        f"(min {min(extra):.3f}, max {max(extra):.3f}, {PAIRS} pairs; aim 0.3)"
    )


if __name__ == "__main__":
    main()
