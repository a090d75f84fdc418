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

HANGS_S = 120


class HangError(BaseException):
    """A trial did not end; no `except Exception` takes it for a refusal."""


@dataclass
class Tally:
    """How trials of one kind ended, and what was wrong."""

    kind: str
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def trials(self) -> int:
        return self.ended.total()


def run_trials(kind: str, trial: Callable[[int, Path], str], numbers: Iterable[int]) -> Tally:
    """Each number in a folder of its own; what is wrong names it."""
    tally = Tally(kind)
    before = signal.signal(signal.SIGALRM, _hang)
    logging.disable(logging.WARNING)
    try:
        for number in numbers:
            with tempfile.TemporaryDirectory(prefix="pinpoint-campaign-") as folder:
                ended = _one(trial, number, Path(folder), tally)
            tally.ended[ended] += 1
    finally:
        logging.disable(logging.NOTSET)
        signal.signal(signal.SIGALRM, before)
    return tally


def _one(trial: Callable[[int, Path], str], number: int, folder: Path, tally: Tally) -> str:
    signal.alarm(HANGS_S)
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
        signal.alarm(0)


def _hang(number: int, frame: FrameType | None) -> None:
    raise HangError
