"""Time and memory of reading a table shaped like OSV-5M's train.csv, against pandas.read_csv.

    python tests/benchmarks/bench_truth.py --rows 1000000

Writes a synthetic table into a temporary folder and reads it once per reader, each in a fresh
process, so that the peak memory is that reader's own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

COLUMNS = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,lon_bin,lat_bin,cell,region,"
    "sub-region,city,land_cover,road_index,drive_side,climate,soil,dist_sea,quadtree_10_5000,"
    "quadtree_10_25000,quadtree_10_1000,quadtree_10_50000,quadtree_10_12500,quadtree_10_500,"
    "quadtree_10_2500,unique_region,unique_sub-region,unique_city,unique_country,creator_username,creator_id"
)

READERS = {
    "read_truth, osv5m-train": """
from pinpoint_datasets.osv5m import OSV5MTrain as Dataset
""",
    "read_truth, osv5m (with place names)": """
from pinpoint_datasets.osv5m import OSV5MTest as Dataset
""",
    "pandas.read_csv, all columns": """
import pandas
def read(path): return pandas.read_csv(path, dtype={"id": str}, keep_default_na=False, low_memory=False)
""",
    "pandas.read_csv, the same four columns": """
import pandas
COLUMNS = ["id", "latitude", "longitude", "creator_id"]
def read(path): return pandas.read_csv(path, usecols=COLUMNS, dtype={"id": str, "creator_id": str})
""",
}
READ_TRUTH = """
import logging
logging.disable(logging.WARNING)
from pinpoint_harness.types import DataLocation
def read(path): return Dataset(DataLocation(path)).truth()
"""
MEASURE = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
frame = read(Path(sys.argv[1]))
seconds = time.perf_counter() - start
peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
frame_mib = frame.memory_usage(deep=True).sum() / 2**20
print(json.dumps([len(frame), seconds, peak_mib, frame_mib]))
"""


def lines(rows: int, seed: int = 0) -> Iterator[str]:
    """Rows as long as the real ones: about 600 bytes, most of them an address nobody needs."""
    generator = np.random.default_rng(seed)
    for row in range(rows):
        latitude, longitude = generator.uniform(-60, 75), generator.uniform(-180, 180)
        place = int(generator.integers(3000))
        city, creator = f"City {place * 7}", int(generator.integers(50_000))
        quadtrees = ",".join(
            str(row % leaves) for leaves in (10_000, 3000, 40_000, 1500, 5000, 70_000, 20_000)
        )
        yield (
            f"{100_000_000_000_000 + row * 1_234_567},{latitude},{longitude},"
            f"https://images.example.org/m1/v/t6/{row:x}{'A1b2C3d4' * 28}?stp=s1024&oh=00_{row:032x},"
            f"NA,seq{row % 900_000:022d},1562246400000,{row % 100}.0,{row % 90}.0,"
            f'"({row % 100}, {row % 90})",Region {place},NaN,{city},'
            f"4,{row % 17 / 10},1.0,11.0,6,{row % 1000 / 7},{quadtrees},"
            f"Region {place}_NA,NaN_Region {place}_NA,{city}_NaN_Region {place}_NA,NA,"
            f"user{creator},{100_000_000_000_000 + creator}.0\n"
        )


def write_table(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{COLUMNS}\n")
        file.writelines(lines(rows))


def measure(name: str, setup: str, path: Path) -> None:
    code = setup + (READ_TRUTH if "Dataset" in setup else "") + MEASURE
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    count, seconds, peak_mib, frame_mib = json.loads(done.stdout)
    print(
        f"{name:40} {count:9,} rows {seconds:7.2f} s  peak {peak_mib:6,.0f} MiB  frame {frame_mib:5,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        start = time.perf_counter()
        write_table(path, rows)
        seconds, size = time.perf_counter() - start, path.stat().st_size
        print(f"{size / 1e9:.2f} GB, {size / rows:.0f} bytes a row, written in {seconds:.0f} s")
        for name, setup in READERS.items():
            measure(name, setup, path)


if __name__ == "__main__":
    main()
