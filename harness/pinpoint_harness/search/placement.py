"""Where a matrix lies while it is searched: on the device, in pinned host memory, or mapped from its file.

What fits beside the work stays on the device. What does not comes to it a stretch of rows at a time, the next
one on its way while one is worked at: from pinned memory where the host has room, else from the file.
A CPU always works on the file itself, mapped.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..images.budget import memory_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

log = logging.getLogger(__name__)

_DEVICE_RESERVE = 3 << 30
"""Bytes that tiles of scores, queries and networks take beside a gallery."""

_HOST_SHARE = 0.75
"""Of the free host memory, what may be pinned: it cannot be taken back."""

_COPIED_SHARE = 1 / 16
"""Of a CPU's free memory, what a rewritten copy may take: searches of few queries are faster in one."""

_STRETCH_BYTES = 64 << 20
_COPIED_ROWS = 16_384

Rewrite = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class FreeMemory:
    """Free bytes of a device and of the host."""

    device: int
    host: int

    @classmethod
    def measured(cls, device: torch.device) -> FreeMemory:
        """As it is now; a CPU is its own host."""
        host = _free_host_bytes()
        return cls(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host, host)


def _free_host_bytes() -> int:
    """What the system says it could give, within what a container allows."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    return min(int(found[1]) * 1024 if found else memory_bytes() // 2, memory_bytes())


class HostRows:
    """A matrix `(rows, width)` of fp16 that stays on the host, read as a tensor on a device would be.

    Consecutive rows are taken a stretch at a time, and with `ahead` the next stretch is fetched by
    a thread meanwhile. `rewrite` makes of rows as they lie those that are meant, each by itself; with
    `numbers` the matrix consists of those of them alone.
    """

    dtype, ndim = torch.float16, 2

    def __init__(
        self,
        host: Tensor,
        device: torch.device | str,
        rewrite: Rewrite | None = None,
        ahead: bool | None = None,
        numbers: Tensor | None = None,
    ) -> None:
        self._host, self.device, self._rewrite = host, torch.device(device), rewrite
        width = host.shape[1] if rewrite is None else rewrite(host[:1].to(self.device)).shape[1]
        self._numbers = numbers
        self.shape = torch.Size((len(host) if numbers is None else len(numbers), width))
        self.stretch = max(1, _STRETCH_BYTES // (2 * host.shape[1]))
        self.ahead = self.device.type == "cuda" if ahead is None else ahead
        self._threads: ThreadPoolExecutor | None = None
        self._current: tuple[int, Any] = (-1, None)
        self._coming: tuple[int, Future[Any]] | None = None
        self._stream: Any = None
        self._staging: Any = None
        self._sending = Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def part(self, rows: slice) -> HostRows:
        """Consecutive rows as a matrix of their own, of which nothing is read yet."""
        if self._numbers is None:
            return HostRows(self._host[rows], self.device, self._rewrite, self.ahead)
        return HostRows(self._host, self.device, self._rewrite, self.ahead, self._numbers[rows])

    def read_by(self, rows: int) -> None:
        """Let stretches be whole multiples of so many rows, so that no tile of them lies in two."""
        stretch = max(1, _STRETCH_BYTES // (2 * self._host.shape[1]) // rows) * rows
        if stretch != self.stretch:
            self.stretch, self._current, self._coming = stretch, (-1, None), None

    def __getitem__(self, rows: slice) -> Tensor:
        """Consecutive rows on the device."""
        start, stop, _ = rows.indices(len(self))
        number = start // self.stretch
        first = number * self.stretch
        if stop > first + self.stretch:
            across = self._lying(start, stop).to(self.device)
            return across if self._rewrite is None else self._rewrite(across)
        taken: Tensor = self._stretch(number)[start - first : stop - first]
        return taken

    def index_select(self, dimension: int, rows: Tensor) -> Tensor:
        """Any rows, gathered on the host."""
        taken = self._gathered(rows.to(self._host.device)).to(self.device)
        return taken if self._rewrite is None else self._rewrite(taken)

    def begin(self, rows: Tensor) -> Callable[[], Tensor]:
        """Any rows, gathered by a thread from now on; what is returned waits for them."""
        chosen = rows.to(self._host.device)
        self._threads = self._threads or ThreadPoolExecutor(1)
        coming = self._threads.submit(lambda: self._sent(self._gathered(chosen)))
        return lambda: self._received(*coming.result())

    def _gathered(self, rows: Tensor) -> Tensor:
        return self._host.index_select(0, rows if self._numbers is None else self._numbers[rows])

    def _stretch(self, number: int) -> Tensor:
        if self._current[0] != number:
            coming, self._coming = self._coming, None
            fetched = coming is not None and coming[0] == number
            rows, arrived = coming[1].result() if coming and fetched else self._bring(number)
            self._current = number, self._received(rows, arrived)
            if self.ahead and (number + 1) * self.stretch < len(self):
                self._threads = self._threads or ThreadPoolExecutor(1)
                self._coming = number + 1, self._threads.submit(self._bring, number + 1)
        found: Tensor = self._current[1]
        return found

    def _bring(self, number: int) -> tuple[Tensor, Any]:
        start = number * self.stretch
        return self._sent(self._lying(start, min(start + self.stretch, len(self))))

    def _lying(self, start: int, stop: int) -> Tensor:
        return self._host[start:stop] if self._numbers is None else self._host[self._numbers[start:stop]]

    def _received(self, rows: Tensor, arrived: Any) -> Tensor:
        """Rows that were sent, for what is computed from now on."""
        if arrived is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(arrived)
            rows.record_stream(stream)
        return rows

    def _sent(self, rows: Tensor) -> tuple[Tensor, Any]:
        """Rows on their way to the device by a stream of their own, and the event of their arrival."""
        if self.device.type != "cuda":
            with torch.no_grad():
                return (rows if self._rewrite is None else self._rewrite(rows)), None
        # One at a time, since they share a buffer; a thread has its own mode.
        with self._sending, torch.no_grad():
            cuda: Any = torch.cuda
            self._stream = self._stream or cuda.Stream(self.device)
            rows = self._pinned(rows)
            with cuda.stream(self._stream):
                brought = rows.to(self.device, non_blocking=True)
                if self._rewrite is not None:
                    brought = self._rewrite(brought)
                arrived = cuda.Event()
                arrived.record(self._stream)
        return brought, arrived

    def _pinned(self, rows: Tensor) -> Tensor:
        """The rows where a GPU can fetch them: rows of a file are read into a buffer."""
        if rows.is_pinned():
            return rows
        if self._staging is None or len(self._staging) < len(rows):
            self._staging = torch.empty_like(rows, pin_memory=True)
        self._stream.synchronize()  # the buffer is free once what was copied from it has arrived
        return self._staging[: len(rows)].copy_(rows)  # type: ignore[no-any-return]


def place(
    matrix: NDArray[np.float16] | Tensor,
    device: torch.device | str,
    what: str,
    *,
    rewrite: Rewrite | None = None,
    rows: NDArray[np.int64] | None = None,
    free: FreeMemory | None = None,
) -> Tensor | HostRows:
    """A matrix, or some of its rows, where `device` can use it, chosen by free memory and said in one line.

    `free` is measured where it is None. A CPU takes the matrix itself unless `free` is given. Where there
    is a `rewrite` it is copied if that takes a small part of the memory, and else rewritten as it is read.
    """
    device = torch.device(device)
    host = as_tensor(matrix)
    numbers = None if rows is None else torch.from_numpy(rows)
    if device.type == "cpu" and free is None:
        if rewrite is None and numbers is None:
            return host
        if rewrite is None or not is_small_copy(host.nbytes):
            return HostRows(host, device, rewrite, numbers=numbers)
        return _resident(HostRows(host, device, rewrite, numbers=numbers))
    free = free or FreeMemory.measured(device)
    mapped = HostRows(host, device, rewrite, ahead=True, numbers=numbers)
    size, on_host = 2 * mapped.shape.numel(), 2 * len(mapped) * host.shape[1]
    if size + min(_DEVICE_RESERVE, free.device // 4) <= free.device:
        _say(what, size, f"on {device}", free)
        return _resident(mapped)
    if on_host <= _HOST_SHARE * free.host:
        pin = torch.cuda.is_available()
        _say(what, on_host, "in pinned memory" if pin else "in memory: there is no CUDA to pin it for", free)
        return HostRows(_copied(host, pin, numbers), device, rewrite, ahead=True)
    _say(what, on_host, "on disk, mapped", free)
    return mapped


def is_small_copy(size: int) -> bool:
    """Whether a copy of so many bytes takes a small part of a CPU's free memory."""
    return size <= _COPIED_SHARE * _free_host_bytes()


def _say(what: str, size: int, where: str, free: FreeMemory) -> None:
    words = "%s: %.1f GB %s (free: %.1f GB of the device, %.1f GB of memory)"
    log.info(words, what, size / 1e9, where, free.device / 1e9, free.host / 1e9)


def _resident(rows: HostRows) -> Tensor:
    copy = torch.empty(rows.shape, dtype=torch.float16, device=rows.device)
    for start in range(0, len(rows), rows.stretch):
        copy[start : start + rows.stretch] = rows[start : start + rows.stretch]
    return copy


def _copied(host: Tensor, pin: bool, numbers: Tensor | None) -> Tensor:
    count = len(host) if numbers is None else len(numbers)
    copy = torch.empty((count, host.shape[1]), dtype=host.dtype, pin_memory=pin)
    for start in range(0, count, _COPIED_ROWS):
        some = slice(start, start + _COPIED_ROWS)
        copy[some] = host[some] if numbers is None else host[numbers[some]]
    return copy


def rows_of(matrix: Tensor | HostRows, rows: slice) -> Tensor | HostRows:
    """Consecutive rows of a matrix wherever it lies, without reading or copying them."""
    return matrix.part(rows) if isinstance(matrix, HostRows) else matrix[rows]


def as_tensor(matrix: NDArray[Any] | Tensor) -> Tensor:
    """The array itself as a tensor, without a copy."""
    if isinstance(matrix, torch.Tensor):
        return matrix
    with warnings.catch_warnings():
        # Read-only maps are wanted, and nothing here writes to a gallery.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(matrix)
