"""The boundary around a plugin's code: whatever it raises is the plugin's, and names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..console import others_code
from ..errors import HarnessError, PluginError, TerminatedError, UnfinishedError
from ..signals import is_of_a_signal


@contextmanager
def plugin_code(problem: str, fix: str | None = None) -> Iterator[None]:
    """Run what a plugin brings: PluginError for whatever it raises, `sys.exit` among it.

    What the harness itself raises through it passes, and so does the user's interrupt. What is printed there
    goes to stderr, where this is the command line.
    """
    try:
        with others_code():
            yield
    except (HarnessError, UnfinishedError, TerminatedError):
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and is_of_a_signal():
            raise
        raise PluginError(problem, found=what_was_raised(error), fix=fix) from error


def what_was_raised(error: BaseException) -> str:
    """The kind and the words of an error, also of one that cannot say what it is."""
    try:
        words = f"it calls sys.exit({error.code!r})" if isinstance(error, SystemExit) else str(error)
    except BaseException as odd:
        if isinstance(odd, TerminatedError) or (isinstance(odd, KeyboardInterrupt) and is_of_a_signal()):
            raise
        words = "(it cannot be shown)"
    if isinstance(error, SystemExit):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
