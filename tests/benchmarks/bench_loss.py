"""Row `train/sigmoid-loss`: the fused loss against open_clip's formula, and against its matrix products.

    python tests/benchmarks/bench_loss.py [--batch N] [--pairs P] [--device cuda]

Ours and the peer alternate in one process, forward and backward; the ratio is the median over the
pairs. The floor is the three products that no way of computing it can do without. Memory is the peak
of a fresh process over what it held before (on a GPU, of the allocator). Before a time is taken,
loss and gradients must agree.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ratios import state
from torch import Tensor
from torch.nn import functional

from pinpoint_harness.geo import unit_xyz
from pinpoint_methods.pinpoint.sigmoid_loss import CPU_TILE, GPU_TILE, near_pairs, sigmoid_loss

WIDTH = 256


def make(batch: int, device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    vectors = [functional.normalize(torch.randn(batch, WIDTH, generator=generator), dim=1) for _ in range(2)]
    given = [*vectors, torch.tensor(10.0), torch.tensor(-10.0)]
    return [tensor.to(device).requires_grad_() for tensor in given]


def open_clip(images: Tensor, places: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
    """As in open_clip's SigLipLoss."""
    logits = temperature * images @ places.T + bias
    labels = -torch.ones(logits.shape, dtype=logits.dtype, device=logits.device)
    labels = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) + labels
    return -functional.logsigmoid(labels * logits).sum() / len(images)


def softplus(images: Tensor, places: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
    """The same without the matrix of labels: softplus(-z) = softplus(z) - z on the diagonal."""
    logits = temperature * images @ places.T + bias
    return (functional.softplus(logits).sum() - logits.diagonal().sum()) / len(images)


def fused(images: Tensor, places: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
    return sigmoid_loss(images, places, temperature, bias)


def products(images: Tensor, places: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
    """The three products alone, in the tiles that ours has."""
    rows, columns = GPU_TILE if images.is_cuda else CPU_TILE
    with torch.no_grad():
        d_images, d_places = torch.zeros_like(images), torch.zeros_like(places)
        for top in range(0, len(images), rows):
            for left in range(0, len(places), columns):
                mine, theirs = images[top : top + rows], places[left : left + columns]
                tile = mine @ theirs.T
                d_images[top : top + rows].addmm_(tile, theirs)
                d_places[left : left + columns].addmm_(tile.T, mine)
    return d_images.sum()


WAYS = {"open_clip": open_clip, "softplus": softplus, "fused": fused, "products": products}


def run(way: Callable[..., Tensor], given: list[Tensor]) -> float:
    for tensor in given:
        tensor.grad = None
    device = given[0].device
    if device.type == "cuda":
        torch.cuda.synchronize()
    # On one thread the processor's time is the work; a busy machine does not count.
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    loss = way(*given)
    if way is not products:
        torch.autograd.backward(loss)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def check(batch: int, device: str) -> None:
    found = []
    for way in (open_clip, softplus, fused):
        given = make(batch, device)
        loss = way(*given)
        torch.autograd.backward(loss)
        found.append([loss.detach(), *(tensor.grad for tensor in given)])
    for other in found[:2]:
        for mine, its in zip(found[2], other, strict=True):
            assert mine is not None
            assert its is not None
            scale = its.abs().max().item()
            torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-5 * scale)


def peak_mib(way: str, batch: int, device: str) -> float:
    command = [sys.executable, __file__, "--memory", way, "--batch", str(batch), "--device", device]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_memory(way: str, batch: int, device: str) -> None:
    run(WAYS[way], make(256, device))
    given = make(batch, device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.max_memory_allocated()
        run(WAYS[way], given)
        print((torch.cuda.max_memory_allocated() - held) / 2**20)
        return
    # Not `ru_maxrss`: a child inherits its parent's peak through fork and exec.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_mib("VmRSS")
    run(WAYS[way], given)
    print(_status_mib("VmHWM") - before)


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def bench(batch: int, pairs: int, device: str) -> None:
    check(min(batch, 1024), device)
    given = make(batch, device)
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for round_ in range(pairs + 1):
        for name, way in WAYS.items():
            seconds = run(way, given)
            if round_:
                times[name].append(seconds)
    memory = {name: peak_mib(name, batch, device) for name in ("open_clip", "softplus", "fused")}
    for peer, aim in (("open_clip", "4x faster, 7x less"), ("softplus", "-")):
        ratios = [theirs / ours for theirs, ours in zip(times[peer], times["fused"], strict=True)]
        state(f"loss batch {batch:,} against {peer}", statistics.median(ratios))
        print(
            f"batch {batch:6,} against {peer:9}  {statistics.median(ratios):5.2f}x "
            f"({min(ratios):.2f} to {max(ratios):.2f})  memory {memory[peer] / memory['fused']:4.1f}x "
            f"({memory['fused']:.0f} against {memory[peer]:.0f} MiB)  aim {aim}",
            flush=True,
        )
    floor = [ours / least for least, ours in zip(times["products"], times["fused"], strict=True)]
    milliseconds = statistics.median(times["fused"]) * 1e3
    state(f"loss batch {batch:,} its products against its own time", 1 / statistics.median(floor))
    print(
        f"batch {batch:6,} against its products  {statistics.median(floor):.2f}x their time "
        f"({min(floor):.2f} to {max(floor):.2f}), {milliseconds:.1f} ms  aim 1.35x",
        flush=True,
    )


def growth(device: str, batches: list[int]) -> None:
    """Memory of ours is linear in the batch, of the plain formula quadratic."""
    ours = [peak_mib("fused", batch, device) for batch in batches]
    slope = np.polyfit(np.log(batches), np.log(ours), 1)[0]
    listed = ", ".join(f"{batch:,}: {mib:.0f}" for batch, mib in zip(batches, ours, strict=True))
    print(f"memory grows as batch^{slope:.2f} (MiB at {listed})  aim 1", flush=True)


def masking(batch: int, device: str) -> None:
    random = np.random.default_rng(0)
    towns = np.column_stack([np.degrees(np.arcsin(random.uniform(-0.9, 0.95, 5000)))] * 2)
    towns[:, 1] = random.uniform(-180, 180, 5000)
    places = towns[np.minimum(random.zipf(1.3, batch), 5000) - 1] + random.standard_t(2, (batch, 2)) * 0.05
    xyz = torch.from_numpy(unit_xyz(np.clip(places, -90, 90)).astype(np.float32)).to(device)
    given = make(batch, device)
    near_pairs(xyz, 1.0)
    times = []
    for _ in range(5):
        started = time.process_time()
        pairs = near_pairs(xyz, 1.0)
        masked = len(pairs[0])
        times.append((time.process_time() - started) / run(fused, given))
    print(
        f"batch {batch:6,} finding {masked:,} near pairs takes {100 * statistics.median(times):.1f} % "
        "of the loss",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", choices=list(WAYS))
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.memory:
        print_memory(options.memory, options.batch, options.device)
        return
    bench(options.batch, options.pairs, options.device)
    masking(options.batch, options.device)
    growth(options.device, [options.batch // 4, options.batch // 2, options.batch, 2 * options.batch])


if __name__ == "__main__":
    main()
