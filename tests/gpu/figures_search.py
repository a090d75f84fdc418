"""Figures G1, G2, G3, G4 and G14: the roofs of this device, and exact search below them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from bench import FULL_ROWS, Bench
from numpy.typing import NDArray
from torch import Tensor
from worlds import MemoryGallery, clustered, config_of, shared_gallery, widths

from pinpoint_harness.search import Exclusion, Gallery, Rows, search
from pinpoint_harness.search.result import SearchResult
from pinpoint_methods.common.candidates import CHANNELS
from pinpoint_methods.pinpoint.selection import quotas

CHUNK_ROWS = 131_072
CHECKED_QUERIES = 4
BATCHES = (1, 16, 64, 256, 1024, 4096)
AIMS = {1: "4.5 ms, gate 6", 1024: "41 ms (25 k queries/s), gate 68"}


def _product(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """fp16 rows and columns with float32 sums, as the search asks for them."""
    if a.is_cuda:
        return torch.mm(a, b, out_dtype=torch.float32, out=out)
    return torch.mm(a.float(), b.float(), out=out)


def roof(bench: Bench) -> dict[str, Any]:
    """What this device copies and multiplies at best, in this run: the floors of all other figures."""
    count = bench.size(min(1 << 31, bench.free_bytes() // 16), 1 << 18)
    source = torch.randn(count // 2, device=bench.device, dtype=torch.float32).view(torch.int16)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    times = bench.race({"copy": partial(target.copy_, source)}, repeat=4)["copy"]
    bench.roof["copy"] = moved / min(times)
    bench.report("copy, read and written", times, per_second=moved / 1e12, unit="TB/s")
    del source, target
    side = bench.size(8192, 128)
    for kind, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        a, b = (torch.randn(side, side, device=bench.device, dtype=dtype) for _ in range(2))
        _rate(bench, kind, f"{side}^3 {kind}", partial(torch.mm, a, b), 2.0 * side**3)
    rows, queries = bench.size(CHUNK_ROWS, 512), bench.size(4096, 32)
    for width in (bench.size(256, 16), bench.size(1536, 48)):
        a = clustered(bench, rows, width, 1)
        b = clustered(bench, queries, width, 2).T
        out = torch.empty(rows, queries, device=bench.device)
        shape = f"{rows} x {width} x {queries} to float32"
        _rate(bench, f"search{width}", shape, partial(_product, a, b, out), 2.0 * rows * width * queries)
    _fp8(bench, side)
    return {}


def _rate(bench: Bench, kind: str, name: str, work: Callable[[], object], flops: float) -> None:
    times = bench.race({kind: work}, most_seconds=3.0, repeat=2)[kind]
    bench.roof[kind] = flops / min(times)
    bench.report(f"product {name}", times, per_second=flops / 1e12, unit="TFLOP/s")


def _fp8(bench: Bench, side: int) -> None:
    if not bench.cuda or torch.cuda.get_device_capability() < (8, 9):
        bench.notes.append("no fp8 products on this device")
        return
    a, b = (torch.randn(side, side, device=bench.device).to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device=bench.device)
    try:
        work = partial(
            torch._scaled_mm, a, b.T, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
        )
        _rate(bench, "fp8", f"{side}^3 fp8", work, 2.0 * side**3)
    except (RuntimeError, TypeError) as error:
        bench.notes.append(f"fp8: {error}")


def _asked(bench: Bench, gallery: MemoryGallery, count: int) -> dict[str, Tensor]:
    """Queries near the gallery's rows, though none of them."""
    made = {
        name: clustered(bench, count, width, 40 + n) for n, (name, width) in enumerate(widths(bench).items())
    }
    return {channel: made[channel] for channel in CHANNELS}


def _floor(bench: Bench, gallery: MemoryGallery, queries: int) -> float | None:
    """Reading every matrix once, or multiplying all of it."""
    elements = sum(matrix.numel() for matrix in gallery.matrices.values())
    return bench.floor(bytes_read=2.0 * elements, flops={"fp16": 2.0 * elements * queries})


def _chunked(gallery: MemoryGallery, asked: dict[str, Tensor], k: dict[str, int]) -> dict[str, Tensor]:
    """What one would write: products of many rows, and their largest scores."""
    found = {}
    for channel, matrix in gallery.matrices.items():
        queries, best = asked[channel], []
        out = torch.empty(CHUNK_ROWS, len(queries), device=matrix.device)
        for start in range(0, len(matrix), CHUNK_ROWS):
            part = matrix[start : start + CHUNK_ROWS]
            scores = _product(part, queries.T, out[: len(part)])
            best.append(scores.topk(min(k[channel], len(part)), dim=0).values)
        found[channel] = torch.cat(best).topk(k[channel], dim=0).values.T
    return found


def _maxima(gallery: MemoryGallery, asked: dict[str, Tensor]) -> None:
    """Products and the maximum of every 128 rows: the first half of a search, and no answer."""
    for channel, matrix in gallery.matrices.items():
        out = torch.empty(CHUNK_ROWS, len(asked[channel]), device=matrix.device)
        for start in range(0, len(matrix), CHUNK_ROWS):
            part = matrix[start : start + CHUNK_ROWS]
            scores = _product(part, asked[channel].T, out[: len(part)])
            scores[: len(part) // 128 * 128].view(-1, 128, scores.shape[1]).amax(dim=1)


def _exact(matrix: Tensor, queries: Tensor, k: int) -> Tensor:
    """The k highest scores by float64, chunk by chunk."""
    best = []
    for start in range(0, len(matrix), 65_536):
        scores = queries.double() @ matrix[start : start + 65_536].double().T
        best.append(scores.float().topk(min(k, scores.shape[1]), dim=1).values)
    return torch.cat(best, dim=1).topk(k, dim=1).values


def _assert_right(
    gallery: MemoryGallery, asked: dict[str, Tensor], found: SearchResult, k: dict[str, int]
) -> None:
    for channel in CHANNELS:
        some = asked[channel][:CHECKED_QUERIES]
        expected = _exact(gallery.matrices[channel], some, k[channel])
        assert torch.equal(found[channel].scores[:CHECKED_QUERIES], expected), f"channel '{channel}' is wrong"


def batches(bench: Bench) -> dict[str, Any]:
    """G2: three channels in one call, against products with topk and against products alone."""
    gallery, k = shared_gallery(bench), quotas(config_of(bench))
    opened = gallery.searchable(CHANNELS)
    uncertified = {}
    for count in BATCHES[:3] if bench.tiny else BATCHES:
        asked = _asked(bench, gallery, count)
        found = search(opened, asked, k)
        _assert_right(gallery, asked, found, k)
        uncertified[count] = sum(found.statistics[channel].uncertified for channel in CHANNELS)
        ways: dict[str, Callable[[], object]] = {
            "ours": partial(search, opened, asked, k),
            "mm and topk": partial(_chunked, gallery, asked, k),
            "mm and maxima": partial(_maxima, gallery, asked),
        }
        times = bench.race(ways, most_seconds=4.0)
        bench.report(
            f"{count} queries",
            times.pop("ours"),
            floor=_floor(bench, gallery, count),
            peers=times,
            aim=AIMS.get(count, ""),
        )
    return {"rows": bench.gallery_rows, "of": FULL_ROWS, "uncertified queries": uncertified}


def _hidden(gallery: MemoryGallery, rows: NDArray[np.int64], *names: str) -> Exclusion:
    known = gallery.rows
    parts: dict[str, Any] = {"own_row": rows}
    if "author" in names:
        parts["author_token"] = Rows.needed("author_token", known.author_token)[rows]
    if "place" in names:
        parts |= {"xyz": Rows.needed("xyz", known.xyz)[rows], "radius_km": 1.0}
    return Exclusion(**parts)


def exclusion(bench: Bench) -> dict[str, Any]:
    """G3: what it costs to hide the own photo, all of its photographer and all around it."""
    gallery, k = shared_gallery(bench), quotas(config_of(bench))
    opened, count = gallery.searchable(CHANNELS), bench.size(1024, 24)
    random = np.random.default_rng(1)
    rows = random.integers(0, bench.gallery_rows, count)
    busy = np.flatnonzero(gallery.rows.author_token == 1)
    for title, chosen in (("", rows), (" of the busiest photographer", np.resize(busy, count))):
        asked = {name: gallery.matrices[name][torch.from_numpy(chosen).to(bench.device)] for name in CHANNELS}
        ways: dict[str, Callable[[], object]] = {
            name: partial(search, opened, asked, k, hidden)
            for name, hidden in (
                ("nothing hidden", None),
                ("author", _hidden(gallery, chosen, "author")),
                ("author and 1 km", _hidden(gallery, chosen, "author", "place")),
            )
        }
        times = bench.race(ways, most_seconds=4.0)
        for name in ("author", "author and 1 km"):
            bench.report(
                f"{count} queries{title}: {name}",
                times[name],
                peers={"nothing hidden": times["nothing hidden"]},
                aim="0.97x, gate 0.91x",
            )
    return {"rows of the busiest photographer": len(busy)}


def self_join(bench: Bench) -> dict[str, Any]:
    """G4: rows of the gallery as queries, each left out of its own answer."""
    gallery, k = shared_gallery(bench), quotas(config_of(bench))
    opened, count = gallery.searchable(CHANNELS), bench.size(min(65_536, bench.gallery_rows), 64)
    asked = {name: gallery.matrices[name][:count] for name in CHANNELS}
    rows = np.arange(count)
    hidden = Exclusion(own_row=rows)
    found = search(opened, asked, k, hidden)
    for channel in CHANNELS:
        assert not bool((found[channel].rows.cpu() == torch.from_numpy(rows)[:, None]).any()), "found itself"
    times = bench.race({"ours": partial(search, opened, asked, k, hidden)}, rounds=3, most_seconds=5.0)[
        "ours"
    ]
    whole = bench.gallery_rows / count
    bench.report(
        f"{bench.gallery_rows} rows against themselves, from {count}",
        [seconds * whole for seconds in times],
        floor=whole * (_floor(bench, gallery, count) or 0.0) or None,
        aim="170 s, gate 300 s at 4.08 M",
    )
    return {}


def determinism(bench: Bench) -> dict[str, Any]:
    """G14: the same rows and bits from one query at a time, from many, and from the CPU."""
    gallery, k = shared_gallery(bench), quotas(config_of(bench))
    opened = gallery.searchable(CHANNELS)
    asked = _asked(bench, gallery, bench.size(1024, 40))
    together = search(opened, asked, k)
    singles = bench.size(64, 8)
    for query in range(singles):
        alone = search(opened, {name: vectors[query : query + 1] for name, vectors in asked.items()}, k)
        _assert_same(alone, together, slice(query, query + 1), "alone and among 1,024")
    rows, count = min(bench.gallery_rows, bench.size(400_000, 900)), bench.size(256, 24)
    found = []
    for device in (bench.device, torch.device("cpu")):
        matrices = {name: gallery.matrices[name][:rows].to(device) for name in CHANNELS}
        part = Gallery.of(matrices, Rows())
        found.append(search(part, {name: vectors[:count].to(device) for name, vectors in asked.items()}, k))
    _assert_same(found[0], found[1], slice(0, count), "device and CPU")
    return {"alone and together": singles, "device and CPU": count, "rows on the CPU": rows, "differing": 0}


def _assert_same(some: SearchResult, all_: SearchResult, which: slice, title: str) -> None:
    """`some` answers the queries `which` of `all_`, or both answer them all."""
    for channel in CHANNELS:
        rows, scores = all_[channel].rows[which].cpu(), all_[channel].scores[which].cpu()
        assert torch.equal(some[channel].rows.cpu(), rows), f"{title}: other rows in '{channel}'"
        bits = some[channel].scores.cpu().view(torch.int32)
        assert torch.equal(bits, scores.view(torch.int32)), f"{title}: other scores in '{channel}'"
