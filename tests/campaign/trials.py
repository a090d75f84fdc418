"""Running trials: each within a time, all of them counted."""

from __future__ import annotations

import logging
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NamedTuple

WORKS_S = 120
"""Of a processor, after which a trial is taken to run for ever."""
WAITS_S = 900
"""Of the clock, after which it is taken to wait for ever: long, because other work may have the processor."""


class Kind(NamedTuple):
    """How a trial is made from its number in a folder of its own; it returns `answered` or `refused`."""

    trial: Callable[[int, Path], str]
    prepare: Callable[[int], object] = lambda number: None
    """Makes what trials share and takes long, outside of any trial's time."""


class HangError(BaseException):
    """A trial did not end; no `except Exception` takes it for a refusal."""


@dataclass
class Tally:
    """How trials of one kind ended, and what was wrong."""

    kind: str
    ended: Counter[str] = field(default_factory=Counter)
    last: str = ""
    wrong: list[str] = field(default_factory=list)


def run_trials(
    name: str, kind: Kind, numbers: Iterable[int], counted: Callable[[Tally], object] = lambda tally: None
) -> Tally:
    """Each number in a folder of its own; what is wrong names it. `counted` hears of each."""
    tally = Tally(name)
    before = {number: signal.signal(number, _hang) for number in (signal.SIGALRM, signal.SIGPROF)}
    logging.disable(logging.WARNING)
    try:
        for number in numbers:
            kind.prepare(number)
            with tempfile.TemporaryDirectory(prefix="pinpoint-campaign-") as folder:
                tally.last = _one(kind.trial, number, Path(folder), tally)
            tally.ended[tally.last] += 1
            counted(tally)
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in before.items():
            signal.signal(number, handler)
    return tally


def _one(trial: Callable[[int, Path], str], number: int, folder: Path, tally: Tally) -> str:
    _limit(WORKS_S, WAITS_S)
    try:
        return trial(number, folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        ended = "hang" if isinstance(error, HangError) else "crash"
        ended = "silent" if isinstance(error, AssertionError) else ended
        tally.wrong.append(f"{ended} in {tally.kind} {number}\n{traceback.format_exc()}")
        return ended
    finally:
        _limit(0, 0)


def _limit(works: float, waits: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, works)
    signal.setitimer(signal.ITIMER_REAL, waits)


def _hang(number: int, frame: FrameType | None) -> None:
    raise HangError
