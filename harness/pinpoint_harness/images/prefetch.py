"""Decoding ahead of whoever consumes pictures, in order, with bounded memory.

Threads, not processes: Pillow, simplejpeg and torch release the interpreter while they work, and
objects of a `--plugin FILE` could not cross into another process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batching import Tile
from ..devices import usable_cores
from .budget import Budget, picture_bytes
from .containers import Failure, ImageStore
from .decode import decode, decoding_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Remark = Callable[[int, str], None]


def _as_it_is(pixels: Pixels) -> Pixels:
    return pixels


def prefetch(
    read: Callable[[int], Any],
    count: int,
    *,
    threads: int = 2,
    depth: int = 16,
    transform: Callable[[Pixels], Any] = _as_it_is,
    remark: Remark | None = None,
    memory: int | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """`(index, picture or failure)` for 0..count-1 in that order, decoded by a few threads.

    `read` gives the bytes of a picture, or what comes in its place such as a `Failure`, and is called from
    the threads; `transform`, such as a resize, is applied there to each decoded picture; `remark` is told
    there, with the index, what `decode` remarks. No more than `depth` pictures exist at a time, the one in
    the consumer's hands included; those that wait or are being decoded take no more than `memory` bytes
    (default `picture_bytes()`), unless a single one does. An exception in `read` or `transform` is raised to
    the consumer at its picture. Closing the iterator stops the threads, each after the picture it is at.
    """
    if threads < 1 or depth < 1:
        raise ValueError(f"threads and depth must be 1 or more, not {threads} and {depth}")

    def decoded(index: int, data: bytes) -> Any:
        image = decode(data) if remark is None else decode(data, remark=partial(remark, index))
        return image if isinstance(image, Failure) else transform(image)

    budget = Budget(picture_bytes() if memory is None else memory)
    return _in_order(partial(_prepare, read, decoded, budget), count, threads, depth, budget)


def _prepare(
    read: Callable[[int], Any], decoded: Callable[[int, bytes], Any], budget: Budget, index: int
) -> tuple[Any, int]:
    """What comes of a picture, and the bytes of the budget that it still holds."""
    try:
        data = read(index)
    except BaseException:
        budget.take(index, 0)
        raise
    if not isinstance(data, bytes):
        budget.take(index, 0)
        return data, 0
    at_work = decoding_bytes(data)
    budget.take(index, at_work)
    held = 0
    try:
        result = decoded(index, data)
        held = min(at_work, _bytes_of(result))
    finally:
        budget.give_back(at_work - held)
    return result, held


def _bytes_of(result: Any) -> int:
    """What a picture, or what was made of it, takes; 0 for what is not known to take much."""
    if isinstance(result, tuple | list):
        return sum(map(_bytes_of, result))
    size = getattr(result, "nbytes", 0)
    return size if isinstance(size, int) else 0


def prefetch_tiles(
    images: ImageStore,
    refs: NDArray[np.int64],
    tiles: Sequence[Tile],
    depth: int,
    transform: Callable[[Pixels], Any] = _as_it_is,
    seen: Callable[[int, bytes | Failure], Any] = lambda row, data: data,
) -> Generator[tuple[int, Any], None, None]:
    """`prefetch` of the rows of all tiles in turn; `refs` holds the position in `images` of every row.

    `seen` is told, from the threads, what was read of each row, and gives what goes on in its place: the
    same, or anything else than bytes, which is yielded as it is.
    """
    rows = np.concatenate([np.arange(tile.start, tile.stop) for tile in tiles] or [np.empty(0, np.int64)])

    def read(index: int) -> Any:
        return seen(int(rows[index]), images.read(refs[rows[index]]))

    return prefetch(
        read,
        len(rows),
        threads=usable_cores(),
        depth=depth,
        transform=transform,
        remark=lambda index, text: images.remark(refs[rows[index]], text),
    )


def _in_order(
    prepare: Callable[[int], tuple[Any, int]], count: int, threads: int, depth: int, budget: Budget
) -> Generator[tuple[int, Any], None, None]:
    pending: deque[Future[Any]] = deque()
    executor = ThreadPoolExecutor(min(threads, depth), thread_name_prefix="pinpoint-decode")
    try:
        submitted = 0
        for index in range(count):
            while submitted < count and len(pending) < depth:
                pending.append(executor.submit(prepare, submitted))
                submitted += 1
            result, held = pending.popleft().result()
            budget.give_back(held)
            yield index, result
    finally:
        budget.close()
        executor.shutdown(wait=True, cancel_futures=True)
