"""The search: every channel in one call, one pass over each matrix per batch of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import DataError
from . import exact, kernels
from .exclusion import Blocked, Exclusion, blocked_cells
from .placement import HostRows
from .result import Hits, SearchResult, Statistics
from .scan import Outcome, Scan, Task
from .slices import PIECE_QUERIES, describe

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from .gallery import Channel, Gallery
    from .slices import Slice

_BATCH_QUERIES = {"cpu": 1024, "cuda": 4096}
_BATCHES_AT_ONCE = 8
"""Batches that read one stretch of the gallery after another, before the next is read."""

_STRETCH_BYTES = 64 << 20
_BLOCKED_PAIRS = 1 << 21
_GIVE_UP_AT = 4096
"""So many rows within the error of one query's k-th score, beyond k, call for a finer kernel."""


FirstLook = Callable[[str, "Channel", Sequence[tuple["Tensor", Task]]], Sequence[tuple[str, Outcome]]]
"""Finds what it can for some batches in one channel; names itself and the queries it leaves open in each."""


def search(
    gallery: Gallery,
    queries: Mapping[str, Tensor | NDArray[Any] | HostRows],
    k: Mapping[str, int],
    exclusion: Exclusion | None = None,
) -> SearchResult:
    """The `k[channel]` rows with the largest inner product, for every channel that has queries.

    Queries, `(n, width)` fp16 or float32, are rounded to fp16 like the gallery: the fp16 values
    define the problem, and the answer to it is exact. Excluded rows are never seen. Results lie on
    the gallery's device. Memory does not grow with the number of queries beyond the answer itself.
    A gallery in slices is asked by all processes that hold one, and all get the answer.
    """
    if gallery.part is None:
        return run_search(gallery, queries, k, exclusion, _by_block_maxima)
    return _search_slices(gallery, gallery.part, queries, k, exclusion)


def _search_slices(
    gallery: Gallery,
    part: Slice,
    queries: Mapping[str, Tensor | NDArray[Any] | HostRows],
    k: Mapping[str, int],
    exclusion: Exclusion | None,
) -> SearchResult:
    """Each process searches its slice for the first one's queries; statistics are of this slice."""
    count = _checked_count(gallery, queries, k)
    if exclusion is not None:
        exclusion.check(count, part.whole)
    part.check_same(describe(queries, k, part.whole))
    hits: dict[str, list[Hits]] = {name: [] for name in queries}
    statistics: dict[str, list[Statistics]] = {name: [] for name in queries}
    for start in range(0, max(count, 1), PIECE_QUERIES):
        piece = slice(start, start + PIECE_QUERIES)
        told = {name: part.told(given[piece], gallery.device) for name, given in queries.items()}
        hidden = None if exclusion is None else part.own(exclusion.take(piece))
        found = run_search(gallery, told, k, hidden, _by_block_maxima)
        for name in queries:
            hits[name].append(part.best_of_all(found[name], gallery.rank))
            statistics[name].append(found.statistics[name])
    joined = {
        name: Hits(
            *(torch.cat([getattr(one, what) for one in each]) for what in ("rows", "scores", "counts"))
        )
        for name, each in hits.items()
    }
    return SearchResult(joined, {name: _summed(each) for name, each in statistics.items()})


def run_search(
    gallery: Gallery,
    queries: Mapping[str, Tensor | NDArray[Any] | HostRows],
    k: Mapping[str, int],
    exclusion: Exclusion | None,
    first_look: FirstLook,
) -> SearchResult:
    """Search some batches at a time with `first_look`, and settle in float32 what it leaves open."""
    with torch.no_grad():
        count = _checked_count(gallery, queries, k)
        if exclusion is not None:
            exclusion.check(count, gallery.count)
        parts: dict[str, list[tuple[Outcome, Statistics]]] = {name: [] for name in queries}
        batches = _batches(gallery, exclusion, count)
        while together := list(islice(batches, _BATCHES_AT_ONCE)):
            for name, given in queries.items():
                channel = gallery.channels[name]
                asked: list[tuple[Tensor, Task]] = []
                for batch, blocked in together:
                    vectors = _prepared(name, given[batch], gallery.device)
                    spare = _spare(channel, blocked, len(vectors))
                    asked.append((vectors, Task(min(k[name], gallery.count), gallery.rank, blocked, spare)))
                for (vectors, task), (used, outcome) in zip(
                    asked, first_look(name, channel, asked), strict=True
                ):
                    parts[name].append(_settled(channel, vectors, task, used, outcome))
        hits = {name: _joined(done, k[name], gallery.device) for name, done in parts.items()}
    return SearchResult(hits, {name: _summed([own for _, own in done]) for name, done in parts.items()})


def _checked_count(
    gallery: Gallery, queries: Mapping[str, Tensor | NDArray[Any] | HostRows], k: Mapping[str, int]
) -> int:
    """How many queries there are, if they fit the gallery and one another."""
    for name, given in queries.items():
        if name not in gallery.channels:
            raise DataError(f"the gallery has no channel '{name}'", found=", ".join(gallery.channels))
        width = gallery.channels[name].width
        if given.ndim != 2 or given.shape[1] != width or "float" not in str(given.dtype):
            raise DataError(
                f"queries of channel '{name}' are floats of shape (n, {width})",
                found=f"shape {tuple(given.shape)}, {given.dtype}",
            )
    counts = {len(given) for given in queries.values()}
    if len(counts) != 1:
        raise DataError("every channel has the same queries", found=f"{sorted(counts)} queries")
    if set(k) != set(queries) or min(k.values()) < 1:
        raise DataError("k is 1 or more for every channel that has queries", found=f"{dict(k)}")
    return counts.pop()


def _prepared(name: str, given: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """A batch of queries in float32 that holds fp16 values."""
    if not isinstance(given, torch.Tensor):
        # Out of range becomes infinite, and is refused below.
        with np.errstate(over="ignore"):
            given = torch.from_numpy(given.astype(np.float16))
    vectors = given.to(device).half().float().contiguous()
    if not bool(torch.isfinite(vectors).all()):
        raise DataError(
            f"queries of channel '{name}' are numbers within the range of fp16",
            found="NaN, infinity or more than 65,504",
            fix="leave failed queries out and normalise the others",
        )
    return vectors


def _batches(gallery: Gallery, exclusion: Exclusion | None, count: int) -> Iterator[tuple[slice, Blocked]]:
    """Slices of queries with what is blocked, halved where places have too many rows around them to list.

    One query can block every row, so a batch of one is always let through.
    """
    largest = _BATCH_QUERIES[gallery.device.type]
    stack = [slice(start, min(start + largest, count)) for start in range(0, count, largest)][::-1]
    while stack:
        batch = stack.pop()
        size = batch.stop - batch.start
        chosen = exclusion.take(batch) if exclusion is not None else None
        blocked = blocked_cells(chosen, gallery.rows, size, _BLOCKED_PAIRS if size > 1 else None)
        if blocked is None:
            middle = batch.start + size // 2
            stack += [slice(middle, batch.stop), slice(batch.start, middle)]
        else:
            yield batch, blocked


def _by_block_maxima(
    name: str, channel: Channel, asked: Sequence[tuple[Tensor, Task]]
) -> list[tuple[str, Outcome]]:
    """One pass over the channel for all batches: a stretch of it is read once and serves each in turn."""
    scans = [Scan(kernels.choose(channel, vectors), task, _GIVE_UP_AT + task.k) for vectors, task in asked]
    matrix, tile = channel.matrix, scans[0].tile
    stretch = max(1, _STRETCH_BYTES // (2 * channel.width * tile)) * tile
    if isinstance(matrix, HostRows):
        matrix.read_by(tile)
        stretch = matrix.stretch
    if len(scans) == 1:
        stretch = max(1, len(matrix))  # nobody else reads it
    for start in range(0, len(matrix), stretch):
        for scan in scans:
            scan.advance(min(start + stretch, len(matrix)))
    return [(type(scan.kernel).__name__, scan.outcome()) for scan in scans]


def _settled(
    channel: Channel, vectors: Tensor, task: Task, used: str, outcome: Outcome
) -> tuple[Outcome, Statistics]:
    """The outcome with its open queries answered, however many exact scores they take."""
    chosen, rescored = outcome.uncertified, outcome.rescored
    if len(chosen):
        kernel = kernels.rescoring_kernel(channel, vectors[chosen])
        again = Scan(kernel, _narrowed(task, chosen, len(vectors)), None).run()
        outcome.keys[chosen], outcome.rows[chosen] = again.keys, again.rows
        outcome.counts[chosen] = again.counts
        rescored += again.rescored
    return outcome, Statistics(used, len(vectors), len(chosen), rescored)


def _spare(channel: Channel, blocked: Blocked, queries: int) -> Tensor | None:
    """At most so many of each query's blocked rows have equals that take their place."""
    if channel.ordinal is None or not blocked:
        return None
    return torch.from_numpy(blocked.counts(queries)).to(channel.ordinal.device)


def _narrowed(task: Task, chosen: Tensor, queries: int) -> Task:
    """The same task for some of its queries."""
    blocked = task.blocked.take(chosen.cpu().numpy(), queries)
    return Task(task.k, task.rank, blocked, None if task.spare is None else task.spare[chosen])


def _joined(parts: list[tuple[Outcome, Statistics]], k: int, device: torch.device) -> Hits:
    """All batches below one another, widened to k columns where the gallery has fewer rows."""
    none = torch.empty(0, dtype=torch.int64, device=device)
    keys, rows, counts = exact.topk_per_query(none, none, none, (sum(len(done.rows) for done, _ in parts), k))
    start = 0
    for done, _ in parts:
        stop, width = start + done.rows.shape[0], done.rows.shape[1]
        keys[start:stop, :width], rows[start:stop, :width] = done.keys, done.rows
        counts[start:stop] = done.counts
        start = stop
    return Hits.of(keys, rows, counts)


def _summed(each: list[Statistics]) -> Statistics:
    return Statistics(
        kernel=" + ".join(sorted({part.kernel for part in each})),
        queries=sum(part.queries for part in each),
        uncertified=sum(part.uncertified for part in each),
        rescored=sum(part.rescored for part in each),
    )
