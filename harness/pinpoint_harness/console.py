"""What people read: text that cannot play tricks on a terminal, on a stdout that is ours alone.

Labels, ids and notes come from strangers' files. A sign that moves the cursor, hides or turns text is
written as its number, at the one place that all output passes. What a plugin prints goes to stderr:
stdout holds the result, which a program may read.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

_STYLES = r"\x1b\[(?:0|1|4|1;4)?m"
"""Bold and underlined, by which tables mark figures: all that a terminal is told."""

_TRICKS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but for tabs and ends of lines
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions of writing
    r"\u2028\u2029"  # ends of lines by other names
    r"\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags, which are not seen
    r"\ud800-\udfff"  # bytes of names that are no UTF-8
)
_TRICK = re.compile(f"[{_TRICKS}]")
_STYLE_OR_TRICK = re.compile(f"({_STYLES})|[{_TRICKS}]")


class _Local(threading.local):
    depth: int = 0
    """How many calls of others' code this thread is in."""


_local = _Local()
_screens: list[tuple[Screen, Screen]] = []
"""stdout and stderr of the command that is at work."""


def visible(text: str, *, lines: bool = False) -> str:
    """The text with each control or direction sign as `\\u001b`; with `lines`, ends of lines may stay."""
    shown = _TRICK.sub(_number, text)
    return shown if lines else shown.replace("\n", "\\n").replace("\t", "\\t")


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it as it is, in a cell of a table as well."""
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", text)


def _number(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]  # as JSON spells it, so that JSON stays what it is


def _but_for_styles(found: re.Match[str]) -> str:
    return found[1] or _number(found)


@contextmanager
def others_code() -> Iterator[None]:
    """Whose prints are no part of a result, while it runs in this thread; screens it takes away come back."""
    _local.depth += 1
    try:
        yield
    finally:
        _local.depth -= 1
        if _screens and not _local.depth:
            sys.stdout, sys.stderr = _screens[-1]


class Screen(io.TextIOBase):
    """A stream to people; one for results passes what others print on to stderr."""

    def __init__(self, stream: TextIO, *, results: bool) -> None:
        self.unescaped = stream
        self._results = results

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"  # what the stream below cannot say is written by number

    @property
    def buffer(self) -> Any:
        return getattr(self.unescaped, "buffer", None)

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.unescaped.errors

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        shown = _STYLE_OR_TRICK.sub(_but_for_styles, text)
        if self._results and (_local.depth or not _is_main_thread()):
            sys.stderr.write(shown)
            return len(text)
        known = self.unescaped.encoding or "utf-8"
        self.unescaped.write(shown.encode(known, "backslashreplace").decode(known))
        return len(text)

    def flush(self) -> None:
        if not self.unescaped.closed:
            self.unescaped.flush()

    def isatty(self) -> bool:
        return self.unescaped.isatty()

    def fileno(self) -> int:
        return self.unescaped.fileno()

    def writable(self) -> bool:
        return True


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def screens() -> Iterator[None]:
    """stdout and stderr as screens, for as long as a command runs."""
    before = sys.stdout, sys.stderr
    # Of a closed one Python has None: what is written there goes nowhere.
    streams = [open(os.devnull, "w") if one is None else one for one in before]  # noqa: PTH123, SIM115
    ours = Screen(streams[0], results=True), Screen(streams[1], results=False)
    sys.stdout, sys.stderr = ours
    _screens.append(ours)
    try:
        yield
    finally:
        _screens.pop()
        try:
            for screen in ours:
                screen.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever reads has gone
                raise
            _give_up(streams[0], error)
        finally:
            sys.stdout, sys.stderr = before


def _give_up(stream: TextIO, error: OSError) -> NoReturn:
    """Say that what was printed cannot be written, forget it, and end with 2."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"error: what is printed cannot be written\n  found: {error.strerror}\n")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # where the rest of it goes when the process ends
        os.close(nowhere)
    raise SystemExit(2)


def keep_stdout() -> None:
    """From here on the process's own stdout is a place for results; programs it starts write to stderr.

    For the command line: what plugins write past Python, and what they print as the process ends,
    goes to stderr as well.
    """
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed, so that nothing is to be kept apart
        return
    os.set_inheritable(kept, False)
    given: Any = sys.stdout
    sys.stdout = open(  # noqa: PTH123, SIM115 - no path, and open as long as the process
        kept, "w", encoding=given.encoding, errors=given.errors, buffering=1 if given.isatty() else -1
    )
