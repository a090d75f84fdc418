"""Progress on a terminal: phase, rate, time left. Silent anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], object]


@contextmanager
def phase(title: str, total: int, *, done: int = 0, unit: str = "images") -> Iterator[Advance]:
    """Show one phase of work; call the yielded function with how many items were finished.

    `done` counts what an earlier session finished: it stands in the bar but not in the rate.
    """
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, desc=title, unit=f" {unit}", smoothing=0.1, leave=False) as bar:
        yield bar.update
