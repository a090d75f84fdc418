"""Rows `search/*`: exact search against faiss-cpu, on clustered synthetic features.

    python tests/benchmarks/bench_search.py [CASE ...] [--rows N] [--threads T] [--pairs P]

Cases: batch, single, channels, exclusion, crowd, growth-queries, memory; all by default.
Ours and FAISS alternate in one process on the same rows, every second pair in the other order;
the ratio is the median over the pairs, above 1 where ours is faster. Before a time is taken, ours
must equal a brute force in float64 to the bit, and FAISS's scores must equal ours to 1e-5.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from ratios import state

from pinpoint_harness.search import Exclusion, Gallery, Rows, search, xyz_of

Matrix = NDArray[np.float16]
K = 8
CHECKED_QUERIES = 16
SELECTOR_QUERIES = 16
"""FAISS with a selector takes as long for every query, so a few are timed and extrapolated."""


@dataclass(frozen=True)
class Options:
    rows: int
    widths: list[int]
    batches: list[int]
    pairs: int
    most_queries: int


def clustered(rows: int, width: int, seed: int) -> Matrix:
    """Unit rows around a thousand centres, each about 0.7 from its own."""
    centres = np.random.default_rng(0).standard_normal((1000, width), dtype=np.float32)
    random, matrix = np.random.default_rng(seed), np.empty((rows, width), dtype=np.float16)
    for start in range(0, rows, 50_000):
        part = matrix[start : start + 50_000]
        noise = random.standard_normal(part.shape, dtype=np.float32)
        drawn = centres[random.integers(0, len(centres), len(part))] + noise
        part[:] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return matrix


def flat_index(matrix: Matrix) -> Any:
    index = faiss.IndexFlatIP(matrix.shape[1])
    for start in range(0, len(matrix), 50_000):
        index.add(matrix[start : start + 50_000].astype(np.float32))
    return index


def check(matrix: Matrix, queries: Matrix, found: Any, peer_scores: NDArray[np.float32]) -> None:
    some = queries[:CHECKED_QUERIES].astype(np.float64)
    scores = np.concatenate(
        [some @ matrix[at : at + 50_000].astype(np.float64).T for at in range(0, len(matrix), 50_000)], axis=1
    ).astype(np.float32)
    k = found.rows.shape[1]
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert (found.rows[:CHECKED_QUERIES].numpy() == rows).all()
    assert (found.scores[:CHECKED_QUERIES].numpy() == np.take_along_axis(scores, rows, 1)).all()
    assert np.abs(found.scores.numpy() - peer_scores).max() < 1e-5


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def race(title: str, ours: Callable[[], object], theirs: Callable[[], object], pairs: int, aim: str) -> float:
    """Median, least and largest of theirs / ours over alternating pairs."""
    ours(), theirs()
    gc.disable()
    times = []
    for number in range(pairs):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        a, b = seconds(first), seconds(second)
        times.append((a, b) if number % 2 else (b, a))
    gc.enable()
    ratios = [b / a for a, b in times]
    mine, peer = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    ratio = statistics.median(ratios)
    state(title, ratio)
    print(
        f"{title:44} {ratio:6.2f}x ({min(ratios):.2f} to {max(ratios):.2f})  "
        f"{mine:8.1f} against {peer:8.1f} ms  aim {aim}",
        flush=True,
    )
    return ratio


def bench_batch(options: Options) -> None:
    aims = {(64, 256): "8x", (64, 1536): "10x", (1024, 256): "1.5x", (1024, 1536): "1.5x"}
    for width in options.widths:
        matrix, queries = clustered(options.rows, width, 1), clustered(max(options.batches), width, 2)
        store, index = Gallery.of({"a": matrix}), flat_index(matrix)
        wide = queries.astype(np.float32)
        resident = torch.from_numpy(matrix.astype(np.float32))
        for batch in options.batches:
            some = queries[:batch]
            check(matrix, some, search(store, {"a": some}, {"a": K})["a"], index.search(wide[:batch], K)[0])
            ours = partial(search, store, {"a": some}, {"a": K})
            aim = aims.get((batch, width), "none")
            title = f"search/batch {batch} x {width}-d vs"
            race(f"{title} faiss", ours, partial(index.search, wide[:batch], K), options.pairs, aim)
            naive = partial(product_and_topk, torch.from_numpy(wide[:batch]), resident)
            race(f"{title} torch mm + topk", ours, naive, options.pairs, "none")


def product_and_topk(queries: torch.Tensor, rows: torch.Tensor) -> object:
    return (queries @ rows.T).topk(K)


def bench_single(options: Options) -> None:
    for width in options.widths:
        matrix, queries = clustered(options.rows, width, 1), clustered(1, width, 3)
        store, index, wide = Gallery.of({"a": matrix}), flat_index(matrix), queries.astype(np.float32)
        check(matrix, queries, search(store, {"a": queries}, {"a": K})["a"], index.search(wide, K)[0])
        search(store, {"a": clustered(64, width, 4)}, {"a": K})  # from here on rows in bf16 are at hand
        race(
            f"search/single {width}-d",
            partial(search, store, {"a": queries}, {"a": K}),
            partial(index.search, wide, K),
            3 * options.pairs,
            "1x",
        )


def bench_channels(options: Options) -> None:
    sizes, wanted = {"image": 256, "raw": 1536, "gps": 256}, {"image": 8, "raw": 2, "gps": 2}
    matrices = {name: clustered(options.rows, width, i) for i, (name, width) in enumerate(sizes.items())}
    queries = {name: clustered(64, width, 9) for name, width in sizes.items()}
    store = Gallery.of(matrices)
    indexes = {name: flat_index(matrix) for name, matrix in matrices.items()}
    wide = {name: vectors.astype(np.float32) for name, vectors in queries.items()}
    found = search(store, queries, wanted)
    for name, index in indexes.items():
        check(matrices[name], queries[name], found[name], index.search(wide[name], wanted[name])[0])
    race(
        "search/three-channels 64 queries",
        lambda: search(store, queries, wanted),
        lambda: [index.search(wide[name], wanted[name]) for name, index in indexes.items()],
        options.pairs,
        "8x",
    )


def photographers(rows: int) -> tuple[Rows, NDArray[np.float32]]:
    """Authors from one photo to thousands, places around 2,000 towns of very different size."""
    random = np.random.default_rng(4)
    author = np.minimum(random.zipf(1.5, rows), rows).astype(np.uint64)
    towns = np.column_stack(
        [np.degrees(np.arcsin(random.uniform(-1, 1, 2000))), random.uniform(-180, 180, 2000)]
    )
    town = np.minimum(random.zipf(1.3, rows), 2000) - 1
    places = np.clip(towns[town] + random.normal(scale=0.05, size=(rows, 2)), [-90, -180], [90, 180])
    author[author < 5] += random.integers(5, rows, int((author < 5).sum())).astype(np.uint64)
    xyz = xyz_of(places)
    return Rows(author_token=author, xyz=xyz), xyz


def bench_exclusion(options: Options) -> None:
    rows, xyz = photographers(options.rows)
    for width in options.widths:
        matrix = clustered(options.rows, width, 1)
        store, index = Gallery.of({"a": matrix}, rows), flat_index(matrix)
        for batch in (64, 256):
            asked = np.random.default_rng(5).integers(0, options.rows, batch)
            exclude(matrix, store, index, asked, xyz, options.pairs)


def exclude(
    matrix: Matrix, store: Gallery, index: Any, asked: NDArray[np.int64], xyz: NDArray[np.float32], pairs: int
) -> None:
    assert store.rows.author_token is not None
    queries, batch = matrix[asked], len(asked)
    exclusion = Exclusion(author_token=store.rows.author_token[asked], xyz=xyz[asked], radius_km=1.0)
    query, row = exclusion.pairs(store.rows)
    hidden = [row[query == number] for number in range(batch)]
    found = search(store, {"a": queries}, {"a": K}, exclusion)["a"]
    for number in range(CHECKED_QUERIES):
        scores = matrix.astype(np.float32) @ queries[number].astype(np.float32)
        scores[hidden[number]] = -np.inf
        assert np.abs(np.sort(scores)[::-1][:K] - found.scores[number].numpy()).max() < 1e-5
        assert not np.isin(found.rows[number].numpy(), hidden[number]).any()
    plain = partial(search, store, {"a": queries}, {"a": K})
    excluding = partial(search, store, {"a": queries}, {"a": K}, exclusion)
    title = f"search/exclusion {batch} x {matrix.shape[1]}-d"
    # Theirs is the exclusion here, so that the ratio is what it costs.
    race(f"{title}, cost ({len(row) / batch:.0f} rows each)", plain, excluding, 3 * pairs, "1.05x")
    selected = selector_search(index, queries[:SELECTOR_QUERIES], hidden)
    mine = statistics.median(seconds(excluding) for _ in range(pairs))
    peer = statistics.median(seconds(selected) for _ in range(2)) * batch / SELECTOR_QUERIES
    state(f"{title} vs a selector per query", peer / mine)
    print(
        f"{title} vs a selector per query  {peer / mine:6.1f}x  "
        f"{mine * 1e3:.1f} against {peer * 1e3:.0f} ms (extrapolated)  aim 25x",
        flush=True,
    )


def bench_crowd(options: Options) -> None:
    """Queries by the creator of a fifth of the gallery: none of them may see so many rows."""
    random = np.random.default_rng(6)
    author = random.integers(2, options.rows // 24, options.rows).astype(np.uint64)
    author[random.permutation(options.rows)[: options.rows // 5]] = 1
    for width in options.widths:
        matrix = clustered(options.rows, width, 1)
        store, batch = Gallery.of({"a": matrix}, Rows(author_token=author)), max(options.batches)
        for title, token in (("one creator", np.ones(batch, np.uint64)), ("half by one", None)):
            if token is None:
                token = author[random.integers(0, options.rows, batch)]
                token[: batch // 2] = 1
            queries, exclusion = clustered(batch, width, 7), Exclusion(author_token=token)
            found = search(store, {"a": queries}, {"a": K}, exclusion)["a"]
            assert (author[found.rows.numpy()] != token[:, None]).all()
            plain = partial(search, store, {"a": queries}, {"a": K})
            excluding = partial(search, store, {"a": queries}, {"a": K}, exclusion)
            race(f"search/crowd {batch} x {width}-d, {title}", plain, excluding, options.pairs, "1.05x")


def selector_search(index: Any, queries: Matrix, hidden: list[NDArray[np.int64]]) -> Callable[[], object]:
    wide = queries.astype(np.float32)

    def work() -> None:
        for number in range(len(wide)):
            parameters = faiss.SearchParameters()
            parameters.sel = faiss.IDSelectorNot(faiss.IDSelectorBatch(hidden[number]))
            index.search(wide[number : number + 1], K, params=parameters)

    return work


def least_seconds(store: Gallery, queries: Matrix, repeats: int) -> float:
    work = partial(search, store, {"a": queries}, {"a": K})
    work()
    return min(seconds(work) for _ in range(repeats))


def bench_growth_queries(options: Options) -> None:
    matrix = clustered(options.rows, 256, 1)
    store, queries = Gallery.of({"a": matrix}), clustered(options.most_queries, 256, 2)
    batch = 1
    while batch <= options.most_queries:
        best = least_seconds(store, queries[:batch], options.pairs)
        rate = 2 * batch * options.rows * 256 / best / 1e9
        title = f"search/growth-queries {batch:5}"
        print(f"{title}  {best / batch * 1e3:8.3f} ms per query  {rate:7.0f} GFLOP/s", flush=True)
        batch *= 4
    rows, vectors = torch.from_numpy(matrix[:8192]).bfloat16(), torch.from_numpy(queries[:1024]).bfloat16()
    best = min(seconds(lambda: rows @ vectors.T) for _ in range(20))
    rate = 2 * 8192 * len(vectors) * 256 / best / 1e9
    print(f"search/growth-queries bf16 product alone, 1,024 queries  {rate:.0f} GFLOP/s")


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def memory_probe(rows: int, most_queries: int) -> None:
    """In a process of its own, whose peak is reset once the gallery stands (Linux only)."""
    store = Gallery.of({"a": clustered(rows, 256, 1)})
    queries = clustered(most_queries, 256, 2)
    exclusion = Exclusion(own_row=np.zeros(most_queries, dtype=np.int64))
    search(store, {"a": queries[:64]}, {"a": K}, exclusion.take(slice(0, 64)))
    search(store, {"a": queries[:1]}, {"a": K})
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    peaks = [peak_mib()]
    for batch in (1, 64, 1024, most_queries // 4, most_queries):
        search(store, {"a": queries[:batch]}, {"a": K}, exclusion.take(slice(0, batch)))
        peaks.append(peak_mib())
    answer = most_queries * (K * 24 + 256 * 4) / 2**20
    added = ", ".join(f"{peak - peaks[0]:.0f}" for peak in peaks[1:])
    print(
        "search/memory above the gallery, MiB, at 1, 64, 1,024, "
        f"{most_queries // 4:,}, {most_queries:,} queries: {added} "
        f"(of which queries in float32 and answer {answer:.0f})  aim: constant, within 128",
        flush=True,
    )


def bench_memory(options: Options) -> None:
    code = f"import bench_search; bench_search.memory_probe({options.rows}, {4 * options.most_queries})"
    folder = __file__.rpartition("/")[0]
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


CASES: dict[str, Callable[[Options], None]] = {
    "batch": bench_batch,
    "single": bench_single,
    "channels": bench_channels,
    "exclusion": bench_exclusion,
    "crowd": bench_crowd,
    "growth-queries": bench_growth_queries,
    "memory": bench_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 1536])
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--most-queries", type=int, default=4096)
    given = parser.parse_args()
    unknown = set(given.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    torch.set_num_threads(given.threads)
    faiss.omp_set_num_threads(given.threads)
    print(
        f"torch {torch.__version__}, faiss {faiss.__version__}, {given.threads} threads, {given.rows:,} rows"
    )
    options = Options(given.rows, given.widths, given.batches, given.pairs, given.most_queries)
    for name in given.cases or CASES:
        CASES[name](options)


if __name__ == "__main__":
    main()
