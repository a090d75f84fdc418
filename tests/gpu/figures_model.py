"""Figures G10, G11 and G12: training the towers, their loss, and the reranker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from bench import Bench
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from worlds import config_of, features, make_reranker, make_retriever, places, shared_gallery, widths

from pinpoint_harness.search import Exclusion, xyz_of
from pinpoint_methods.common.candidates import CHANNELS
from pinpoint_methods.pinpoint.embedder import EmbedderTrainer, TrainingRows
from pinpoint_methods.pinpoint.reranker_training import score_lists
from pinpoint_methods.pinpoint.selection import quotas
from pinpoint_methods.pinpoint.sigmoid_loss import near_pairs, sigmoid_loss

TRAINING_ROWS = 9_000_000


def graphed(bench: Bench, work: Callable[[], object]) -> Callable[[], object] | None:
    """The same work as one CUDA graph; None where there is no such thing, with a note."""
    if not bench.cuda:
        return None
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        torch.cuda.synchronize()
        bench.notes.append(f"no CUDA graph: {str(error).splitlines()[0]}")
        return None
    return graph.replay


def rerank(bench: Bench) -> dict[str, Any]:
    """G12: lists of one query and of many through the reranker, in float32."""
    gallery, config = shared_gallery(bench), config_of(bench)
    retriever, count = make_retriever(gallery, config), bench.size(4096, 24)
    some = torch.arange(count, device=bench.device) % bench.gallery_rows
    image, raw = (gallery.matrices[name][some] for name in CHANNELS[:2])
    hidden = Exclusion(own_row=some.cpu().numpy())
    found = retriever.find(image, raw, [hidden], quotas(config))
    building = bench.race(
        {"lists": partial(retriever.lists, found, image, raw, [hidden])}, rounds=3, most_seconds=4.0
    )["lists"]
    bench.report(f"lists with support, {count} queries", building, per_second=count, unit="queries/s")
    lists = retriever.lists(found, image, raw, [hidden])
    model = make_reranker(config, bench.device)
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            model(lists.take(slice(1)), retriever)
        flops = float(counter.get_total_flops())
        single = lists.take(slice(1))
        one: dict[str, Callable[[], object]] = {"eager": partial(model, single, retriever)}
        if replay := graphed(bench, one["eager"]):
            one["graph"] = replay
        for name, times in bench.race(one, rounds=20, repeat=5, most_seconds=2.0).items():
            bench.report(f"1 query, {name}", times, aim="0.08 ms, gate 0.2")
        many: dict[str, Callable[[], object]] = {
            "as methods call it": partial(score_lists, model, retriever, lists),
            "in one call": partial(model, lists, retriever),
        }
        for name, times in bench.race(many, most_seconds=4.0).items():
            floor = bench.floor(flops={"fp32": flops * count})
            rate = {"per_second": float(count), "unit": "queries/s"}
            bench.report(f"{count} queries, {name}", times, floor=floor, **rate, aim="500 k, gate 200 k")  # type: ignore[arg-type]
    return {"gflop of a query": round(flops / 1e9, 4)}


def _sides(bench: Bench, batch: int, width: int) -> list[Tensor]:
    generator = bench.generator(9)
    images = functional.normalize(torch.randn(batch, width, generator=generator, device=bench.device), dim=1)
    other = torch.randn(batch, width, generator=generator, device=bench.device)
    given = [images, functional.normalize(images + 0.5 * functional.normalize(other, dim=1), dim=1)]
    return [side.bfloat16().requires_grad_() for side in given]


def _naive_loss(images: Tensor, locations: Tensor, temperature: Any, bias: Any) -> Tensor:
    """As open_clip writes it: all logits, all labels."""
    logits = temperature * images @ locations.T + bias
    labels = 2 * torch.eye(len(images), dtype=logits.dtype, device=logits.device) - 1
    return -functional.logsigmoid(labels * logits).sum() / len(images)


def loss(bench: Bench) -> dict[str, Any]:
    """G11: loss and gradients in bf16, ours against the plain formula, and the memory of each."""
    width, facts = config_of(bench).embedding, {}
    for batch in (64, 128) if bench.tiny else (8192, 32_768, 131_072):
        given = _sides(bench, batch, width)
        scalars = [torch.tensor(v, device=bench.device, requires_grad=True) for v in (10.0, -10.0)]

        def ours(given: list[Tensor] = given, scalars: list[Tensor] = scalars) -> None:
            torch.autograd.backward(sigmoid_loss(*given, *scalars))  # type: ignore[arg-type]

        def naive(given: list[Tensor] = given, scalars: list[Tensor] = scalars) -> None:
            torch.autograd.backward(_naive_loss(*given, *scalars))

        ways: dict[str, Callable[[], object]] = {"ours": ours}
        if 14.0 * batch * batch < 0.7 * bench.free_bytes():
            ways["plain formula"] = naive
        else:
            bench.notes.append(f"batch {batch}: the plain formula does not fit")
        facts |= {f"GiB at {batch}, {name}": _peak_gib(bench, work) for name, work in ways.items()}
        times = bench.race(ways, most_seconds=3.0)
        bench.report(
            f"batch {batch}",
            times.pop("ours"),
            floor=bench.floor(flops={"bf16": 6.0 * batch * batch * width}),
            peers=times,
            aim="3.5 ms, gate 5" if batch == 32_768 else "",
        )
    return facts


def _peak_gib(bench: Bench, work: Callable[[], object]) -> float | None:
    """What is held at most beyond what is there before."""
    work()
    if not bench.cuda:
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return round((torch.cuda.max_memory_allocated() - before) / 2**30, 3)


class _Naive(EmbedderTrainer):
    """The same towers under the plain formula, without a mask."""

    def _loss(
        self, source: str, rows: Tensor, noise: Tensor | None = None, taken: Tensor | None = None
    ) -> Tensor:
        data = self.data[source]
        low = self.dtype != torch.float32
        with torch.autocast(torch.device(self.device).type, dtype=self.dtype, enabled=low):
            images = self.model.image(data.features.index_select(0, rows).float(), source)
            locations = self.model.location(data.xyz.index_select(0, rows))
            temperature, bias = self.model.log_temperature[source].exp(), self.model.bias_of[source]
            return _naive_loss(images.to(self.dtype), locations.to(self.dtype), temperature, bias)


def towers(bench: Bench) -> dict[str, Any]:
    """G10: steps of the towers of `full` and of smaller ones, on rows that stay on the device."""
    bench.kept.clear()
    config, width = config_of(bench), widths(bench)["raw"]
    fit = int(0.5 * bench.free_bytes()) // (2 * width + 12)
    rows = bench.size(min(TRAINING_ROWS, fit), 300)
    batch = bench.size(config.batch, 32)
    data = TrainingRows(
        features(bench, rows, width, 10), torch.from_numpy(xyz_of(places(rows, 10))).to(bench.device)
    )
    small = replace(config, hidden=max(16, config.hidden // 2), adapter_depth=1, trunk_depth=2)
    facts: dict[str, Any] = {"rows": rows, "batch": batch, "step": _split(bench, config, data, batch)}
    aims = {"full": "400 k, gate 250 k", "small": "1.6 M, gate 1 M"}
    for title, sizes in (("full", config), ("small", small)):
        if bench.left() < 5 and not bench.tiny:
            bench.notes.append(f"{title}: left out, time was short")
            continue
        sizes = replace(sizes, batch=batch, passes=1000 * batch / rows)
        dtype = "bfloat16" if bench.cuda else "float32"
        given = (sizes, {"photos": data}, 0, str(bench.device), dtype)
        trainers: dict[str, EmbedderTrainer] = {"ours": EmbedderTrainer(*given)}
        if 14.0 * batch * batch < 0.5 * bench.free_bytes():
            trainers["plain formula"] = _Naive(*given)
        steps = {name: _stepper(trainer) for name, trainer in trainers.items()}
        times = bench.race(steps, rounds=10, most_seconds=8.0)
        parameters = sum(p.numel() for p in trainers["ours"].named.values() if p.ndim > 1)
        flops = 6.0 * parameters * batch + 6.0 * batch * batch * sizes.embedding
        bench.report(
            f"{title}, {parameters / 1e6:.0f} M weights, batch {batch}",
            times.pop("ours"),
            per_second=float(batch),
            unit="samples/s",
            floor=bench.floor(flops={"bf16": flops}),
            peers=times,
            aim=aims[title],
        )
    return facts


def _stepper(trainer: EmbedderTrainer) -> Callable[[], None]:
    numbers = iter(range(trainer.steps))
    return lambda: trainer.step(next(numbers))


def _split(bench: Bench, config: Any, data: TrainingRows, batch: int) -> dict[str, float]:
    """Milliseconds of what a step does beside its towers and its loss."""
    rows = torch.randint(len(data), (batch,), generator=bench.generator(11), device=bench.device)
    xyz = data.xyz.index_select(0, rows)
    ways: dict[str, Callable[[], object]] = {
        "gather": lambda: data.features.index_select(0, rows).float(),
        "near pairs": lambda: near_pairs(xyz, config.mask_km),
    }
    times = bench.race(ways, rounds=5, most_seconds=2.0)
    return {name: round(1e3 * float(np.median(seconds)), 3) for name, seconds in times.items()}
