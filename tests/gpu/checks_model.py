"""Towers, loss, training and reranking on the device against the CPU."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from bench import Bench
from torch import Tensor
from worlds import SMALL, features, make_gallery, make_reranker, make_retriever, make_towers, places

from pinpoint_harness.processes import process_group
from pinpoint_harness.search import Exclusion, Hits, xyz_of
from pinpoint_harness.search.slices import Slice
from pinpoint_methods.common.candidates import CHANNELS
from pinpoint_methods.pinpoint.config import PinpointConfig
from pinpoint_methods.pinpoint.embedder import EmbedderTrainer, TrainingRows
from pinpoint_methods.pinpoint.reranker import Layer
from pinpoint_methods.pinpoint.selection import quotas
from pinpoint_methods.pinpoint.sigmoid_loss import gather, near_pairs, sigmoid_loss

MIDDLE = replace(
    SMALL,
    hidden=512,
    embedding=128,
    frequencies=256,
    highest_frequency=8192.0,
    location_hidden=256,
    layers=3,
    width=384,
    heads=6,
)
"""Large enough for the kernels that are used at full size."""


def _sizes(bench: Bench) -> PinpointConfig:
    return SMALL if bench.tiny else MIDDLE


def _apart(mine: Tensor, theirs: Tensor) -> float:
    """Length of the difference over the length of the reference, in float64."""
    a, b = mine.detach().cpu().double(), theirs.detach().cpu().double()
    return float((a - b).norm() / b.norm().clamp(min=1e-30))


def _assert_close(mine: Tensor, theirs: Tensor, tolerance: float, what: str) -> float:
    assert bool(torch.isfinite(mine).all()), f"{what}: not all finite"
    apart = _apart(mine, theirs)
    assert apart <= tolerance, f"{what}: {apart:.2e} apart, allowed are {tolerance:g}"
    return apart


def _xyz(rows: int, seed: int) -> Tensor:
    return torch.from_numpy(xyz_of(places(rows, seed)))


def towers_close_to_cpu(bench: Bench) -> dict[str, Any]:
    """Both towers in float32, and under autocast to bf16."""
    config, count = _sizes(bench), bench.size(4096, 64)
    here, there = (make_towers(bench, config, device) for device in ("cpu", bench.device))
    width = here.image.adapters["photos"][0].normalized_shape[0]
    given, xyz = features(bench, count, width, 3).float(), _xyz(count, 3)
    image, location = here.image(given.cpu(), "photos"), here.location(xyz)
    mine = there.image(given, "photos"), there.location(xyz.to(bench.device))
    with torch.autocast(bench.device.type, dtype=torch.bfloat16):
        low = there.image(given, "photos"), there.location(xyz.to(bench.device))
    return {
        "image": _assert_close(mine[0], image, 1e-5, "image tower in float32"),
        "location": _assert_close(mine[1], location, 2e-3, "location tower in float32"),
        "image, bf16": _assert_close(low[0], image, 3e-2, "image tower in bf16"),
        "location, bf16": _assert_close(low[1], location, 3e-2, "location tower in bf16"),
    }


@contextlib.contextmanager
def _coarse_products() -> Iterator[None]:
    """As a program does that allows TF32 everywhere."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def phases_survive_tf32(bench: Bench) -> dict[str, Any]:
    """The finest waves stay fine where a program allows TF32; a plain product shows what is at stake."""
    config, count = _sizes(bench), bench.size(4096, 64)
    here, there = (make_towers(bench, config, device) for device in ("cpu", bench.device))
    xyz = _xyz(count, 4)
    exact = here.location.double().waves(xyz.double())
    with _coarse_products():
        mine = there.location.waves(xyz.to(bench.device))
        coarse = xyz.to(bench.device) @ there.location.frequencies.T
    cycles = xyz.double() @ here.location.frequencies.T
    worst = float((mine.cpu().double() - exact).abs().max())
    # float32 itself leaves 2^13 waves about 13 bits of a cycle.
    assert worst < 2 * math.pi * config.highest_frequency * 2.0**-21, f"waves are {worst:.3g} off"
    return {"worst wave": worst, "cycles lost by a plain product": float((coarse.cpu() - cycles).abs().max())}


def _pairs_of_embeddings(count: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    sides = (torch.randn(count, width, generator=generator, dtype=torch.float64) for _ in range(2))
    images, offsets = (torch.nn.functional.normalize(side, dim=1) for side in sides)
    return images, torch.nn.functional.normalize(images + 0.5 * offsets, dim=1)


def _loss(
    images: Tensor, locations: Tensor, xyz: Tensor, device: Any, dtype: torch.dtype
) -> tuple[Tensor, list[Tensor]]:
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    given = [images.to(device, dtype), locations.to(device, dtype)]
    given += [torch.tensor(value, device=device, dtype=exact) for value in (10.0, -10.0)]
    given = [tensor.detach().requires_grad_() for tensor in given]
    loss = sigmoid_loss(*given, near_pairs(xyz.to(device), 1.0))  # type: ignore[arg-type,misc]
    loss.backward()  # type: ignore[no-untyped-call]
    return loss, [tensor.grad for tensor in given if tensor.grad is not None]


def loss_close_to_cpu(bench: Bench) -> dict[str, Any]:
    """Loss and gradients against float64 on the CPU, more rows than one tile of a GPU has."""
    count, width = bench.size(6000, 96), bench.size(256, 16)
    images, locations = _pairs_of_embeddings(count, width)
    xyz = _xyz(count, 6)
    reference, gradients = _loss(images, locations, xyz, "cpu", torch.float64)
    facts = {}
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        loss, mine = _loss(images, locations, xyz, bench.device, dtype)
        name = str(dtype).removeprefix("torch.")
        facts[f"loss, {name}"] = _assert_close(loss, reference, tolerance, f"loss in {name}")
        for what, a, b in zip(("images", "places", "temperature", "bias"), mine, gradients, strict=True):
            facts[f"gradient of {what}, {name}"] = _assert_close(
                a, b, tolerance, f"gradient of {what}, {name}"
            )
    return facts


def near_pairs_equal_cpu(bench: Bench) -> dict[str, Any]:
    """The same pairs in the same order, of the whole batch and of a part of it."""
    count = bench.size(32_768, 200)
    xyz = _xyz(count, 7)
    found = 0
    for radius_km in (1.0, 25.0):
        for part in ((0, None), (count // 4, count // 2)):
            theirs = near_pairs(xyz, radius_km, *part)
            mine = near_pairs(xyz.to(bench.device), radius_km, *part)
            for a, b in zip(mine, theirs, strict=True):
                assert torch.equal(a.cpu(), b), f"pairs within {radius_km} km differ"
            found += len(theirs[0])
    return {"pairs": found}


def _trainer(bench: Bench, device: torch.device, dtype: str, steps: int = 6) -> EmbedderTrainer:
    batch = bench.size(1024, 32)
    config = replace(_sizes(bench), batch=batch, passes=steps / 8, learning_rate=1e-3)
    given = features(bench, 8 * batch, bench.size(256, 48), 8).to(device)
    rows = TrainingRows(given, _xyz(len(given), 8).to(device))
    return EmbedderTrainer(config, {"photos": rows}, 0, str(device), dtype)


def training_step_close_to_cpu(bench: Bench) -> dict[str, Any]:
    """The first losses; batches are drawn on the device, so each is compared over all rows' mean."""
    facts: dict[str, Any] = {}
    rows = torch.arange(bench.size(1024, 32))
    reference = _trainer(bench, torch.device("cpu"), "float32")
    expected = reference._loss("photos", rows)
    expected.backward()  # type: ignore[no-untyped-call]
    for dtype, tolerance in (("float32", 1e-4), ("bfloat16", 3e-2)):
        trainer = _trainer(bench, bench.device, dtype)
        loss = trainer._loss("photos", rows.to(bench.device))
        loss.backward()  # type: ignore[no-untyped-call]
        facts[f"loss, {dtype}"] = _assert_close(loss, expected, tolerance, f"loss in {dtype}")
        mine, theirs = (
            torch.cat([p.grad.flatten().cpu() for p in t.named.values() if p.grad is not None])
            for t in (trainer, reference)
        )
        facts[f"gradient, {dtype}"] = _assert_close(mine, theirs, 10 * tolerance, f"gradient in {dtype}")
        before = float(loss.detach())
        for step in range(trainer.steps):
            trainer.step(step)
        after = float(trainer._loss("photos", rows.to(bench.device)).detach())
        assert after < before, f"six steps in {dtype} do not lower the loss: {before:.4g} to {after:.4g}"
    return facts


def resumed_training_is_equal(bench: Bench) -> dict[str, Any]:
    """Six steps at once, and three, a checkpoint, three: the same weights to the last bit."""
    for dtype in ("float32", "bfloat16"):
        straight, first, second = (_trainer(bench, bench.device, dtype) for _ in range(3))
        for step in range(6):
            straight.step(step)
        for step in range(3):
            first.step(step)
        second.restore(3, first.state())
        for step in range(3, 6):
            second.step(step)
        for name, parameter in straight.named.items():
            assert torch.equal(parameter, second.named[name]), f"'{name}' differs after a resume in {dtype}"
    return {}


def _lists(bench: Bench, device: Any, count: int) -> tuple[Any, Any, PinpointConfig]:
    config = _sizes(bench)
    wide = {"image": config.embedding, "raw": 48, "location": config.embedding}
    gallery = make_gallery(bench, bench.size(20_000, 600), wide).to(device)
    retriever = make_retriever(gallery, config)
    some = torch.arange(count, device=gallery.device)
    image, raw = (gallery.matrices[name][some] for name in CHANNELS[:2])
    hidden = Exclusion(own_row=np.arange(count))
    found = retriever.find(image, raw, [hidden], quotas(config))
    return retriever, retriever.lists(found, image, raw, [hidden]), config


def reranker_close_to_cpu(bench: Bench) -> dict[str, Any]:
    """Scores of the same lists, in float32."""
    scores = []
    for device in (bench.device, torch.device("cpu")):
        retriever, lists, config = _lists(bench, device, bench.size(256, 20))
        with torch.no_grad():
            scores.append(make_reranker(config, device)(lists, retriever).cpu())
    mine, theirs = scores
    assert torch.equal(mine.isfinite(), theirs.isfinite()), "empty slots differ"
    kept = theirs.isfinite()
    return {"scores": _assert_close(mine[kept], theirs[kept], 1e-4, "scores"), "candidates": int(kept.sum())}


def attention_over_many_rows(bench: Bench) -> dict[str, Any]:
    """More rows than CUDA has blocks in a dimension: 65,535 is the most that one launch takes."""
    rows, width = bench.size(70_000, 70), bench.size(48, 16)
    generator = torch.Generator().manual_seed(0)
    layer = Layer(width, 4).eval().requires_grad_(False)
    x = torch.randn(rows, 4, width, generator=generator)
    theirs = layer(x[-64:], first=1)
    mine = layer.to(bench.device)(x.to(bench.device), first=1)
    assert len(mine) == rows
    return {"last rows": _assert_close(mine[-64:], theirs, 1e-4, "attention")}


def process_group_of_one(bench: Bench) -> dict[str, Any]:
    """Joining, waiting, summing and slices of galleries as under torchrun, by the device's backend."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with mock.patch.dict(os.environ, names), process_group(str(bench.device)) as processes:
        part = Slice(0, 3, 3, processes)
        half = torch.arange(12.0, device=bench.device).view(3, 4).half()
        assert torch.equal(part.told(half, half.device), half)
        assert torch.equal(part.taken(half, torch.tensor([2, 0], device=bench.device)), half[[2, 0]])
        hits = Hits(torch.tensor([[1, -1]]), torch.tensor([[0.5, -torch.inf]]), torch.tensor([1]))
        hits = Hits(*(facts.to(bench.device) for facts in (hits.rows, hits.scores, hits.counts)))
        assert torch.equal(part.best_of_all(hits, None).rows, hits.rows)
        mine = torch.arange(6.0, device=bench.device).view(2, 3)
        assert torch.equal(gather(mine), mine)
        total = mine.clone()
        dist.all_reduce(total)
        assert torch.equal(total, mine)
        processes.wait()
        return {"backend": dist.get_backend(), "waits by": dist.get_backend(processes.waiting)}
