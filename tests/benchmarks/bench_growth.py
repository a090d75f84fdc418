"""Rows `growth/*`: by which power of its size a stage's time grows, what memory it takes, and its floor.

    python tests/benchmarks/bench_growth.py [STAGE ...] [--rounds N]

Stages: search-rows, search-queries, exclusion-rows, exclusion-queries, support, store-open, store-gather,
scoring, reranking; all by default, four minutes on two cores. Every round goes once through all sizes of a
stage, and through its floor at the largest, and fits a line to the logarithms of size and processor time;
printed are the median slope and the least and largest. `last` is the slope between the two largest sizes,
where a hidden step would show, `by floor` the largest's time by that of what it cannot do without. Memory is
the peak above what was held before, at the smallest and at the two largest sizes. Before a time is taken,
what a stage computes is compared with a plain way to compute it. One thread.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from bench_end_to_end import random_reranker
from bench_rerank import CONFIG, Products, make_lists
from bench_score import RESAMPLES, draw_rows, ours, theirs
from bench_search import Matrix, check, clustered, photographers
from bench_support import RADIUS_KM, K, join, places
from numpy.typing import NDArray
from ratios import processor
from scipy.spatial import cKDTree

from pinpoint_harness.evaluation import metric_names
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.geo import chord_from_km, km_from_chord
from pinpoint_harness.search import Exclusion, Gallery, Rows, SupportIndex, search, xyz_of
from pinpoint_harness.testing.made_up import write_store
from pinpoint_harness.types import RADII_KM
from pinpoint_methods.pinpoint.reranker_training import scores_of

AIM = 1.05
WIDTH, QUERIES, GALLERY, BLOCK = 256, 256, 50_000, 8_192
Work = Callable[[], object]


@dataclass(frozen=True)
class Stage:
    """Work by its size, in rising order, what these are sizes of, and what the largest cannot do without."""

    grows: str
    works: dict[int, Work]
    floor: Work


def products(rows: Matrix, queries: Matrix, count: int) -> Work:
    """So many products of a block of rows and the queries, in the type that search multiplies them in."""
    kind = torch.bfloat16 if processor().endswith("bf16") else torch.float32
    block, asked = (torch.from_numpy(matrix).to(kind) for matrix in (rows[:BLOCK], queries[:1_000]))

    def work() -> None:
        for _ in range(count):
            torch.mm(block, asked.T)

    return work


def search_rows(folder: Path) -> Stage:
    sizes = (10_000, 30_000, 100_000, 300_000, 1_000_000)
    matrix, queries = clustered(sizes[-1], WIDTH, 1), clustered(QUERIES, WIDTH, 2)
    galleries = {size: Gallery.of({"a": matrix[:size]}) for size in sizes}
    found = search(galleries[sizes[0]], {"a": queries}, {"a": 8})["a"]
    check(matrix[: sizes[0]], queries, found, found.scores.numpy())
    return Stage(
        f"rows, {QUERIES} queries",
        {size: partial(search, of, {"a": queries}, {"a": 8}) for size, of in galleries.items()},
        products(matrix, queries, sizes[-1] // BLOCK),
    )


def search_queries(folder: Path) -> Stage:
    sizes = (100, 300, 1_000, 3_000, 10_000)
    matrix, queries = clustered(GALLERY, WIDTH, 1), clustered(sizes[-1], WIDTH, 2)
    gallery = Gallery.of({"a": matrix})
    found = search(gallery, {"a": queries[: sizes[0]]}, {"a": 8})["a"]
    check(matrix, queries[: sizes[0]], found, found.scores.numpy())
    return Stage(
        f"queries, {GALLERY:,} rows",
        {size: partial(search, gallery, {"a": queries[:size]}, {"a": 8}) for size in sizes},
        products(matrix, queries, GALLERY * sizes[-1] // 1_000 // BLOCK),
    )


def excluding(rows: int, queries: int) -> Any:
    """A search without the author's rows and those within 1 km, each query a row of the gallery."""
    known, xyz = photographers(rows)
    matrix = clustered(rows, WIDTH, 1)
    gallery = Gallery.of({"a": matrix}, known)
    asked = np.random.default_rng(5).integers(0, rows, queries)
    assert known.author_token is not None
    exclusion = Exclusion(author_token=known.author_token[asked], xyz=xyz[asked], radius_km=1.0)
    return partial(search, gallery, {"a": matrix[asked]}, {"a": 8}, exclusion)


def plain(work: Any) -> Work:
    """The same search without its exclusion."""
    return partial(search, *work.args[:3])


def check_exclusion(rows: int = 2_000, queries: int = 64) -> None:
    work = excluding(rows, queries)
    gallery, _, _, exclusion = work.args
    found = work()["a"].rows.numpy()
    hidden = set(zip(*(of.tolist() for of in exclusion.pairs(gallery.rows)), strict=True))
    assert hidden
    assert not hidden & {(query, int(row)) for query in range(queries) for row in found[query]}


def exclusion_rows(folder: Path) -> Stage:
    check_exclusion()
    sizes = (10_000, 30_000, 100_000, 300_000)
    works = {size: excluding(size, QUERIES) for size in sizes}
    return Stage(f"rows, {QUERIES} queries", works, plain(works[sizes[-1]]))


def exclusion_queries(folder: Path) -> Stage:
    check_exclusion()
    sizes = (100, 300, 1_000, 3_000, 10_000)
    whole = excluding(GALLERY, sizes[-1])
    gallery, queries, wanted, exclusion = whole.args
    return Stage(
        f"queries, {GALLERY:,} rows",
        {
            size: partial(search, gallery, {"a": queries["a"][:size]}, wanted, exclusion.take(slice(0, size)))
            for size in sizes
        },
        plain(whole),
    )


def support(folder: Path) -> Stage:
    sizes = (10_000, 30_000, 100_000, 300_000)
    xyz = {size: xyz_of(places(size, 8)) for size in sizes}
    few = xyz[sizes[0]]
    found = SupportIndex(Rows(xyz=few)).nearest(few, K, RADIUS_KM)
    chord = by_tree(few)
    near = chord < chord_from_km(RADIUS_KM - 1e-3)
    np.testing.assert_allclose(found.distance_km[near], km_from_chord(chord[near]), atol=2e-3)
    works: dict[int, Work] = {size: partial(join, of) for size, of in xyz.items()}
    return Stage("rows onto themselves", works, partial(by_tree, xyz[sizes[-1]]))


def by_tree(xyz: NDArray[np.float32]) -> Any:
    """Chords to the nearest, infinite beyond the radius, `(n, K)`."""
    return cKDTree(xyz).query(xyz, K, distance_upper_bound=float(chord_from_km(RADIUS_KM)))[0]


def store_of(folder: Path, rows: int) -> Path:
    where = places(rows, 3)
    truth = pd.DataFrame(
        {
            "id": [f"p{row:08}" for row in range(rows)],
            "latitude": where[:, 0],
            "longitude": where[:, 1],
            "author": [f"author {row % (rows // 24)}" for row in range(rows)],
            "source": "photos",
        }
    )
    return write_store(folder, f"of {rows}", "stub", clustered(rows, 64, 1), truth).folder


def opened(folder: Path) -> FeatureStore:
    """A store whose matrix is mapped and whose table is read."""
    store = FeatureStore.open(folder)
    assert len(store.matrix) == len(store.coordinates())
    return store


def store_open(folder: Path) -> Stage:
    sizes = (10_000, 30_000, 100_000, 300_000)
    folders = {size: store_of(folder, size) for size in sizes}
    assert opened(folders[sizes[0]]).table["id"][77].as_py() == "p00000077"
    works: dict[int, Work] = {size: partial(opened, of) for size, of in folders.items()}
    return Stage("rows", works, partial(pq.read_table, folders[sizes[-1]] / "rows.parquet"))


def store_gather(folder: Path) -> Stage:
    rows, sizes = 300_000, (1_000, 3_000, 10_000, 30_000, 100_000)
    matrix = opened(store_of(folder, rows)).matrix
    asked = np.random.default_rng(6).permutation(rows)
    assert (matrix[asked[:1000]] == clustered(rows, 64, 1)[asked[:1000]]).all()
    works: dict[int, Work] = {size: partial(matrix.__getitem__, asked[:size]) for size in sizes}
    return Stage(f"rows of {rows:,}", works, partial(np.take, np.array(matrix), asked[: sizes[-1]], axis=0))


def scoring(folder: Path) -> Stage:
    few = draw_rows(1_000)
    mine, plain = ours(*few), theirs(*few)
    for name in metric_names(RADII_KM):
        np.testing.assert_allclose(mine[name], plain[name], rtol=1e-9, err_msg=name)
    sizes = (10_000, 30_000, 100_000, 210_122)
    works: dict[int, Work] = {size: partial(ours, *draw_rows(size)) for size in sizes}
    return Stage(f"rows, {RESAMPLES:,} resamples", works, partial(drawing, len(set(draw_rows(sizes[-1])[2]))))


def drawing(clusters: int) -> None:
    """The photographers of all resamples, which a seed fixes."""
    random = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        random.integers(clusters, size=clusters)


def reranking(folder: Path) -> Stage:
    sizes = (64, 128, 256, 512)
    retriever, lists = make_lists(folder, sizes[-1])
    model = random_reranker(CONFIG)
    few = scores_of(model, retriever, lists.take(slice(0, 8)))
    alone = [scores_of(model, retriever, lists.take(slice(at, at + 1))) for at in range(8)]
    torch.testing.assert_close(torch.cat(alone), few, rtol=1e-4, atol=1e-4)
    with Products() as multiplied:
        scores_of(model, retriever, lists.take(slice(0, sizes[0])))

    def floor() -> None:
        for _ in range(sizes[-1] // sizes[0]):
            multiplied.run()

    return Stage(
        f"queries of {lists.valid.shape[1]} candidates",
        {size: partial(scores_of, model, retriever, lists.take(slice(0, size))) for size in sizes},
        floor,
    )


STAGES: dict[str, Callable[[Path], Stage]] = {
    "search-rows": search_rows,
    "search-queries": search_queries,
    "exclusion-rows": exclusion_rows,
    "exclusion-queries": exclusion_queries,
    "support": support,
    "store-open": store_open,
    "store-gather": store_gather,
    "scoring": scoring,
    "reranking": reranking,
}


def seconds(work: Work, at_least: float = 0.1) -> float:
    """Least processor time of a call, of as many as take long enough together; one of them warms up."""
    started, found = time.process_time(), []
    while time.process_time() - started < at_least or len(found) < 2:
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
        if found[-1] > 5 * at_least:  # long enough to warm itself up
            break
    return min(found)


def peak_mib(work: Work) -> float:
    """Peak memory above what was held before (Linux only)."""

    def status(field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

    ctypes.CDLL(None).malloc_trim(0)  # else what earlier work left to the allocator counts as held
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    work()
    return status("VmHWM") - before


def measure(name: str, stage: Stage, rounds: int) -> str:
    """One line of the table."""
    sizes = np.log(list(stage.works))
    memory = [peak_mib(work) for work in stage.works.values()]
    stage.floor()
    timed = [[seconds(work) for work in (*stage.works.values(), stage.floor)] for _ in range(rounds)]
    times, floors = np.array(timed)[:, :-1], np.array(timed)[:, -1]
    slopes = [float(np.polyfit(sizes, np.log(of), 1)[0]) for of in times]
    last = [float(np.log(of[-1] / of[-2]) / (sizes[-1] - sizes[-2])) for of in times]
    first, most = min(stage.works), max(stage.works)
    middle = statistics.median(slopes)
    ends = [statistics.median(times[:, at]) * 1e3 for at in (0, -1)]
    cells = [
        name,
        f"{stage.grows}: {first:,} to {most:,}",
        f"{middle:.2f} ({min(slopes):.2f} to {max(slopes):.2f})" + (" *" if middle > AIM else ""),
        f"{statistics.median(last):.2f}",
        f"{ends[0]:,.1f} to {ends[1]:,.0f} ms",
        f"{statistics.median(times[:, -1] / floors):.2f}",
        ", ".join(f"{memory[at]:,.0f}" for at in (0, -2, -1)),
    ]
    return "| " + " | ".join(cells) + " |"


def table(names: list[str], rounds: int) -> Iterator[str]:
    yield f"| stage | grows | slope of time, aim {AIM} | last | time | by floor | memory, MiB |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            yield measure(name, STAGES[name](Path(folder) / "made"), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if unknown := set(given.stages) - set(STAGES):
        parser.error(f"no such stage: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    for line in table(given.stages or list(STAGES), given.rounds):
        print(line, flush=True)
    print(f"* above the aim. {processor()}, load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
