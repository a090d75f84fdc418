"""The boundary around a plugin's code: whatever it raises is the plugin's, and names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from ..console import others_code
from ..errors import HarnessError, PluginError, TerminatedError, UnfinishedError
from ..signals import is_of_a_signal

BUILT_IN = ("pinpoint_datasets", "pinpoint_methods")
_HARNESS = __name__.partition(".")[0]


@contextmanager
def plugin_code(problem: str, fix: str | None = None) -> Iterator[None]:
    """Run what a plugin brings: PluginError for whatever it raises, `sys.exit` among it.

    What the harness itself or a built-in raises through it passes, as its words are for the user already, and
    so does the user's interrupt; an error of the harness's kinds that the plugin raises keeps kind and words
    behind the `problem`. What is printed there goes to stderr, where this is the command line.
    """
    try:
        with others_code():
            yield
    except (UnfinishedError, TerminatedError):
        raise
    except HarnessError as error:
        if _is_raised_by_us(error):
            raise
        raise _naming(error, problem, fix) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and is_of_a_signal():
            raise
        raise PluginError(problem, found=what_was_raised(error), fix=fix) from error


def _is_raised_by_us(error: HarnessError) -> bool:
    *_, (frame, _) = walk_tb(error.__traceback__)
    module = str(frame.f_globals.get("__name__"))
    return module.partition(".")[0] in (_HARNESS, *BUILT_IN)


def _naming(error: HarnessError, problem: str, fix: str | None) -> HarnessError:
    """The same words behind the problem, as the nearest of the harness's own kinds of error."""
    kinds: list[type[HarnessError]] = [
        kind for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == _HARNESS
    ]
    words = getattr(error, "problem", str(error))  # of a class that does not call its parent, there is none
    found, mend = getattr(error, "found", None), getattr(error, "fix", None)
    return kinds[0](f"{problem}: {words}", found=found, fix=mend or fix)


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
