"""What every item has at hand: the device, the time left, a clock, and the floors of this run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from plan import Item

Work = Callable[[], object]

FULL_ROWS = 4_080_000
"""Rows of MP-16's gallery."""

BYTES_PER_ROW = 2 * (1536 + 256 + 256) + 4 * 64 + 64
"""Of a gallery in the sizes of `full`: its matrices, its table of support, and what is known of a row."""


class Skipped(Exception):  # noqa: N818 - no error
    """An item, or a part of one, that is left out for this reason."""


class Bench:
    """One process's view of the run.

    Every measure is wall time around synchronisations of the device: what the host has to do for
    the device counts as well.
    """

    def __init__(self, device: str, tiny: bool, left: float, roof: Mapping[str, float]) -> None:
        self.device, self.tiny = torch.device(device), tiny
        self.cuda = self.device.type == "cuda"
        self.roof: dict[str, float] = dict(roof)
        self.figures: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.broken = False
        """Whether the device may be in disorder: an error on a GPU makes all later calls fail as well."""
        self.kept: dict[str, Any] = {}
        """What items share: a gallery, a compiled encoder."""
        self._deadline = time.monotonic() + left
        self._item_ends = self._deadline

    def start(self, item: Item) -> None:
        self.figures, self.notes = [], []
        self._item_ends = time.monotonic() + 0.8 * item.limit
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()

    def left(self) -> float:
        """Seconds of the run that this item may still take."""
        return min(self._deadline, self._item_ends) - time.monotonic()

    def free_bytes(self) -> int:
        if not self.cuda:
            return 1 << 30
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info()[0])

    def peak_gib(self) -> float | None:
        return round(torch.cuda.max_memory_allocated() / 2**30, 2) if self.cuda else None

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full

    @cached_property
    def gallery_rows(self) -> int:
        """All of MP-16 where half of the free memory holds it, else as many as that does."""
        fit = self.free_bytes() // 2 // BYTES_PER_ROW
        return self.size(min(FULL_ROWS, fit), 1500)

    def generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, work: Work, repeat: int = 1) -> float:
        """Of one call, the mean of `repeat` in a row."""
        self.wait()
        begun = time.perf_counter()
        for _ in range(repeat):
            work()
        self.wait()
        return (time.perf_counter() - begun) / repeat

    def race(
        self, ways: Mapping[str, Work], rounds: int = 7, most_seconds: float = 8.0, repeat: int = 1
    ) -> dict[str, list[float]]:
        """Seconds of each way, taken in turn after a call to warm up; fewer rounds where time is short."""
        for work in ways.values():
            work()
        times: dict[str, list[float]] = {name: [] for name in ways}
        begun = time.monotonic()
        for number in range(2 if self.tiny else rounds):
            if number and (time.monotonic() - begun > most_seconds or self.left() < 0):
                self.notes.append(f"{number} of {rounds} rounds: time was short")
                break
            # Every second round backwards, so that who comes first gains nothing.
            for name in list(ways)[:: -1 if number % 2 else 1]:
                times[name].append(self.seconds(ways[name], repeat))
        return times

    def report(
        self,
        name: str,
        seconds: Sequence[float],
        *,
        floor: float | None = None,
        per_second: float | None = None,
        unit: str = "",
        peers: Mapping[str, Sequence[float]] | None = None,
        aim: str = "",
    ) -> None:
        """A figure: median, least and largest, in ms or as `per_second / seconds` of a unit.

        `floor` are the seconds that memory or arithmetic of this run allow; `peers` the seconds of
        others in the same rounds, told as the median of their ratios.
        """
        values = [1e3 * s for s in seconds] if per_second is None else [per_second / s for s in seconds]
        figure: dict[str, Any] = {
            "name": name,
            "unit": "ms" if per_second is None else unit,
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
            "rounds": len(values),
            "aim": aim,
        }
        if floor:
            figure["floor_ms"] = 1e3 * floor
            figure["percent_of_floor"] = 100 * floor / statistics.median(seconds)
        for peer, theirs in (peers or {}).items():
            ratios = [other / mine for other, mine in zip(theirs, seconds, strict=False)]
            figure.setdefault("peers", {})[peer] = {
                "ratio": statistics.median(ratios),
                "min": min(ratios),
                "max": max(ratios),
            }
        self.figures.append(figure)

    def floor(self, *, bytes_read: float = 0.0, flops: Mapping[str, float] | None = None) -> float | None:
        """Seconds that reading and multiplying so much take at the rates of G1, whichever is longer."""
        parts = [bytes_read / self.roof["copy"]] if bytes_read and "copy" in self.roof else []
        arithmetic = [count / self.roof[kind] for kind, count in (flops or {}).items() if kind in self.roof]
        if flops and len(arithmetic) == len(flops):
            parts.append(sum(arithmetic))
        return max(parts) if parts else None
