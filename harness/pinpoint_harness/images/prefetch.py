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
from .containers import Failure, ImageStore
from .decode import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Remark = Callable[[int, str], None]


def _as_it_is(pixels: Pixels) -> Pixels:
    return pixels


def prefetch(
    read: Callable[[int], bytes | Failure],
    count: int,
    *,
    threads: int = 2,
    depth: int = 16,
    transform: Callable[[Pixels], Any] = _as_it_is,
    remark: Remark | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """`(index, picture or failure)` for 0..count-1 in that order, decoded by a few threads.

    `read` gives the bytes of a picture and is called from the threads; `transform`, such as a
    resize, is applied there to each decoded picture; `remark` is told there, with the index, what
    `decode` remarks. No more than `depth` pictures exist at a
    time, the one in the consumer's hands included. An exception in `read` or `transform` is
    raised to the consumer at its picture. Closing the iterator stops the threads, each after the
    picture it is at.
    """
    if threads < 1 or depth < 1:
        raise ValueError(f"threads and depth must be 1 or more, not {threads} and {depth}")

    def prepare(index: int) -> Any:
        data = read(index)
        if isinstance(data, Failure):
            return data
        image = decode(data) if remark is None else decode(data, remark=partial(remark, index))
        return image if isinstance(image, Failure) else transform(image)

    return _in_order(prepare, count, threads, depth)


def prefetch_tiles(
    images: ImageStore,
    refs: NDArray[np.int64],
    tiles: Sequence[Tile],
    depth: int,
    transform: Callable[[Pixels], Any] = _as_it_is,
) -> Generator[tuple[int, Any], None, None]:
    """`prefetch` of the rows of all tiles in turn; `refs` holds the position in `images` of every row."""
    rows = np.concatenate([np.arange(tile.start, tile.stop) for tile in tiles] or [np.empty(0, np.int64)])
    return prefetch(
        lambda index: images.read(refs[rows[index]]),
        len(rows),
        threads=usable_cores(),
        depth=depth,
        transform=transform,
        remark=lambda index, text: images.remark(refs[rows[index]], text),
    )


def _in_order(
    prepare: Callable[[int], Any], count: int, threads: int, depth: int
) -> Generator[tuple[int, Any], None, None]:
    pending: deque[Future[Any]] = deque()
    executor = ThreadPoolExecutor(min(threads, depth), thread_name_prefix="pinpoint-decode")
    try:
        submitted = 0
        for index in range(count):
            while submitted < count and len(pending) < depth:
                pending.append(executor.submit(prepare, submitted))
                submitted += 1
            yield index, pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
