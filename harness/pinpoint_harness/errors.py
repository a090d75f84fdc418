"""Errors a user can act on."""

from __future__ import annotations


class HarnessError(Exception):
    """What was asked and went wrong, what was found, and what to do about it.

    The command line prints these as one message on stderr and exits with 2; library callers
    get the same three parts as attributes.
    """

    def __init__(self, problem: str, *, found: str | None = None, fix: str | None = None) -> None:
        self.problem = problem
        self.found = found
        self.fix = fix
        lines = [problem]
        if found:
            lines.append(_indented("  found: ", found))
        if fix:
            lines.append(_indented("  fix:   ", fix))
        super().__init__("\n".join(lines))


def _indented(label: str, text: str) -> str:
    return label + text.replace("\n", "\n" + " " * len(label))


class UsageError(HarnessError):
    """A name, option or parameter that does not exist or does not fit."""


class DataError(HarnessError):
    """A file or table that is absent, ambiguous, damaged or not what it claims to be."""


class PluginError(HarnessError):
    """A plugin that cannot be loaded or breaks its contract."""


class ArtifactError(HarnessError):
    """A run, store or stage that cannot be written, resumed, found or trusted."""
