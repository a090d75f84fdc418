"""Rows `train/step` and `train/full`: samples a second against a DataLoader loop, and a rehearsal of `full`.

    python tests/benchmarks/bench_train.py [--pairs P] [--device cuda]
    python tests/benchmarks/bench_train.py --full

Ours and the peer alternate in one process on the same rows and the same towers of a million weights;
the peer feeds them through `torch.utils.data.DataLoader` and takes open_clip's loss. `--full` sends
10,000 synthetic rows of the real width through every stage of the configuration `full` and answers
queries with what comes out: a rehearsal, whose accuracy means nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.features import FeatureStore, write_matrix_header
from pinpoint_harness.features.store import VERSION, store_files
from pinpoint_harness.geo import unit_xyz
from pinpoint_harness.photo_ids import hash_ids, truth_hash
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import build_params
from pinpoint_harness.training import TrainRequest, train
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.pinpoint.config import CONFIGS
from pinpoint_methods.pinpoint.embedder import EmbedderTrainer, TrainingRows

ROWS, BATCH, WIDTH, STEPS = 65_536, 4096, 512, 4
SMALL = replace(
    CONFIGS["mini"],
    hidden=256,
    location_hidden=192,
    frequencies=128,
    embedding=64,
    batch=BATCH,
    passes=10_000.0,
)


def rows_of(count: int, width: int, seed: int, device: str = "cpu") -> TrainingRows:
    random = np.random.default_rng(seed)
    places = np.column_stack([random.uniform(-60, 70, count), random.uniform(-180, 180, count)])
    features = torch.from_numpy(random.normal(size=(count, width)).astype(np.float16))
    xyz = torch.from_numpy(unit_xyz(places).astype(np.float32))
    return TrainingRows(features.to(device), xyz.to(device))


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """One row at a time, as loaders want it."""

    def __init__(self, data: TrainingRows) -> None:
        self._features, self._xyz = data.features.cpu(), data.xyz.cpu()

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self._features[row], self._xyz[row]


class Peer:
    """The same towers and optimizer, fed by a DataLoader, with open_clip's loss."""

    def __init__(self, data: TrainingRows, device: str) -> None:
        self.trainer = EmbedderTrainer(SMALL, {"photos": data}, 0, device)
        self.rows, self.device = Rows(data), device

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(self.rows, batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True)
        for features, xyz in loader:
            yield features.to(self.device), xyz.to(self.device)

    def step(self, features: Tensor, xyz: Tensor) -> None:
        model = self.trainer.model
        images, places = model.image(features.float(), "photos"), model.location(xyz)
        logits = model.log_temperature["photos"].exp() * images @ places.T + model.bias_of["photos"]
        labels = 2 * torch.eye(len(logits), device=self.device) - torch.ones_like(logits)
        loss = -functional.logsigmoid(labels * logits).sum() / len(images)
        self.trainer.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.trainer.optimizer.step()


def synchronised(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def bench_step(pairs: int, device: str) -> None:
    torch.set_num_threads(1)  # for both; the peer's two workers have the other cores
    data = rows_of(ROWS, WIDTH, 0, device)
    ours, peer = EmbedderTrainer(SMALL, {"photos": data}, 0, device), Peer(data, device)
    weights = sum(p.numel() for p in ours.model.parameters()) / 1e6
    ratios, feeding, rates = [], [], []
    for round_ in range(pairs + 1):
        started = synchronised(device)
        for step in range(STEPS):
            ours.step(round_ * STEPS + step)
        mine = (synchronised(device) - started) / STEPS
        started = synchronised(device)
        for step in range(STEPS):
            batch = ours.shuffles["photos"].batch(round_ * STEPS + step)
            data.features.index_select(0, batch)
        feed = (synchronised(device) - started) / STEPS
        batches = peer.batches()
        peer.step(*next(batches))  # the workers' start is not counted
        started = synchronised(device)
        for _ in range(STEPS):
            peer.step(*next(batches))
        theirs = (synchronised(device) - started) / STEPS
        if round_:
            ratios.append(theirs / mine)
            feeding.append(feed / mine)
            rates.append(BATCH / mine)
    print(
        f"towers of {weights:.1f} M, batch {BATCH:,}: {statistics.median(ratios):.1f}x the samples of a "
        f"DataLoader loop ({min(ratios):.1f} to {max(ratios):.1f}), {statistics.median(rates):,.0f}/s, "
        f"rows at hand in {100 * statistics.median(feeding):.1f} % of a step  aim 10x, 5 %",
        flush=True,
    )


# The rehearsal


class Stores:
    """Synthetic stores by the names of the configuration `full`."""

    def __init__(self, root: Path, rows: int) -> None:
        self._root, self._rows = root, rows
        self.truths: dict[str, pd.DataFrame] = {}
        self._stores: dict[str, FeatureStore] = {}

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore:
        if name not in self._stores:
            self._stores[name] = self._make(name, backbone)
        return self._stores[name]

    def weights_of(self, backbone: str) -> str:
        return ""

    def _make(self, name: str, backbone: str) -> FeatureStore:
        count = self._rows if name in ("mp16-pro", "osv5m-train") else 200
        random = np.random.default_rng(len(name))
        ids = [f"{1_000_000 + row}" for row in range(count)]
        street = name.startswith("osv5m")
        truth = pd.DataFrame(
            {
                "id": ids,
                "image": ids
                if street
                else [f"{int(key) % 256:02x}_{int(key) % 251:02x}_{key}.jpg" for key in ids],
                "latitude": random.uniform(-60, 70, count),
                "longitude": random.uniform(-180, 180, count),
                "author": [f"{name}-{person}" for person in random.integers(0, count // 5, count)],
                "source": "streetview" if street else "photos",
            }
        )
        self.truths[name] = truth
        half = random.normal(size=(count, 1536)).astype(np.float16)

        def write(stream: Any) -> None:
            write_matrix_header(stream, *half.shape)
            stream.write(half.tobytes())

        spec = {"version": VERSION, "synthetic": name, "dataset_hash": truth_hash(truth)}
        record = {
            "dataset": name,
            "backbone": backbone,
            "rows": count,
            "width": 1536,
            "failed": 0,
            "normalisation": "none",
            "subset": None,
            "recipe": spec,
        }
        artifact = Artifact.begin(self._root / name, "features", spec)
        artifact.finish(store_files(truth, {}, write, record))
        return FeatureStore.open(artifact.folder)


STAGES = {
    "pinpoint": ("splits", "embedder", "raw", "support", "gallery", "candidates", "reranker", "calibration"),
    "pinpoint-plus": ("reranker", "calibration"),  # the others are pinpoint's
}
ANSWERING = ("pinpoint-top1-gps", "pinpoint-top1-image", "pinpoint-top1-raw", *STAGES)


def rehearse(rows: int, device: str, dtype: str, batch: int) -> None:
    """Every stage of `full`, then a tile of queries, with the time each takes."""
    with tempfile.TemporaryDirectory() as folder:
        stores = Stores(Path(folder) / "stores", rows)
        methods = load_registry().methods
        changes = {"config": "full", "passes": 0.001, "batch": batch, "validations": 1, "models": folder}
        context = Context(device, dtype, stores=stores)
        for name, stages in STAGES.items():
            params = build_params(methods[name], changes)
            for stage in stages:
                started = time.perf_counter()
                request = TrainRequest(
                    methods[name], params, context, Path(folder), lambda name: stores.truths[name], stage
                )
                (*_, last) = train(request)
                size = sum(path.stat().st_size for path in last.folder.iterdir()) / 2**20
                print(
                    f"full, {rows:,} rows: {name} {stage:11} {time.perf_counter() - started:6.1f} s "
                    f"{size:8.1f} MiB",
                    flush=True,
                )
        for name in ANSWERING:
            started = time.perf_counter()
            params = build_params(methods[name], changes | {"author_filter": True})
            answer = methods[name].load()(params, context).predict(_queries(stores, device))
            assert np.isfinite(answer.coordinates).all()
            print(f"full, {rows:,} rows: {name} answers 64 photos {time.perf_counter() - started:.1f} s")


def _queries(stores: Stores, device: str) -> Queries:
    store = stores.gallery("im2gps3k", "")
    features = torch.from_numpy(np.array(store.matrix[:64])).to(device)
    authors = hash_ids(store.table["author"].to_pylist()[:64])
    return Queries(
        hash_ids(store.table["id"].to_pylist()[:64]), authors, ["photos"] * 32 + ["streetview"] * 32, features
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=256)
    options = parser.parse_args()
    if options.full:
        dtype = "bfloat16" if options.device != "cpu" else "float32"
        rehearse(options.rows, options.device, dtype, options.batch)
    else:
        bench_step(options.pairs, options.device)


if __name__ == "__main__":
    main()
