"""How hard a world is before any method is tried on it, beside what is known of real data.

    python -m pinpoint_datasets.mini_earth.difficulty mini-earth-v2-1 > difficulty.csv

`--seed` measures a world that no dataset has, so that a generator's constants can be chosen on it.

Draws the galleries and some queries in memory, as they are before JPEG, and looks with the raw features
of `mini` alone: no method is trained, nothing is kept. Twelve raw candidates of each query are ranked by
their own pictures and by those of the other source near them, compared twice: as the features are, and
whitened by how pictures of one place differ, which is fitted on the gallery and hints at what can be
learned. Facts of real datasets stand beside the world's figures to be aimed at, never to be compared
with a method's.
"""

from __future__ import annotations

import argparse
import csv
import functools
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pinpoint_harness.types import RADII_KM

from .archive import Tables, spec_of
from .backbone import MiniBackbone, features, load_mini
from .drawing.appearance import EARTH_KM, unit_sphere
from .drawing.scene import render
from .infos import MINI, WORLDS
from .splits import creator_names, photographer_names, split_photos, split_streetview
from .world import PLAIN, Pictures, WorldSpec

Floats = NDArray[np.floating]

CANDIDATES = 12
CHUNK = 1000
NEIGHBOURS = (1, 4, 16)
LIGHT = 0.25
"""What neighbours weigh beside the candidate itself, whose weight is 1, where they weigh lightly."""
SUPPORT_KM = 25.0
SHRINKAGE = 0.1
"""Of the covariance within places towards that of noise alike in all directions."""
PAIR_SAMPLE = 4536
"""Photos, one of a photographer, among which pairs are counted: as many as YFCC4k has."""

OF = {
    "query-clean": ("photos", "streetview"),
    "query-noisy": ("photos", "streetview"),
    "query-street": ("streetview", "photos"),
}
"""Sets of queries: the gallery of their own source, and the other."""

KNOWN = {
    ("query-clean", "nearest neighbour"): (15, 38, 51, 68, 84),
    ("query-clean", "oracle of 12"): (44, 64, 81, None, None),
    ("photos", "pairs"): (0.021, 0.316, 1.529, 8.103, 24.687),
    ("photos", "nearest other"): (29.8, 77.4, 96.8, 99.7, 100.0),
}
"""Of real data: raw SigLIP 2 on IM2GPS3k over MP-16, the oracle over Pinpoint's own 12 candidates there,
and the distances between YFCC4k's photos, from its truth table."""

Row = tuple[str, str, Sequence[float | None]]


@dataclass(frozen=True)
class Seen:
    """Pictures by their raw features, of length 1, points on the unit sphere, and who took them."""

    features: Floats
    points: NDArray[np.float64]
    author: NDArray[np.int64]

    def about(self, middle: Floats, map_by: Floats) -> Floats:
        """Features about a source's mean, of length 1: what its cameras do to every picture goes away."""
        return of_length_one((self.features - middle) @ map_by)


@dataclass(frozen=True)
class Around:
    """The other source: where its pictures lie, and their raw features by row, drawn when asked for."""

    points: NDArray[np.float64]
    features: Callable[[NDArray[np.int64]], Floats]


class Drawn:
    """The pictures of one table; each is drawn once, by the pool's processes, when it is first asked for."""

    def __init__(self, pool: Executor, spec: WorldSpec, table: str) -> None:
        self._pool, self._spec, self._table = pool, spec, table
        self._pictures = _tables(spec).rows(table)
        self._known = np.zeros(len(self._pictures), bool)
        self._features = np.zeros((len(self._pictures), MINI.width), np.float32)

    def features(self, rows: NDArray[np.int64]) -> Floats:
        missing = np.unique(rows[~self._known[rows]])
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        jobs = [(self._spec, self._table, chunk) for chunk in chunks]
        for chunk, found in zip(chunks, self._pool.map(_raw_features, jobs), strict=True):
            self._features[chunk] = of_length_one(found)
        self._known[missing] = True
        return self._features[rows]

    def points(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return points_of(self._spec, self._pictures.take(rows))

    def seen(self, rows: NDArray[np.int64]) -> Seen:
        return Seen(self.features(rows), self.points(rows), self._pictures.author[rows])

    def around(self, rows: NDArray[np.int64]) -> Around:
        return Around(self.points(rows), lambda wanted: self.features(rows[wanted]))


def of_length_one(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-9)


def _raw_features(job: tuple[WorldSpec, str, NDArray[np.int64]]) -> Floats:
    spec, table, rows = job
    tables = _tables(spec)
    generator, pictures = tables.generator, tables.rows(table).take(rows)
    if "street" in table:
        views = generator.street_views(tables.world, pictures)
    else:
        views = generator.photo_views(tables.world, pictures, hard=table == "query-noisy")
    drawn = render(generator.place_attributes(tables.world, pictures), views)
    return np.asarray(features(drawn, _network()), np.float32)


@functools.cache
def _tables(spec: WorldSpec) -> Tables:
    return Tables(spec)


@functools.cache
def _network() -> MiniBackbone:
    return load_mini()


def points_of(spec: WorldSpec, pictures: Pictures) -> NDArray[np.float64]:
    return unit_sphere(*_tables(spec).world.land.to_e7(pictures.city, pictures.east_m, pictures.north_m))


def gallery_rows(spec: WorldSpec, table: str) -> NDArray[np.int64]:
    """Split A, without placeholders."""
    names, pictures = _tables(spec).names(table), _tables(spec).rows(table)
    if "street" in table:
        split = split_streetview(names, creator_names(pictures.author))
    else:
        split = split_photos(names, photographer_names(pictures.author))
    return np.flatnonzero((split == "A") & (pictures.kind == PLAIN))


def candidates(queries: Seen, gallery: Seen) -> NDArray[np.int64]:
    """The most similar rows of the gallery, best first: `(n, CANDIDATES)`."""
    found = []
    for start in range(0, len(queries.features), 500):
        similar = queries.features[start : start + 500] @ gallery.features.T
        best = np.argpartition(-similar, CANDIDATES, axis=1)[:, :CANDIDATES]
        order = np.argsort(-np.take_along_axis(similar, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found)


def _km(chords: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2 * EARTH_KM * np.arcsin(np.minimum(chords / 2, 1))


def _within(km: NDArray[np.float64]) -> list[float]:
    return [100 * float((km < radius).mean()) for radius in RADII_KM]


def where_rows(spec: WorldSpec) -> Iterator[Row]:
    """How photos lie to one another, one of each photographer: no picture is drawn."""
    photos = _tables(spec).rows("photos")
    firsts = np.unique(photos.author, return_index=True)[1][:PAIR_SAMPLE]
    points = points_of(spec, photos.take(firsts))
    tree, count = KDTree(points), len(points)
    chords = [2 * np.sin(radius / EARTH_KM / 2) for radius in RADII_KM]
    pairs = [int(tree.count_neighbors(tree, chord)) - count for chord in chords]
    yield "photos", "pairs", [100 * pair / count / (count - 1) for pair in pairs]
    yield "photos", "nearest other", _within(_km(tree.query(points, k=2)[0][:, 1]))


def source_rows(name: str, queries: Seen, own: Seen, other: Around) -> Iterator[Row]:
    """One set of queries over the gallery of its own source, with neighbours of the other source."""
    best = candidates(queries, own)
    km = _km(np.linalg.norm(own.points[best] - queries.points[:, None], axis=2))
    yield name, "a gallery item", _within(_km(KDTree(own.points).query(queries.points)[0]))
    yield name, "nearest neighbour", _within(km[:, 0])
    yield name, f"oracle of {CANDIDATES}", _within(km.min(axis=1))
    near = Neighbours.of(own.points[best], other)
    for how, map_by in (("", np.eye(own.features.shape[1])), (", whitened", whitening(own))):
        middle = own.features.mean(axis=0)
        asked = queries.about(middle, map_by)
        alone = np.einsum("qd,qkd->qk", asked, own.about(middle, map_by)[best])
        before = _chosen(km, alone)
        yield name, f"reranked alone{how}", _within(before)
        for number in NEIGHBOURS:
            similar = near.similarity(asked, map_by, number)
            for weight, lightly in ((1.0, ""), (LIGHT, ", lightly")):
                after = _chosen(km, alone + weight * similar)
                figure = f"by {number} neighbours{lightly}{how}"
                yield name, f"reranked {figure}", _within(after)
                yield from _gain_rows(name, figure, queries.author, before, after)


def _chosen(km: NDArray[np.float64], score: Floats) -> NDArray[np.float64]:
    chosen: NDArray[np.float64] = km[np.arange(len(km)), score.argmax(axis=1)]
    return chosen


def _gain_rows(
    name: str,
    figure: str,
    author: NDArray[np.int64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> Iterator[Row]:
    """Queries won and lost, and the half width of the difference's 95 % interval over photographers."""
    won, lost = ([(a < r) & (b >= r) for r in RADII_KM] for a, b in ((after, before), (before, after)))
    yield name, f"won {figure}", [100 * float(each.mean()) for each in won]
    yield name, f"lost {figure}", [100 * float(each.mean()) for each in lost]
    _, person = np.unique(author, return_inverse=True)
    widths = []
    for up, down in zip(won, lost, strict=True):
        change = up.astype(float) - down
        of_person = np.bincount(person, change - change.mean())
        widths.append(196 * float(np.sqrt((of_person**2).sum())) / len(author))
    yield name, f"half width of won less lost {figure}", widths


def whitening(own: Seen) -> Floats:
    """A map of features after which pictures of one place differ alike in all directions: `(d, d)`.

    Fitted on a gallery's pictures and the nearest of each by somebody else within `SUPPORT_KM`.
    """
    reach = 2 * np.sin(SUPPORT_KM / EARTH_KM / 2)
    near = KDTree(own.points).query(own.points, k=min(9, len(own.points)), distance_upper_bound=reach)[1]
    there = near < len(own.points)
    near = np.where(there, near, 0)
    strange = there & (own.author[near] != own.author[:, None])
    has = strange.any(axis=1)
    first = near[np.arange(len(near)), strange.argmax(axis=1)]
    apart = own.features[has] - own.features[first[has]]
    width = own.features.shape[1]
    within = apart.T @ apart / max(1, len(apart)) / 2
    within += np.eye(width) * (SHRINKAGE * np.trace(within) / width + 1e-9)
    values, vectors = np.linalg.eigh(within)
    map_by: Floats = vectors / np.sqrt(values)
    return map_by


@dataclass(frozen=True)
class Neighbours:
    """The other source's pictures nearest each candidate of each query."""

    features: Floats
    """`(m, d)` of those drawn, about their mean."""
    nearest: NDArray[np.int64]
    """Rows of `features`, nearest first, -1 for none within `SUPPORT_KM`: `(n, k, max(NEIGHBOURS))`."""

    @classmethod
    def of(cls, places: NDArray[np.float64], other: Around) -> Neighbours:
        reach = 2 * np.sin(SUPPORT_KM / EARTH_KM / 2)
        nearest = KDTree(other.points).query(places, k=max(NEIGHBOURS), distance_upper_bound=reach)[1]
        there = nearest < len(other.points)
        needed, position = np.unique(nearest[there], return_inverse=True)
        drawn = other.features(needed)
        rows = np.full(nearest.shape, -1)
        rows[there] = position
        return cls(drawn - drawn.mean(axis=0), rows)

    def similarity(self, asked: Floats, map_by: Floats, number: int) -> NDArray[np.float64]:
        """Mean similarity of each query to the first `number` neighbours of each candidate: `(n, k)`."""
        theirs = of_length_one(self.features @ map_by)
        rows = self.nearest[:, :, :number]
        count = (rows >= 0).sum(axis=2)
        mean = np.zeros(count.shape)
        for query, of_candidates in enumerate(rows):
            similar = np.where(of_candidates >= 0, theirs[of_candidates] @ asked[query], 0)
            mean[query] = similar.sum(axis=1) / np.maximum(count[query], 1)
        usual = mean.sum(axis=1) / np.maximum((count > 0).sum(axis=1), 1)
        known: NDArray[np.float64] = np.where(count > 0, mean, usual[:, None])
        return known  # a candidate without neighbours has as much as the others


def measure(spec: WorldSpec, names: Sequence[str], queries: int, workers: int) -> Iterator[Row]:
    """All rows of a world."""
    yield from where_rows(spec)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _one_thread) as pool:
        drawn = {table: Drawn(pool, spec, table) for table in {*names, *sum((OF[n] for n in names), ())}}
        for name in names:
            own, other = OF[name]
            every = np.arange(len(_tables(spec).rows(name)))
            asked = drawn[name].seen(every[:: max(1, len(every) // queries)][:queries])
            gallery = drawn[own].seen(gallery_rows(spec, own))
            yield from source_rows(name, asked, gallery, drawn[other].around(gallery_rows(spec, other)))


def _one_thread() -> None:
    torch.set_num_threads(1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pinpoint_datasets.mini_earth.difficulty")
    parser.add_argument("world", choices=list(WORLDS))
    parser.add_argument("--sets", nargs="+", choices=list(OF), default=list(OF))
    parser.add_argument("--queries", type=int, default=2000, help="of each set, spread over it")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--seed", type=int, help="of another world of that generator, which no dataset has")
    given = parser.parse_args(arguments)
    spec, name = spec_of(given.world), given.world
    if given.seed is not None:
        if (spec.version, given.seed) in WORLDS.values():
            parser.error(f"seed {given.seed} is that of a world with a name")
        spec, name = replace(spec, seed=given.seed), f"generator {spec.version}, seed {given.seed}"
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["world", "of", "figure", *(f"{radius:g} km" for radius in RADII_KM)])
    for of, figure, cells in measure(spec, given.sets, given.queries, given.workers):
        table.writerow([name, of, figure, *_written(cells)])
        if (of, figure) in KNOWN:
            table.writerow(["real data", of, figure, *_written(KNOWN[of, figure])])
        sys.stdout.flush()


def _written(cells: Sequence[float | None]) -> list[str]:
    return ["" if cell is None else f"{cell:.3f}" if cell < 1 else f"{cell:.1f}" for cell in cells]


if __name__ == "__main__":
    main()
