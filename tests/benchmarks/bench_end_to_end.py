"""Rows `e2e/*`: Pinpoint from cached features to figures, against the straightforward composition.

    python tests/benchmarks/bench_end_to_end.py [CASE ...] [--rows N] [--queries N] [--pairs P]

Cases: cached, share, growth; all by default. Features are clustered: every photo resembles others of
its town and of its kind. Towns are of very different size, a photographer has about 24 photos, and
the author filter is on. Ours is the method itself, from raw features to answers with candidates in
tiles of 256, and `metrics`; its towers and reranker have the sizes of `mini` and random weights.

The peer does the same with three `faiss.IndexFlatIP`, a BallTree with haversine for the support of
each candidate, the same reranker called query by query, and a geopy loop. Photographers are left out
in either of two ways: `selector`, an IDSelector for each query, which is the straightforward one; and
`over-fetch`, FAISS at its best: 1,024 queries at once and as many more neighbours as the busiest
photographer has photos, filtered afterwards. The peer is timed on `--slice` queries (1,024 and 16 of
the two searches) and scaled. Before a time is taken, both must find the same candidates and support
as near, and name the same places.

One thread for both. Ratios are of processor time, which other programs disturb less than the clock;
the clock's stand beside them.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from geopy.distance import geodesic
from numpy.typing import NDArray
from PIL import Image
from ratios import state
from sklearn.neighbors import BallTree  # type: ignore[import-untyped] # no types published
from tests.support.pinpoint_world import write_surveys

from pinpoint_harness.batching import padded, tiles
from pinpoint_harness.evaluation import metrics
from pinpoint_harness.features.backbones.tower import HuggingFaceTower
from pinpoint_harness.geo import EARTH_RADIUS_KM, geodesic_km
from pinpoint_harness.images.decode import decode
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.search import Rows, SupportIndex, engine, unit_rows, xyz_of
from pinpoint_harness.types import RADII_KM, Context, Predictions, Queries
from pinpoint_methods.common.candidates import CHANNELS, CandidateBatch, feature_count
from pinpoint_methods.common.decoding import TemperatureScaling
from pinpoint_methods.pinpoint import method as method_module
from pinpoint_methods.pinpoint.config import CONFIGS, SOURCES, PinpointConfig
from pinpoint_methods.pinpoint.method import Pinpoint
from pinpoint_methods.pinpoint.parameters import PinpointParams
from pinpoint_methods.pinpoint.reranker import build_reranker
from pinpoint_methods.pinpoint.retriever import galleries_of, open_retriever
from pinpoint_methods.pinpoint.selection import quotas
from pinpoint_methods.pinpoint.towers import Towers, in_tiles

TILE = 256
FAISS_BATCH, SELECTOR_QUERIES = 1024, 16
GATE_CACHED, AIM_CACHED = 8.0, 25.0
GATE_OVER_FETCH = 2.0
GATE_SHARE, AIM_SHARE = 15.0, 5.0
LARGEST_SLOPE = 1.05
MINI = CONFIGS["mini"]
TEMPERATURE, NONE = 0.3, 1.0
CALIBRATION = TemperatureScaling((TEMPERATURE,) * len(RADII_KM), (NONE,) * len(RADII_KM))
TOWNS = 3000

Floats = NDArray[np.float64]
Tensor = torch.Tensor
Seconds = defaultdict[str, float]
"""Processor time by phase."""


@dataclass(frozen=True)
class Photos:
    """Synthetic photos of one source; a town's are alike in both."""

    ids: list[str]
    author: list[str]
    coordinates: Floats  # (n, 2)
    raw: Tensor  # (n, width) fp16

    def __len__(self) -> int:
        return len(self.ids)


def photos(name: str, count: int, width: int, people: int, seed: int) -> Photos:
    """So many photos by `people`, around towns with Zipf's sizes; a fifth shares a place with another."""
    known, random = np.random.default_rng(0), np.random.default_rng(seed)
    towns = np.column_stack(
        [np.degrees(np.arcsin(known.uniform(-0.9, 0.95, TOWNS))), known.uniform(-180, 180, TOWNS)]
    )
    kinds = known.standard_normal((500, width), dtype=np.float32)
    looks = known.standard_normal((TOWNS, width), dtype=np.float32)
    town = (random.zipf(1.3, count) - 1) % TOWNS
    places = towns[town] + random.standard_t(2, (count, 2)) * 0.05
    places[: count // 5] = places[random.integers(0, count, count // 5)]
    raw = np.empty((count, width), dtype=np.float16)
    for start in range(0, count, 20_000):
        part = slice(start, min(start + 20_000, count))
        noise = random.standard_normal((part.stop - start, width), dtype=np.float32)
        raw[part] = looks[town[part]] + kinds[random.integers(0, len(kinds), part.stop - start)] + noise
    who = random.permutation(count) % people
    return Photos(
        [f"{name}{row:08}" for row in range(count)],
        [f"{person}@somewhere" for person in who],
        np.clip(places, [-90, -180], [90, 180]),
        torch.from_numpy(raw),
    )


class Assembled(Pinpoint):
    """Pinpoint over galleries at hand; no stage has been trained."""

    def __init__(self, config: PinpointConfig, folder: Path, towers: Towers) -> None:
        asked: dict[str, Any] = {"author_filter": True, "candidates": 10, "instance": SOURCES[0]}
        self.params = PinpointParams(**vars(config), **asked)
        self._device, self._sources = "cpu", SOURCES
        self._galleries = galleries_of(folder, folder, SOURCES, "cpu")
        self.__dict__["_towers"] = towers
        retriever = open_retriever(config, SOURCES[0], self._galleries, folder)
        self.reranker = random_reranker(config)
        self._open[SOURCES[0]] = (retriever, self.reranker, CALIBRATION)
        self.retriever = retriever

    def answers(self, queries: Queries) -> Predictions:
        """Tile by tile as the runner asks, the last one padded."""
        parts = []
        for tile in tiles(len(queries), TILE):
            rows = padded(tile, TILE)
            asked = Queries(
                queries.key[rows], queries.author_token[rows], ["photos"] * TILE, queries.input[rows]
            )
            parts.append((self.predict(asked), len(tile)))
        return Predictions(
            np.concatenate([answer.coordinates[:count] for answer, count in parts]),
            np.concatenate([answer.confidence[:count] for answer, count in parts]),  # type: ignore[index]
        )


def random_reranker(config: PinpointConfig) -> Any:
    torch.manual_seed(0)
    model = build_reranker(config, config.embedding, feature_count(1))
    torch.nn.init.normal_(model.score.weight, std=0.05)  # type: ignore[union-attr,arg-type]
    return model.eval().requires_grad_(False)


def assemble(folder: Path, config: PinpointConfig, each: dict[str, Photos]) -> Assembled:
    """The files of the stages `gallery` and `support` under their names, and the method over them."""
    width = each[SOURCES[0]].raw.shape[1]
    with torch.random.fork_rng():
        towers = Towers(config, width, SOURCES).initialise(config, 0).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    places = {source: xyz_of(taken.coordinates) for source, taken in each.items()}
    for source, taken in each.items():
        other = next(name for name in SOURCES if name != source)
        image = in_tiles(partial(towers.image, source=source), taken.raw, "cpu")
        # An untrained location tower knows no pictures: a place's embedding is that of a photo there.
        location = torch.nn.functional.normalize(
            image.float() + 0.03 * torch.randn(image.shape, generator=generator), dim=1
        )
        matrices = {"raw": unit_rows(taken.raw), "image": image, "location": location.half()}
        for channel, matrix in matrices.items():
            np.save(folder / f"{source}.{channel}.npy", matrix.numpy())
        columns = {
            "id": taken.ids,
            "latitude": taken.coordinates[:, 0],
            "longitude": taken.coordinates[:, 1],
            "author": taken.author,
        }
        pq.write_table(pa.table(columns), folder / f"{source}.rows.parquet")
        write_surveys(folder, source)
        near = SupportIndex(Rows(xyz=places[other])).nearest(
            places[source], config.support_neighbours, config.support_km
        )
        np.save(folder / f"{source}.support.npy", near.rows)
    method = Assembled(config, folder, towers)
    for source in SOURCES:
        method._galleries[source].searchable(CHANNELS)
    return method


def world(
    folder: Path, rows: int, queries: int, width: int = 512, config: PinpointConfig = MINI
) -> tuple[Assembled, dict[str, Photos], Photos, Queries]:
    """A gallery of each source, and photos to ask about by the same people."""
    people = max(1, rows // 24)
    each = {source: photos(source, rows, width, people, seed) for seed, source in enumerate(SOURCES, 1)}
    asking = photos("query", queries, width, people, 9)
    folder.mkdir(exist_ok=True)
    method = assemble(folder, config, each)
    given = Queries(hash_ids(asking.ids), hash_ids(asking.author), ["photos"] * queries, asking.raw)
    return method, each, asking, given


def scored(truth: Floats, answers: Floats) -> dict[float, float]:
    shares = metrics.hits(geodesic_km(truth, answers), RADII_KM, inclusive=False).mean(axis=0)
    return dict(zip(RADII_KM, shares.tolist(), strict=True))


# The peer


class Peer:
    """Every step with the library that one would take for it, query by query where that is easiest."""

    def __init__(self, method: Assembled, each: dict[str, Photos], asking: Photos) -> None:
        self.method, self.asking = method, asking
        own, other = (each[source] for source in SOURCES)
        self.own, self.other = own, other
        gallery, near = (method._galleries[source] for source in SOURCES)
        self.rows = {channel: gallery.vectors(channel).float() for channel in CHANNELS}
        self.near_image = near.vectors("image").float()
        self.indexes: dict[str, Any] = {}
        for channel, matrix in self.rows.items():
            self.indexes[channel] = faiss.IndexFlatIP(matrix.shape[1])
            self.indexes[channel].add(matrix.numpy())
        self.spare = max(Counter(own.author).values())
        self.tree = BallTree(np.radians(other.coordinates), metric="haversine")
        self.author = {"own": np.array(own.author), "other": np.array(other.author)}

    def embed(self, queries: slice) -> dict[str, Tensor]:
        """The query in each channel; both use the same towers."""
        raw = self.asking.raw[queries]
        image = self.method._image(SOURCES[0], raw)
        return {"image": image.float(), "raw": unit_rows(raw).float(), "location": image.float()}

    def search(self, vectors: dict[str, Tensor]) -> dict[str, NDArray[np.int64]]:
        """More neighbours of every query than it may see; those of its photographer go in `choose`."""
        wanted = quotas(self.method.params)
        return {
            channel: index.search(vectors[channel].numpy(), wanted[channel] + self.spare)[1]
            for channel, index in self.indexes.items()
        }

    def search_selected(self, vectors: dict[str, Tensor], position: int, query: int) -> None:
        """The neighbours that one query may see, in each channel."""
        hidden = np.flatnonzero(self.author["own"] == self.asking.author[query])
        for channel, wanted in quotas(self.method.params).items():
            parameters = faiss.SearchParameters()
            parameters.sel = faiss.IDSelectorNot(faiss.IDSelectorBatch(hidden))
            self.indexes[channel].search(vectors[channel][position][None].numpy(), wanted, params=parameters)

    def choose(self, found: dict[str, NDArray[np.int64]], query: int, position: int) -> NDArray[np.int64]:
        chosen = []
        for channel, wanted in quotas(self.method.params).items():
            rows = found[channel][position]
            chosen.append(rows[self.author["own"][rows] != self.asking.author[query]][:wanted])
        return np.concatenate(chosen)

    def support(self, rows: NDArray[np.int64], query: int) -> Tensor:
        """Rows near each candidate, `(c, used)`, -1 for none."""
        config = self.method.params
        angle, near = self.tree.query(np.radians(self.own.coordinates[rows]), config.support_neighbours)
        left = np.full((len(rows), config.support_used), -1)
        for candidate in range(len(rows)):
            listed = near[candidate][angle[candidate] * EARTH_RADIUS_KM <= config.support_km]
            listed = listed[self.author["other"][listed] != self.asking.author[query]]
            left[candidate, : len(listed[: config.support_used])] = listed[: config.support_used]
        return torch.from_numpy(left)

    def lists(
        self, vectors: dict[str, Tensor], rows: NDArray[np.int64], support: Tensor, position: int
    ) -> CandidateBatch:
        """What the reranker reads of one query."""
        row = torch.from_numpy(rows)
        scores = torch.stack([self.rows[c][row] @ vectors[c][position] for c in ("image", "raw", "location")])
        valid = support >= 0
        similar = self.near_image[support.clamp(min=0)] @ vectors["image"][position]  # (c, m)
        count = valid.sum(dim=1)
        mean = (similar * valid).sum(dim=1) / count.clamp(min=1)
        highest = similar.masked_fill(~valid, -1.0).amax(dim=1)
        _, first = np.unique(rows, return_index=True)
        unique = torch.zeros(len(rows), dtype=torch.bool)
        unique[torch.from_numpy(first)] = True
        return CandidateBatch(
            query=vectors["image"][position][None],
            row=row[None],
            valid=unique[None],
            scores=scores.T[None],
            xyz=torch.zeros(1, len(rows), 3),
            support=support[None],
            support_facts=torch.stack([highest, mean, torch.log1p(count)], dim=1)[None],
            features=torch.zeros(1, len(rows), feature_count(1)),
        )

    def rerank(self, lists: CandidateBatch) -> int:
        """The gallery row that one query's best candidate is."""
        with torch.no_grad():
            scores = self.method.reranker(lists, self.method.retriever)[0]
        probability = torch.cat([scores / TEMPERATURE, torch.tensor([NONE])]).softmax(dim=0)[:-1]
        return int(lists.row[0, int(probability.argmax())])

    def score(self, truth: Floats, answers: Floats) -> dict[float, float]:
        km = np.array([geodesic(tuple(a), tuple(b)).km for a, b in zip(truth, answers, strict=True)])
        return {radius: float((km < radius).mean()) for radius in RADII_KM}


def peer_seconds(peer: Peer, first: int, some: int) -> tuple[Seconds, Floats, list[CandidateBatch]]:
    """Seconds per query of each phase, from some queries; the answers to these, and their lists."""
    clock, spent = time.process_time, Seconds(float)
    vectors = peer.embed(slice(first, first + FAISS_BATCH))
    batch = len(vectors["raw"])
    at = [clock()]
    found = peer.search(vectors)
    at.append(clock())
    for position in range(SELECTOR_QUERIES):
        peer.search_selected(vectors, position, first + position)
    at.append(clock())
    spent["over-fetch"], spent["selector"] = (at[1] - at[0]) / batch, (at[2] - at[1]) / SELECTOR_QUERIES
    answers, known = [], []
    for position in range(some):
        at = [clock()]
        rows = peer.choose(found, first + position, position)
        at.append(clock())
        support = peer.support(rows, first + position)
        at.append(clock())
        known.append(peer.lists(vectors, rows, support, position))
        answers.append(peer.rerank(known[-1]))
        at.append(clock())
        for phase, (begun, ended) in zip(("exclusion", "support", "rerank"), pairwise(at), strict=True):
            spent[phase] += (ended - begun) / some
    places = peer.own.coordinates[answers]
    started = clock()
    peer.score(peer.asking.coordinates[first : first + some], places)
    spent["score"] = (clock() - started) / some
    return spent, places, known


# Ours, phase by phase


class Phases:
    """Processor time of wrapped functions, each without what it calls of the others."""

    def __init__(self) -> None:
        self.seconds = Seconds(float)
        self._within: list[float] = []

    def timed(self, phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            self._within.append(0.0)
            started = time.process_time()
            try:
                return work(*args, **named)
            finally:
                spent = time.process_time() - started
                self.seconds[phase] += spent - self._within.pop()
                if self._within:
                    self._within[-1] += spent

        return wrapped

    def watch(self, method: Assembled) -> None:
        """From here on; what is named nowhere counts as `other`."""
        owners: list[tuple[Any, str, str]] = [
            (method, "predict", "other"),
            (method, "_image", "towers"),
            (method, "_exclusion", "exclusion"),
            (engine, "blocked_cells", "exclusion"),
            (method.retriever, "find", "search"),
            (method.retriever, "lists", "lists"),
            (method.retriever, "_support", "support"),
            (method.retriever, "_support_facts", "support"),
            (method.retriever.selection, "features", "features"),
            (method_module, "scores_of", "rerank"),
            (method_module, "decide", "decode"),
        ]
        for owner, name, phase in owners:
            setattr(owner, name, self.timed(phase, getattr(owner, name)))


def check(ours: Assembled, given: Queries, peer: Peer, places: Floats, known: list[CandidateBatch]) -> None:
    """On the first tile: the same candidates, support as far away, and from the same of both one answer."""
    count, first = min(TILE, len(known)), np.arange(TILE)
    caught: list[CandidateBatch] = []
    make = ours.retriever.lists

    def watched(*args: Any) -> CandidateBatch:
        caught.append(make(*args))
        return caught[0]

    ours.retriever.lists = watched  # type: ignore[method-assign,assignment]
    asked = Queries(given.key[first], given.author_token[first], ["photos"] * TILE, given.input[first])
    answer = ours.predict(asked)
    ours.retriever.lists = make  # type: ignore[method-assign]
    row = torch.cat([lists.row for lists in known[:count]]).numpy()
    near = torch.cat([lists.support for lists in known[:count]]).numpy()
    my_near = caught[0].support[:count].numpy()
    equal = (caught[0].row[:count].numpy() == row).all(axis=1)
    assert equal.mean() > 0.98, f"{equal.mean():.3f} of the lists"  # float32 swaps a pair now and then
    for query, candidate in np.ndindex(*row.shape):
        if equal[query]:
            km = [
                support_km(peer, int(row[query, candidate]), rows[query, candidate])
                for rows in (my_near, near)
            ]
            np.testing.assert_allclose(km[0], km[1], rtol=0.01, atol=0.002)  # a sphere there, WGS84 here
    # Among photos of one place either may take others; a list with the same ones has the same answer.
    alike = equal & (np.sort(my_near, axis=2) == np.sort(near, axis=2)).all(axis=(1, 2))
    agreed = (answer.coordinates[:count] == places[:count]).all(axis=1)
    assert alike.mean() > 0.2
    assert agreed[alike].mean() > 0.99, f"{agreed[alike].mean():.3f} of {alike.sum()} answers"
    print(
        f"e2e/cached checked {count} queries: {100 * equal.mean():.1f} % have the same candidates, "
        f"{100 * alike.mean():.1f} % the same support too, {100 * agreed[alike].mean():.1f} % of these the "
        f"same answer, and {100 * agreed.mean():.1f} % of all",
        flush=True,
    )


def support_km(peer: Peer, candidate: int, support: NDArray[np.int64]) -> Floats:
    near = peer.other.coordinates[support[support >= 0]]
    return np.sort(geodesic_km(near, peer.own.coordinates[candidate]))


def bench_cached(options: argparse.Namespace) -> bool:
    """Every round has its own part of the queries."""
    step, some = options.queries // options.pairs, options.slice // options.pairs
    ways = {"selector": ("over-fetch", "exclusion"), "over-fetch": ("selector",)}  # what each does without
    ratios: dict[str, list[float]] = {way: [] for way in ways}
    theirs = Seconds(float)
    mine, wall = [], 0.0
    with tempfile.TemporaryDirectory() as base:
        method, each, asking, given = world(Path(base) / "world", options.rows, options.queries)
        peer = Peer(method, each, asking)
        _, places, known = peer_seconds(peer, 0, min(options.slice, TILE))
        check(method, given, peer, places, known)
        phases = Phases()
        phases.watch(method)
        score = phases.timed("score", scored)
        for first in range(0, step * options.pairs, step):
            begun, started = time.perf_counter(), time.process_time()
            answers = method.answers(taken(given, slice(first, first + step)))
            score(asking.coordinates[first : first + step], answers.coordinates)
            mine.append((time.process_time() - started) / step)
            wall += time.perf_counter() - begun
            spent, _, _ = peer_seconds(peer, first, some)
            for phase in spent:
                theirs[phase] += spent[phase]
            for way, without in ways.items():
                ratios[way].append(sum(spent[phase] for phase in spent if phase not in without) / mine[-1])
    count = step * options.pairs
    print(
        f"e2e/cached {count:,} x {options.rows:,}: {1e3 * statistics.median(mine):.2f} ms a query "
        f"({1e3 * min(mine):.2f} to {1e3 * max(mine):.2f}), {count * statistics.mean(mine):.1f} s in all; "
        f"by the clock {wall:.1f} s\n  " + shares(phases.seconds)
    )
    middles = {way: statistics.median(found) for way, found in ratios.items()}
    for way, middle in middles.items():
        state(f"e2e/cached {count:,} x {options.rows:,} against {way}", middle)
    aims = {
        "selector": f"gate {GATE_CACHED:g}x, aim {AIM_CACHED:g}x",
        "over-fetch": f"gate {GATE_OVER_FETCH:g}x",
    }
    for way, without in ways.items():
        used = {phase: spent for phase, spent in theirs.items() if phase not in without}
        whole = 1e3 * sum(used.values()) / options.pairs
        print(
            f"  peer, {way}: {middles[way]:.1f}x ({min(ratios[way]):.1f} to {max(ratios[way]):.1f})  "
            f"{whole:.2f} ms a query, from {some * options.pairs}  {aims[way]}\n    " + shares(used),
            flush=True,
        )
    return middles["selector"] >= GATE_CACHED and middles["over-fetch"] >= GATE_OVER_FETCH


def shares(seconds: Mapping[str, float]) -> str:
    whole, ordered = sum(seconds.values()), sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{phase} {100 * spent / whole:.0f} %" for phase, spent in ordered)


def bench_share(options: argparse.Namespace) -> bool:
    """One photo, from a JPEG in memory to a place, as `pinpoint locate` does it."""
    from tests.support.processors import SiglipImageProcessorPil
    from transformers import SiglipVisionConfig, SiglipVisionModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        torch.manual_seed(0)
        SiglipVisionModel(SiglipVisionConfig()).save_pretrained(folder / "siglip")
        SiglipImageProcessorPil().save_pretrained(folder / "siglip")
        backbone = HuggingFaceTower(folder / "siglip", Context())
        method, _, _, given = world(folder / "world", options.rows, 16, backbone.width)
        picture = jpeg()
        rounds: list[list[float]] = []  # decoding, encoding, answering
        for number in range(options.pairs + 1):
            at = [time.process_time()]
            prepared = backbone.prepare(decode(picture))  # type: ignore[arg-type]
            at.append(time.process_time())
            features = backbone.features([prepared]).half()
            at.append(time.process_time())
            # Random weights put all pictures far from the gallery: what is answered is other features.
            asked = taken(given, slice(number, number + 1))
            assert features.shape == asked.input.shape
            assert np.isfinite(method.predict(asked).coordinates).all()
            at.append(time.process_time())
            if number:  # the first loads the network and touches every page of the gallery
                rounds.append([after - before for before, after in pairwise(at)])
    share = [100 * (sum(spent) - spent[1]) / sum(spent) for spent in rounds]
    milliseconds = [1e3 * statistics.median(part) for part in zip(*rounds, strict=True)]
    print(
        f"e2e/share one photo, gallery of {options.rows:,}: {statistics.median(share):.1f} % beside the "
        f"encoder ({min(share):.1f} to {max(share):.1f})  decoding {milliseconds[0]:.1f}, SigLIP base "
        f"{milliseconds[1]:.0f}, answer {milliseconds[2]:.1f} ms  gate {GATE_SHARE:g} %, aim {AIM_SHARE:g} %",
        flush=True,
    )
    return statistics.median(share) <= GATE_SHARE


def jpeg() -> bytes:
    random, stream = np.random.default_rng(0), io.BytesIO()
    coarse = Image.fromarray(random.integers(0, 256, (75, 100, 3), dtype=np.uint8))
    coarse.resize((500, 375), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def bench_growth(options: argparse.Namespace) -> bool:
    """Time against the number of queries and of gallery rows, on a log-log scale."""
    counts = [count for count in (500, 1000, 2000, 4000, 8000) if count <= options.queries]
    sizes = [size for size in (10_000, 20_000, 50_000, 100_000) if size <= options.most_rows]
    by_rows = []
    with tempfile.TemporaryDirectory() as base:
        for size in sizes:
            method, _, _, given = world(Path(base) / str(size), size, counts[-1] if size == sizes[0] else 512)
            by_rows.append(least_seconds(method, taken(given, slice(512)), 3))
            if size == sizes[0]:
                by_queries = [
                    least_seconds(method, taken(given, slice(n)), 3 if n < 2000 else 1) for n in counts
                ]
    within = slope(f"queries against {sizes[0]:,} rows", counts, by_queries)
    return slope("rows, 512 queries", sizes, by_rows) and within


def taken(queries: Queries, part: slice) -> Queries:
    return Queries(queries.key[part], queries.author_token[part], queries.source[part], queries.input[part])


def least_seconds(method: Assembled, queries: Queries, repeats: int) -> float:
    method.answers(taken(queries, slice(TILE)))
    found = []
    for _ in range(repeats):
        started = time.process_time()
        method.answers(queries)
        found.append(time.process_time() - started)
    return min(found)


def slope(title: str, sizes: list[int], seconds: list[float]) -> bool:
    fitted = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    listed = ", ".join(f"{size:,}: {spent:.2f} s" for size, spent in zip(sizes, seconds, strict=True))
    print(f"e2e/growth {title}: slope {fitted:.3f} ({listed})  gate {LARGEST_SLOPE}", flush=True)
    return fitted <= LARGEST_SLOPE


CASES: dict[str, Callable[[argparse.Namespace], bool]] = {
    "cached": bench_cached,
    "share": bench_share,
    "growth": bench_growth,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rows", type=int, default=48_000, help="of the gallery of each source")
    parser.add_argument("--queries", type=int, default=8_000)
    parser.add_argument("--slice", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--most-rows", type=int, default=100_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    failed = [name for name in options.cases or CASES if not CASES[name](options)]
    if failed:
        print(f"beyond the gate: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
