"""Rows `peers/*`: exact search beside approximate indexes, their recall and the time they take to build.

    python tests/benchmarks/bench_peers.py [--rows N] [--queries N] [--pairs P]

Exact peers: FAISS's flat index, torch's product and topk in chunks, scikit-learn's brute force. Approximate
ones: graphs (HNSW) by hnswlib, usearch and FAISS at several breadths of search, and ScaNN; what is not
installed is named and left out. Features are clustered, and queries are of the same clusters. Ours and a
peer alternate in one process on the same rows, every second pair in the other order, and the ratio is the
median over the pairs, above 1 where ours is faster. Ours must equal a brute force in float64 to the bit; the
rows of an exact peer score as ours to 1e-4, since scikit-learn's float32 swaps some that are 2e-5 apart.

An approximate index pays from as many queries on as make up for its building: its processor time, less that
of our survey of the rows, by what it saves at each query. That is stated for queries at once and one by one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import faiss
import numpy as np
import torch
from bench_search import Matrix, check, clustered
from numpy.typing import NDArray
from ratios import state
from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped] # no types published

from pinpoint_harness.search import Gallery, search

K, WIDTH, ALONE, CHUNK_ROWS = 8, 256, 32, 131_072
LINKS, BUILD_BREADTH, BREADTHS = 16, 200, (16, 64, 256)
Ask = Callable[[Matrix], NDArray[np.int64]]
"""From queries in fp16 to the rows that are found, `(n, K)`."""


@dataclass(frozen=True)
class Peer:
    """`ask` are the ways to search one index, by their titles; `built` the seconds it took to build."""

    built: float
    ask: dict[str, Ask]
    exact: bool


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    return work(), time.process_time() - started


def flat(rows: Matrix, wide: NDArray[np.float32]) -> Peer:
    index = faiss.IndexFlatIP(WIDTH)
    _, built = timed(lambda: index.add(wide))
    return Peer(built, {"FAISS flat": lambda some: index.search(some.astype(np.float32), K)[1]}, True)


def chunked(rows: Matrix, wide: NDArray[np.float32]) -> Peer:
    resident = torch.from_numpy(wide)

    def ask(some: Matrix) -> NDArray[np.int64]:
        queries = torch.from_numpy(some.astype(np.float32))
        parts = [
            (start, (queries @ resident[start : start + CHUNK_ROWS].T).topk(K))
            for start in range(0, len(resident), CHUNK_ROWS)
        ]
        values = torch.cat([best.values for _, best in parts], dim=1)
        at = torch.cat([best.indices + start for start, best in parts], dim=1)
        return at.gather(1, values.topk(K).indices).numpy()

    return Peer(0.0, {"torch mm + topk": ask}, True)


def brute(rows: Matrix, wide: NDArray[np.float32]) -> Peer:
    index, built = timed(lambda: NearestNeighbors(algorithm="brute", metric="cosine").fit(wide))
    way: Ask = lambda some: index.kneighbors(some.astype(np.float32), K, return_distance=False)  # noqa: E731
    return Peer(built, {"scikit-learn brute force": way}, True)


def usearch_graph(rows: Matrix, wide: NDArray[np.float32]) -> Peer:
    from usearch.index import Index

    index = Index(ndim=WIDTH, metric="ip", dtype="f16", connectivity=LINKS, expansion_add=BUILD_BREADTH)
    _, built = timed(lambda: index.add(np.arange(len(rows)), rows, threads=1))

    def ask(some: Matrix, breadth: int) -> NDArray[np.int64]:
        index.expansion_search = breadth
        found = index.search(some, K, threads=1).keys
        return np.asarray(found, dtype=np.int64).reshape(len(some), -1)

    return Peer(built, {f"usearch {breadth}": partial(ask, breadth=breadth) for breadth in BREADTHS}, False)


def hnswlib_graph(rows: Matrix, wide: NDArray[np.float32]) -> Peer:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=WIDTH)
    index.init_index(max_elements=len(wide), M=LINKS, ef_construction=BUILD_BREADTH, random_seed=0)
    _, built = timed(lambda: index.add_items(wide, num_threads=1))

    def ask(some: Matrix, breadth: int) -> NDArray[np.int64]:
        index.set_ef(breadth)
        return np.asarray(index.knn_query(some.astype(np.float32), K, num_threads=1)[0], dtype=np.int64)

    return Peer(built, {f"hnswlib {breadth}": partial(ask, breadth=breadth) for breadth in BREADTHS}, False)


def faiss_graph(rows: Matrix, wide: NDArray[np.float32]) -> Peer:
    index = faiss.IndexHNSWFlat(WIDTH, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_BREADTH
    _, built = timed(lambda: index.add(wide))

    def ask(some: Matrix, breadth: int) -> NDArray[np.int64]:
        index.hnsw.efSearch = breadth
        return np.asarray(index.search(some.astype(np.float32), K)[1])

    return Peer(
        built, {f"FAISS HNSW {breadth}": partial(ask, breadth=breadth) for breadth in BREADTHS}, False
    )


def scann_tree(rows: Matrix, wide: NDArray[np.float32]) -> Peer:
    import scann  # type: ignore[import-not-found] # no types published

    leaves = int(len(wide) ** 0.5)
    made = scann.scann_ops_pybind.builder(wide, K, "dot_product").set_n_training_threads(1)
    made = made.tree(num_leaves=leaves, num_leaves_to_search=leaves // 10)
    index, built = timed(made.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build)

    def ask(some: Matrix, breadth: int) -> NDArray[np.int64]:
        found, _ = index.search_batched(some.astype(np.float32), leaves_to_search=breadth)
        return np.asarray(found, dtype=np.int64)

    ways = (leaves // 10, leaves // 3)
    return Peer(built, {f"ScaNN {breadth} leaves": partial(ask, breadth=breadth) for breadth in ways}, False)


PEERS = (flat, chunked, brute, usearch_graph, hnswlib_graph, faiss_graph, scann_tree)


@dataclass(frozen=True)
class Bench:
    """Ours, and what is asked: `queries` at once, and the first of them one by one."""

    matrix: Matrix
    queries: Matrix
    gallery: Gallery
    surveyed: float
    pairs: int

    def ours(self, some: Matrix) -> NDArray[np.int64]:
        return search(self.gallery, {"a": some}, {"a": K})["a"].rows.numpy()

    def scores(self, found: NDArray[np.int64]) -> NDArray[np.float64]:
        near = self.matrix[found].astype(np.float64)
        return np.einsum("nkw,nw->nk", near, self.queries.astype(np.float64))

    def race(self, ask: Ask, alone: bool) -> list[tuple[float, float]]:
        """Processor seconds a query of ours and of theirs, in alternating pairs."""
        parts = [self.queries[at : at + 1] for at in range(ALONE)] if alone else [self.queries]
        count = sum(map(len, parts))

        def spent(way: Ask) -> float:
            return timed(lambda: [way(part) for part in parts])[1] / count

        spent(self.ours), spent(ask)
        times = []
        for number in range(self.pairs):
            first, second = (self.ours, ask) if number % 2 else (ask, self.ours)
            a, b = spent(first), spent(second)
            times.append((a, b) if number % 2 else (b, a))
        return times


def row(bench: Bench, title: str, peer: Peer, ask: Ask, best: NDArray[np.int64]) -> str:
    found = ask(bench.queries)
    recall = float(
        np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), best.tolist(), strict=True)])
    )
    if peer.exact:
        np.testing.assert_allclose(bench.scores(found), bench.scores(best), atol=1e-4)
    cells = [title, f"{100 * recall:.1f} %", f"{peer.built:.1f} s"]
    for alone in (False, True):
        times = bench.race(ask, alone)
        ratios = sorted(theirs / ours for ours, theirs in times)
        ours, theirs = (statistics.median(side) for side in zip(*times, strict=True))
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        if not alone and peer.exact:
            state(f"peers/{len(bench.queries)} x {WIDTH}-d vs {title}", statistics.median(ratios))
        cells.append(paying(peer.built - bench.surveyed, ours - theirs) if not peer.exact else "")
    return "| " + " | ".join(cells) + " |"


def paying(built: float, saved: float) -> str:
    """From how many queries on the index has saved what it cost."""
    return "never" if saved <= 0 else f"{max(built, 0.0) / saved:,.0f}"


def table(bench: Bench) -> Iterator[str]:
    wide, best = bench.matrix.astype(np.float32), bench.ours(bench.queries)
    at_once = f"time by ours, {len(bench.queries):,} queries"
    yield f"| peer, breadth | recall | built | {at_once} | pays from | one by one | pays from |"
    yield "|---|---|---|---|---|---|---|"
    for make in PEERS:
        try:
            peer = make(bench.matrix, wide)
        except ImportError as error:
            yield f"| {make.__name__} | not installed: {error.name} | | | | | |"
            continue
        for title, ask in peer.ask.items():
            yield row(bench, title, peer, ask, best)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--queries", type=int, default=1_024)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    matrix, queries = clustered(given.rows, WIDTH, 1), clustered(given.queries, WIDTH, 2)
    gallery, surveyed = timed(lambda: Gallery.of({"a": matrix}))
    bench = Bench(matrix, queries, gallery, surveyed, given.pairs)
    found, spent = timed(lambda: search(gallery, {"a": queries}, {"a": K})["a"])
    check(matrix, queries, found, found.scores.numpy())
    print(
        f"{given.rows:,} rows of {WIDTH}, best {K}, one thread; ours: survey {surveyed:.2f} s, "
        f"{1e3 * spent / given.queries:.3f} ms a query; load {os.getloadavg()[0]:.1f}"
    )
    for line in table(bench):
        print(line, flush=True)


if __name__ == "__main__":
    main()
