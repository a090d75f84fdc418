"""`pinpoint`: the group of commands, each imported only when it is used."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from ..console import keep_stdout, screens
from ..devices import sleep_while_waiting
from ..errors import HarnessError, PluginError, TerminatedError, command_line, unknown_name
from ..signals import INTERRUPTED, leaving_when_told, was_interrupted
from ..version import __version__
from .everywhere import accept, options, set_up
from .old_spellings import renewed
from .room import look_for_room

log = logging.getLogger(__name__)

_ARGUMENTS = f"{__name__}.arguments"
"""Where a context keeps the words of its command line."""


class Command(NamedTuple):
    """Where a command lives and what it does, known without importing it."""

    target: str
    help: str


JOBS = {
    "demo": Command("reproduce:demo", "Draw mini-Earth, train Pinpoint, run it and baselines, print tables."),
    "run": Command("run:run", "Run a method over a dataset and score it."),
    "score": Command("score:score", "Score a file of answers, or score a run again."),
    "table": Command("table:table", "Print a table of runs and published rows, for a terminal or a paper."),
    "compare": Command("compare:compare", "Say which of several runs can be told apart, by paired tests."),
    "plot": Command("plot:plot", "Draw error curves, a map of errors, queries with their candidates."),
    "report": Command("report:report", "Write one HTML file about runs: table, map, curves, photos."),
    "site": Command("site:site", "Write leaderboards of all stored runs as pages for a web server."),
    "train": Command("train:train", "Make the stages of a method that is trained."),
    "embed": Command("embed:embed", "Compute a backbone's features of every photo of a dataset."),
    "locate": Command("locate:locate", "Say where photos were taken."),
    "serve": Command("serve:serve", "Serve a page where photos are dropped and located."),
    "audit": Command("audit:audit", "Say what queries and a gallery share: people, photos, near-duplicates."),
    "ceiling": Command("ceiling:ceiling", "Print the best score a gallery of coordinates allows."),
    "reproduce": Command(
        "reproduce:reproduce", "Run a recipe and compare its scores with the expected ones."
    ),
}
WHAT_THERE_IS = {
    "datasets": Command("datasets:datasets", "List, describe, look at, verify and begin datasets."),
    "methods": Command("methods:methods", "List, describe, check and begin methods."),
    "backbones": Command("backbones:backbones", "List backbones."),
    "stores": Command("stores:stores", "List feature stores, import, export, verify and remove them."),
    "runs": Command("runs:runs", "List, show, explain, verify and remove runs; calibration and breakdowns."),
}
UPKEEP = {
    "doctor": Command("doctor:doctor", "Say what works on this machine, and where things lie."),
    "clean": Command("clean:clean", "Remove runs, feature stores, trained stages, audits or caches."),
}
SECTIONS = {"Jobs": JOBS, "What there is": WHAT_THERE_IS, "Upkeep": UPKEEP}
COMMANDS = JOBS | WHAT_THERE_IS | UPKEEP


class Failure(click.ClickException):
    """A HarnessError on its way to stderr."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.message}", file=file, err=True)


class Interrupted(click.ClickException):
    """A KeyboardInterrupt on its way to stderr, with what was kept and the command that goes on."""

    exit_code = INTERRUPTED

    def __init__(self, kept: Sequence[str], arguments: Sequence[str]) -> None:
        self.kept = tuple(kept)
        command = f"  go on: {shlex.join(['pinpoint', *arguments])}"
        super().__init__("\n".join(["interrupted", *(f"  {note}" for note in self.kept), command]))

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"\n{self.message}", file=file, err=True)


class LazyGroup(click.Group):
    """Knows its commands as data, so that `--help` imports none of them."""

    def main(self, *arguments: Any, **extra: Any) -> Any:
        with screens():
            try:
                return super().main(*arguments, **extra)
            except SystemExit as end:  # before or behind a command, or at a question that it asks
                if end.code == 1 and was_interrupted():
                    end.code = INTERRUPTED
                raise

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        given = tuple(args)
        _refuse_broken_text(given)
        args = renewed(args)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[_ARGUMENTS] = given
        return context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name, _, attribute = COMMANDS[cmd_name].target.partition(":")
        return accept(getattr(importlib.import_module(f".{module_name}", __package__), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing and args[0] not in COMMANDS and not args[0].startswith("-"):
            fix = "`pinpoint --help` says what they do"
            raise unknown_name(f"there is no command '{args[0]}'", args[0], COMMANDS, fix)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, command.help) for name, command in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        token = command_line.set(True)
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise _pointing_elsewhere(error) from error
        except HarnessError as error:
            if error.__cause__ is not None and log.isEnabledFor(logging.INFO):
                log.info("what was raised", exc_info=error.__cause__)
            raise Failure(str(error)) from error
        except KeyboardInterrupt as interrupt:
            raise Interrupted(getattr(interrupt, "__notes__", ()), ctx.meta[_ARGUMENTS]) from interrupt
        except Interrupted as step:  # of a recipe: what goes on is the whole
            raise Interrupted(step.kept, ctx.meta[_ARGUMENTS]) from step
        except TerminatedError:
            click.echo("stopped: what is finished is kept, and the same command resumes", err=True)
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever reads has gone
                raise
            raise _trouble(_named(error), error) from error
        except Exception as error:
            if not _lacks_memory(error):
                raise
            found = "the memory of this machine, or what it allows a process, is used up"
            raise _trouble(found, error) from error
        except BaseException as error:  # no command ends so by itself: success would be a lie
            from ..plugins import what_was_raised

            found = what_was_raised(error)
            raise Failure(str(PluginError("the command was ended by a plugin", found=found))) from error
        finally:
            command_line.reset(token)


def _pointing_elsewhere(error: click.NoSuchOption) -> click.NoSuchOption:
    """The refusal of an option, without hidden ones as suggestions, and with the commands that have it."""
    params = [] if error.ctx is None else error.ctx.command.params
    shown = [name for one in params if not getattr(one, "hidden", False) for name in one.opts]
    have = [name for name in COMMANDS if error.option_name in _options_of(name)]
    named = " and ".join(f"`pinpoint {name}`" for name in have)
    words = f"No such option {error.option_name!r}." + (f" It is one of {named}." if named else "")
    return click.NoSuchOption(error.option_name, words, shown, error.ctx)


def _options_of(name: str) -> set[str]:
    command = cli.get_command(click.Context(cli), name)
    return {
        option
        for one in getattr(command, "params", ())
        if not getattr(one, "hidden", False)
        for option in one.opts
    }


def _lacks_memory(error: Exception) -> bool:
    """Whether memory ran out, whatever could not have it: a library to be mapped, a tensor, a thread."""
    said = str(error).lower()
    names = ("failed to map segment", "allocate memory", "can't start new thread")
    return isinstance(error, MemoryError) or any(name in said for name in names)


def _trouble(found: str, error: Exception) -> Failure:
    """What the system refused, with no word from whoever asked for it."""
    if log.isEnabledFor(logging.INFO):
        log.info("what was raised", exc_info=error)
    fix = "see to it and give the same command again; what a command has finished is kept"
    return Failure(str(HarnessError("the command cannot go on", found=found, fix=fix)))


def _named(error: OSError) -> str:
    said = error.strerror or str(error) or type(error).__name__
    return f"'{error.filename}': {said}" if error.filename else said


def _refuse_broken_text(words: Sequence[str]) -> None:
    """Refuse at once what could not be stored at the end: bytes that are no UTF-8."""
    named = {f"argument {number}": word for number, word in enumerate(words, 1)}
    named |= {f"${name}": value for name, value in os.environ.items() if name.startswith("PINPOINT_")}
    for name, word in named.items():
        try:
            word.encode()
            is_text = "\0" not in word
        except UnicodeEncodeError:
            is_text = False
        if not is_text:
            fix = "write it in UTF-8; a file of another name can be reached by a link or renamed"
            problem = f"{name} is not text in UTF-8"
            raise Failure(str(HarnessError(problem, found=ascii(word[:100]), fix=fix)))


@click.group(
    cls=LazyGroup,
    params=options(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="pinpoint")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, where a command has it.")
@click.option("--made", type=click.Path(path_type=Path), hidden=True, help="For the steps of a recipe.")
@click.pass_context
def cli(ctx: click.Context, /, plugins: Sequence[str], **on_the_whole: Any) -> None:
    """Measure and do worldwide image geolocation.

    The options below may stand before a command or after it.

    \b
    Example:
      pinpoint run constant capitals --set latitude=51.5 --set longitude=-0.1
    """
    ctx.obj = tuple(plugins)
    set_up(ctx)


def main() -> None:
    with leaving_when_told():
        keep_stdout()
        look_for_room()
        sleep_while_waiting()
        try:
            cli(prog_name="pinpoint")
        finally:  # what plugins print while the process ends is no part of the result
            sys.stdout = sys.stderr
