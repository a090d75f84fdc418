"""Progress of a phase: a bar on a terminal, and a line at a steady pace in the log anywhere else."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .console import visible

if TYPE_CHECKING:
    from tqdm import tqdm

LOG_SECONDS = 30.0
"""Between two lines of a phase in a log."""

_SCREEN_SECONDS = 1.0
"""Between two changes of the facts beside a bar."""

log = logging.getLogger(__name__)
"""The command line prints what is said here unless it is told to be quiet."""


def speaks() -> bool:
    """Whether this process reports progress: the first of those that torchrun started."""
    return int(os.environ.get("RANK") or 0) == 0


class Pace:
    """How fast items are finished, and how long the rest will take.

    Pauses, in which no item can be finished, are timed apart. So is the time until the first items are
    there: it is spent on warming up and says nothing of the others.
    """

    def __init__(self, total: int, done: int = 0, pauses: int = 0) -> None:
        self.total, self.done = total, done
        self._begun = self._warm = time.monotonic()
        self._items = self._warm_items = 0
        self._pauses_ahead, self._pauses, self._paused = pauses, 0, 0.0

    def advance(self, count: int) -> None:
        if not self._items:
            self._warm, self._warm_items = time.monotonic(), count
        self._items += count
        self.done += count

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time that belongs to no item."""
        start = time.monotonic()
        yield
        self._paused += time.monotonic() - start
        self._pauses += 1

    @property
    def rate(self) -> float | None:
        """Items a second, None where nothing was finished yet."""
        if not self._items:
            return None
        alone = self._items == self._warm_items  # then the first items are all there is
        items = self._items if alone else self._items - self._warm_items
        seconds = time.monotonic() - (self._begun if alone else self._warm) - self._paused
        return items / max(seconds, 1e-9)

    def left(self) -> str:
        """The time that items and pauses ahead will take, in words; "" where nothing is known of it."""
        if not self.rate:
            return ""
        seconds, ahead = (self.total - self.done) / self.rate, self._pauses_ahead - self._pauses
        if not self._pauses and ahead > 0:
            return f"at least {duration(seconds)} left"
        pauses = ahead * self._paused / self._pauses if self._pauses else 0.0
        return f"{duration(seconds + pauses)} left"


class Phase:
    """A phase as it is shown: call it with how many more items were finished."""

    def __init__(self, title: str, pace: Pace, unit: str, bar: tqdm[Any] | None) -> None:
        self.pace, self._title, self._unit, self._bar = pace, title, unit, bar
        self._said = time.monotonic()
        self._own_lines = False

    def __call__(self, count: int) -> None:
        self.pace.advance(count)
        if self._bar is not None:
            self._bar.update(count)
        elif not self._own_lines and self.due():
            self._say(f"{self.pace.done:,} of {self.pace.total:,} {self._unit}", "")

    def facts_follow(self) -> None:
        """Leave the lines to `say`: whoever works here knows more than how many items are done."""
        self._own_lines = True
        if self._bar is not None:  # the bar's own time left knows nothing of pauses
            self._bar.bar_format = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"

    def due(self) -> bool:
        """Whether it is time for the next line or, on a terminal, for other facts beside the bar."""
        pace = LOG_SECONDS if self._bar is None else _SCREEN_SECONDS
        return time.monotonic() - self._said >= pace

    def say(self, place: str, facts: str, *, lasting: bool = False) -> None:
        """A line of facts: `place` says how far the work has come.

        On a terminal only lines that are `lasting` stay; the others stand beside the bar until the next.
        """
        if self._bar is None:
            self._say(place, facts)
            return
        self._said = time.monotonic()
        self._bar.set_postfix_str(", ".join(filter(None, (facts, self.pace.left()))))
        if lasting:
            self._bar.write(visible(f"{self._title}: {place}, {facts}"), file=_terminal())

    def _say(self, place: str, facts: str) -> None:
        self._said = time.monotonic()
        share = 100 * self.pace.done / max(1, self.pace.total)
        rate = self.pace.rate
        speed = "" if rate is None else f"{rate:,.{0 if rate >= 10 else 2}f} {self._unit}/s"
        words = filter(None, (f"{place} ({share:.0f} %)", speed, facts, self.pace.left()))
        log.info("%s: %s", self._title, ", ".join(words))


def _terminal() -> Any:
    """stderr as it is: a bar moves the cursor."""
    return getattr(sys.stderr, "unescaped", sys.stderr)


@contextmanager
def phase(title: str, total: int, *, done: int = 0, unit: str = "images", pauses: int = 0) -> Iterator[Phase]:
    """Show one phase of work; call the yielded object with how many items were finished.

    `done` counts what an earlier session finished: it stands in the bar but not in the rate. `pauses` is
    how often the work stops for something else (`Pace.pause`).
    """
    pace = Pace(total, done, pauses)
    if not sys.stderr.isatty() or not speaks():
        yield Phase(title, pace, unit, None)
        return
    from tqdm import tqdm

    bar: tqdm[Any]
    with tqdm(
        total=total,
        initial=done,
        desc=visible(title),
        unit=f" {unit}",
        smoothing=0.1,
        leave=False,
        file=_terminal(),
    ) as bar:
        yield Phase(title, pace, unit, bar)


def duration(seconds: float) -> str:
    """A time in words, to one part in sixty."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
