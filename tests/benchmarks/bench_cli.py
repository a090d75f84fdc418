"""What the command line itself takes: rows `cli/*`.

    python tests/benchmarks/bench_cli.py [CASE ...] [--photos N] [--home DIR]

Cases: `help` and `verify` by default, and `locate`. `help` is `pinpoint --help` beyond starting Python (aim:
0.3 s). `verify` is `pinpoint datasets verify` of as many small JPEGs as OSV-5M's test set has photos, no two
alike, in one folder; its floor reads and decodes the same files with Pillow in one thread. `locate` asks
`pinpoint-plus` of `--home`, where `pinpoint demo` has run, for one photo: at first, with no compiled module
on disk as after installing, and again; its floor is importing torch.

Processor seconds of the whole process beside those of the clock.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = "import sys; sys.argv[1:] = {!r}; from pinpoint_harness.cli.main import main; main()"
PAIRS = 9
PHOTOS = 210_122
LOOKS = 5


def run(program: str, environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Seconds on the clock and of the processor that a Python process takes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        env=os.environ | (environment or {}),
    )
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


def bench_help() -> None:
    program = PROGRAM.format(["--help"])
    run(program)  # warm the file cache
    extra = [run(program)[0] - run("pass")[0] for _ in range(PAIRS)]
    print(f"cli/help: {spread(extra)} beyond `python -c pass`, {PAIRS} pairs; aim 0.3", flush=True)


def jpeg(number: int) -> bytes:
    """A small picture that no other number has."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(data, "JPEG", quality=88)
    return data.getvalue()


def decoded(folder: Path) -> float:
    """Processor seconds to list a folder, read its files and decode them, in one thread."""
    start = time.process_time()
    for entry in os.scandir(folder):
        Image.open(io.BytesIO(Path(entry.path).read_bytes())).load()
    return time.process_time() - start


def bench_verify(photos: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        for number in range(photos):
            (pictures / f"{number}.jpg").write_bytes(jpeg(number))
        truth = Path(folder) / "truth.csv"
        rows = "".join(
            f"{number}.jpg,{number % 180 - 89.5},{number % 360 - 180}\n" for number in range(photos)
        )
        truth.write_text("id,latitude,longitude\n" + rows)
        words = ["datasets", "verify", "table", "--data", str(truth), "--images", str(pictures)]
        clock, processor = run(PROGRAM.format(words))
        floor = decoded(pictures)
    print(
        f"cli/verify of {photos:,} files: {clock:.1f} s, of the processor {processor:.1f} s, "
        f"{processor / floor:.2f} times reading and decoding them ({floor:.1f} s)",
        flush=True,
    )


def bench_locate(home: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(jpeg(0))
        program = PROGRAM.format(["locate", str(photo), "--home", str(home)])
        first = run(program, {"PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")})
        looks = [run(program) for _ in range(LOOKS)]
        floor = [run("import torch")[0] for _ in range(LOOKS)]
    print(f"cli/locate, nothing compiled: {first[0]:.2f} s, of the processor {first[1]:.2f} s")
    print(
        f"cli/locate again: {spread([clock for clock, _ in looks])}, of the processor "
        f"{spread([processor for _, processor in looks])}; importing torch {spread(floor)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="help, verify, locate")
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    cases = given.cases or ["help", "verify"]
    if unknown := set(cases) - {"help", "verify", "locate"}:
        parser.error(f"no case {', '.join(sorted(unknown))}")
    if "locate" in cases and given.home is None:
        parser.error("locate needs --home, where `pinpoint demo` has run")
    if "help" in cases:
        bench_help()
    if "verify" in cases:
        bench_verify(given.photos)
    if "locate" in cases:
        bench_locate(given.home)


if __name__ == "__main__":
    main()
