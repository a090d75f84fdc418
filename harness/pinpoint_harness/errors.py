"""Errors a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from contextvars import ContextVar
from itertools import islice

command_line: ContextVar[bool] = ContextVar("command_line", default=False)
"""Whether the command line is at work, in whose words errors are written."""


_LONGEST_LINE, _MOST_LINES = 1000, 60
"""Of a part of a message: names and cells of strangers' files may be of any length."""
_MOST_NAMES = 12
"""That are shown where one is unknown, unless all of them are hardly more."""


class HarnessError(Exception):
    """What was asked and went wrong, what was found, and what to do about it.

    The command line prints these as one message on stderr and exits with 2; library callers
    get the same three parts as attributes.
    """

    def __init__(self, problem: str, *, found: str | None = None, fix: str | None = None) -> None:
        self.problem = problem
        self.found = found
        self.fix = fix
        super().__init__(self._message())

    def reword(self, words: Callable[[str], str]) -> None:
        """Say each of the three parts in other words."""
        self.problem = words(self.problem)
        self.found = self.found and words(self.found)
        self.fix = self.fix and words(self.fix)
        self.args = (self._message(),)

    def _message(self) -> str:
        lines = [_indented("", _bounded(self.problem), "  ")]
        if self.found:
            lines.append(_indented("  found: ", _bounded(self.found)))
        if self.fix:
            lines.append(_indented("  fix:   ", _bounded(self.fix)))
        return "\n".join(lines)


def _indented(label: str, text: str, further: str = "") -> str:
    """The text behind its label, further lines indented: none passes for another message."""
    return label + text.replace("\n", "\n" + (further or " " * len(label)))


def _bounded(text: str) -> str:
    """A text of at most so many lines of so many signs, which says that it was cut."""
    if len(text) <= _LONGEST_LINE:
        return text
    lines = text.split("\n")
    kept = [
        line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..." for line in lines[:_MOST_LINES]
    ]
    return "\n".join(kept) + (
        f"\n... {len(lines) - _MOST_LINES:,} more lines" if len(lines) > _MOST_LINES else ""
    )


class UsageError(HarnessError):
    """A name, option or parameter that does not exist or does not fit."""


class DataError(HarnessError):
    """A file or table that is absent, ambiguous, damaged or not what it claims to be."""


class PluginError(HarnessError):
    """A plugin that cannot be loaded or breaks its contract."""


class ArtifactError(HarnessError):
    """A run, store or stage that cannot be written, resumed, found or trusted."""


class UnfinishedError(Exception):
    """This process has done its share of an artifact that others have not finished yet."""


class TerminatedError(SystemExit):
    """The process was told to end, by a signal: nothing that a plugin may have raised."""


def unknown_name(problem: str, name: str, known: Collection[str], fix: str = "") -> UsageError:
    """The refusal of a name that is none of the `known`: these in columns, of many those most like it."""
    near = did_you_mean(name, known)
    shown = (
        difflib.get_close_matches(name, known, _MOST_NAMES, cutoff=0) if len(known) > 2 * _MOST_NAMES else []
    )
    found = in_columns(shown or sorted(known)) or "there is none"
    found += f"\nand {len(known) - len(shown):,} more" if shown else ""
    return UsageError(problem, found=found, fix=" ".join(filter(None, (near, fix))) or "give one of these")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A question that names what is spelled most like `name`; "" where nothing is."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def name_list(names: Collection[str], most: int = 20) -> str:
    """Names separated by commas, and of many how many more there are; long ones are cut."""
    shown = [name if len(name) <= 60 else f"{name[:57]}..." for name in islice(names, most)]
    return ", ".join(shown) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def in_columns(names: Collection[str], width: int = 90) -> str:
    """Names read line by line, in as many columns as fit."""
    listed = list(names)
    cell = max(map(len, listed), default=0) + 2
    each = max(1, width // cell)
    lines = [listed[start : start + each] for start in range(0, len(listed), each)]
    return "\n".join("".join(name.ljust(cell) for name in line).rstrip() for line in lines)
