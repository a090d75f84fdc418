"""How a process is told to end, told apart from what others' code raises by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .errors import TerminatedError

INTERRUPTED = 128 + signal.SIGINT
"""The exit code of a command that Ctrl-C has ended, as shells know it."""

_came = threading.Event()


def leave_when_terminated() -> None:
    """Leave by an exception at SIGTERM, so that what is open is closed and what was started is stopped."""
    signal.signal(signal.SIGTERM, _end)


@contextmanager
def leaving_when_told() -> Iterator[None]:
    """Leave by an exception at SIGTERM, and by a KeyboardInterrupt at SIGINT, until the end of the block.

    Also as a job in the background, whose shell has SIGINT ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, _interrupt)
    leave_when_terminated()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _came.clear()


def was_interrupted() -> bool:
    """Whether SIGINT came in the block of `leaving_when_told`."""
    return _came.is_set()


def is_of_a_signal() -> bool:
    """Whether the KeyboardInterrupt in hand is the user's, which is believed where no handler of ours tells.

    Signals reach the main thread alone, and no process that ignores them.
    """
    is_told = signal.getsignal(signal.SIGINT) in (_interrupt, signal.SIG_IGN)
    in_main_thread = threading.current_thread() is threading.main_thread()
    return was_interrupted() or (in_main_thread and not is_told)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.set()
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise TerminatedError(128 + number)
