"""Exact search, exclusion and support on the device against the CPU, bit for bit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Bench
from numpy.typing import NDArray
from torch import Tensor
from worlds import SMALL, make_gallery, make_retriever

from pinpoint_harness.search import Exclusion, FreeMemory, Gallery, HostRows, Rows, place, search, xyz_of
from pinpoint_methods.common.candidates import CHANNELS
from pinpoint_methods.pinpoint.selection import quotas

K = 9
CHECKED_QUERIES = 16


def _unit(matrix: NDArray[Any]) -> NDArray[np.float16]:
    wide = matrix.astype(np.float64)
    rounded: NDArray[np.float16] = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    return rounded


def _plain(random: np.random.Generator, rows: int, width: int) -> NDArray[np.float16]:
    return _unit(random.standard_normal((rows, width), dtype=np.float32))


def _alike(random: np.random.Generator, rows: int, width: int) -> NDArray[np.float16]:
    """Twenty crowds, a half of all rows one placeholder: ties and near ties everywhere."""
    centres = random.standard_normal((20, width))
    matrix = _unit(centres[random.integers(0, 20, rows)] + 0.02 * random.standard_normal((rows, width)))
    matrix[random.permutation(rows)[: rows // 2]] = matrix[0]
    return matrix


def _negative(random: np.random.Generator, rows: int, width: int) -> NDArray[np.float16]:
    """Every product with the first half, from which the queries are, is below zero for half of them."""
    matrix = np.abs(_plain(random, rows, width))
    matrix[: rows // 2] *= -1
    return matrix


def search_equals_cpu(bench: Bench) -> dict[str, Any]:
    """Rows, scores and counts in several shapes and under every exclusion; some against float64 as well."""
    shapes = [(20_000, 257, 64), (100_000, 64, 2048), (50_000, 1536, 1), (50_000, 1536, 300)]
    if bench.tiny:
        shapes = [(700, 33, 20), (1500, 16, 40)]
    compared, kernels = 0, set()
    for seed, (rows, width, count) in enumerate(shapes):
        for make in (_plain, _alike, _negative):
            random = np.random.default_rng(seed)
            matrix = make(random, rows, width)
            asked = matrix[random.integers(0, rows, count)]
            known, exclusions = _facts(random, rows, count)
            here = Gallery.of({"a": matrix}, known)
            there = Gallery.of({"a": torch.from_numpy(matrix).to(bench.device)}, known)
            for name, exclusion in exclusions.items():
                mine = search(there, {"a": asked}, {"a": K}, exclusion)
                theirs = search(here, {"a": asked}, {"a": K}, exclusion)
                where = f"{make.__name__}, {rows} x {width}, {count} queries, exclusion {name}"
                _assert_equal(mine["a"], theirs["a"], where)
                compared += count
            _assert_exact(search(there, {"a": asked}, {"a": K})["a"], matrix, asked, known)
            kernels.add(mine.statistics["a"].kernel)
    return {"queries compared": compared, "kernels": sorted(kernels)}


def placed_rows_equal_resident(bench: Bench) -> dict[str, Any]:
    """A gallery in pinned memory and one in a file give what one on the device gives, in every batch."""
    rows, width, count = (3000, 16, 80) if bench.tiny else (100_000, 1536, 5000)
    random = np.random.default_rng(3)
    matrix = _alike(random, rows, width)
    asked = torch.from_numpy(matrix[random.integers(0, rows, count)]).to(bench.device)
    plenty = 1 << 50
    hits: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "matrix.npy", matrix)
        mapped = np.load(Path(folder) / "matrix.npy", mmap_mode="r")
        places = {"device": (plenty, plenty), "pinned": (1, plenty), "mapped": (1, 1)}
        for name, (on_device, on_host) in places.items():
            placed = place(mapped, bench.device, name, free=FreeMemory(on_device, on_host))
            assert isinstance(placed, HostRows) == (name != "device"), f"{name}: {type(placed).__name__}"
            for several in (count, 3):
                found = search(Gallery.of({"a": placed}), {"a": asked[:several]}, {"a": K})["a"]
                hits[f"{name} {several}"] = found
                _assert_same(hits[f"device {several}"], found, f"{name}, {several} queries")
    return {"places": len(places), "queries": count}


def _assert_same(a: Any, b: Any, where: str) -> None:
    for name in ("rows", "scores", "counts"):
        assert torch.equal(getattr(a, name), getattr(b, name)), f"{where}: {name} differ"


def _facts(random: np.random.Generator, rows: int, count: int) -> tuple[Rows, dict[str, Exclusion | None]]:
    coordinates = np.column_stack([random.uniform(-60, 60, rows), random.uniform(-180, 180, rows)]).round(1)
    known = Rows(
        rank=random.permutation(rows),
        key=np.arange(1, rows + 1, dtype=np.uint64),
        author_token=random.integers(0, max(4, rows // 24), rows).astype(np.uint64),
        xyz=xyz_of(coordinates),
    )
    some = random.integers(0, rows, count)
    assert known.key is not None
    assert known.author_token is not None
    assert known.xyz is not None
    own, token, xyz = known.key[some], known.author_token[some], known.xyz[some]
    return known, {
        "none": None,
        "own": Exclusion(own_key=own),
        "author": Exclusion(own_row=some, author_token=token),
        "all": Exclusion(own_key=own, author_token=token, xyz=xyz, radius_km=25.0),
    }


def _assert_equal(mine: Any, theirs: Any, where: str) -> None:
    for name in ("rows", "counts", "scores"):
        a, b = getattr(mine, name).cpu(), getattr(theirs, name).cpu()
        if name == "scores":  # minus infinity and every last bit
            a, b = a.view(torch.int32), b.view(torch.int32)
        differing = int((a != b).sum())
        assert not differing, f"{differing} of {a.numel()} {name} differ: {where}"


def _assert_exact(found: Any, matrix: NDArray[np.float16], asked: NDArray[np.float16], known: Rows) -> None:
    scores = (asked[:CHECKED_QUERIES].astype(np.float64) @ matrix.astype(np.float64).T).astype(np.float32)
    for query, row_scores in enumerate(scores + 0.0):
        best = np.lexsort((known.rank, -row_scores))[:K]
        assert (found.rows[query].cpu().numpy() == best).all(), "rows differ from a brute force in float64"
        assert (found.scores[query].cpu().numpy() == row_scores[best]).all(), "scores differ from float64"


def large_exclusions_equal_cpu(bench: Bench) -> dict[str, Any]:
    """An author who took a tenth of all photos, and a town in which as many were taken."""
    rows, count, width = bench.size(100_000, 900), bench.size(1024, 40), bench.size(256, 24)
    random = np.random.default_rng(3)
    matrix = _plain(random, rows, width)
    author = random.integers(2, rows // 20, rows).astype(np.uint64)
    author[random.permutation(rows)[: rows // 10]] = 1
    spread = np.column_stack([random.uniform(-60, 60, rows), random.uniform(-180, 180, rows)])
    spread[random.permutation(rows)[: rows // 10]] = (48.85, 2.35)
    known = Rows(author_token=author, xyz=xyz_of(spread))
    some = random.integers(0, rows, count)
    token, xyz = author[some], xyz_of(spread[some])
    token[: count // 2] = 1
    here, there = (
        Gallery.of({"a": torch.from_numpy(matrix).to(device)}, known) for device in ("cpu", bench.device)
    )
    around = Exclusion(author_token=token, xyz=xyz, radius_km=1.0)
    for exclusion in (Exclusion(author_token=token), around):
        found = [search(gallery, {"a": matrix[some]}, {"a": K}, exclusion) for gallery in (there, here)]
        _assert_equal(found[0]["a"], found[1]["a"], "large exclusions")
        assert bool((found[0]["a"].rows >= 0).all()), "somebody is left with nothing"
    return {"rows of the largest author": int((author == 1).sum())}


def support_masking_equals_cpu(bench: Bench) -> dict[str, Any]:
    """Candidate lists with their support, from the same galleries here and there."""
    rows, count = bench.size(30_000, 600), bench.size(700, 30)
    wide = {"image": SMALL.embedding, "raw": 48, "location": SMALL.embedding}
    there = make_gallery(bench, rows, wide)
    random = np.random.default_rng(4)
    some = random.integers(0, rows, count)
    known = there.rows
    assert known.key is not None
    assert known.author_token is not None
    assert known.xyz is not None
    hidden = Exclusion(
        own_key=known.key[some], author_token=known.author_token[some], xyz=known.xyz[some], radius_km=1.0
    )
    lists = []
    for gallery in (there, there.to("cpu")):
        retriever = make_retriever(gallery, SMALL)
        image, raw = (
            gallery.matrices[name][torch.from_numpy(some).to(gallery.device)] for name in CHANNELS[:2]
        )
        found = retriever.find(image, raw, [hidden], quotas(SMALL))
        lists.append(retriever.lists(found, image, raw, [hidden]))
    mine, theirs = lists
    for name in ("row", "valid", "support"):
        a, b = getattr(mine, name).cpu(), getattr(theirs, name)
        assert torch.equal(a, b), f"{int((a != b).sum())} of {a.numel()} entries of '{name}' differ"
    assert mine.short == theirs.short
    _close(mine.support_facts, theirs.support_facts, 1e-5, "facts of the support")
    left = float((theirs.support >= 0).double().mean())
    return {"share of support left": round(left, 3)}


def _close(mine: Tensor, theirs: Tensor, tolerance: float, what: str) -> None:
    worst = float((mine.cpu().double() - theirs.double()).abs().max())
    assert worst <= tolerance, f"{what}: {worst:.3g} apart, allowed are {tolerance:g}"
