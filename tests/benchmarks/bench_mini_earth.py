"""Mini-Earth's speeds: pictures drawn, written and turned into features, a second.

    python tests/benchmarks/bench_mini_earth.py

Aims on two cores: 2,000 pictures drawn, 10,000 turned into features (bf16), a second.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from pinpoint_datasets.mini_earth.archive import Tables, ensure_world
from pinpoint_datasets.mini_earth.backbone import features, load_mini
from pinpoint_datasets.mini_earth.drawing.attributes import random_pictures
from pinpoint_datasets.mini_earth.drawing.scene import render
from pinpoint_datasets.mini_earth.world import WorldSpec

PICTURES = 2048


def draw(seed: int) -> int:
    return len(render(*random_pictures(np.random.default_rng(seed), PICTURES)))


def main() -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(draw, range(2)))
        start = time.perf_counter()
        drawn = sum(pool.map(draw, range(4)))
        print(f"drawn, two processes        {drawn / (time.perf_counter() - start):8,.0f} pictures/s")
    start = time.perf_counter()
    size = sum(map(len, Tables(WorldSpec()).files().values()))
    print(f"tables of the default world {time.perf_counter() - start:8.2f} s, {size:,} bytes")
    spec = WorldSpec(photos=4000, streetview=4000, queries=1000)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        written = ensure_world(spec, Path(folder), workers=2)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in written.iterdir())
    print(f"drawn and written           {11_000 / seconds:8,.0f} pictures/s, {size / 11_000:,.0f} bytes each")
    network, pictures = (
        load_mini(),
        np.random.default_rng(0).integers(0, 255, (4096, 64, 64, 3), dtype=np.uint8),
    )
    for dtype in (torch.float32, torch.bfloat16):
        features(pictures[:256], network, dtype)
        start = time.perf_counter()
        features(pictures, network, dtype)
        print(f"features, {dtype!s:18}{len(pictures) / (time.perf_counter() - start):8,.0f} pictures/s")


if __name__ == "__main__":
    main()
