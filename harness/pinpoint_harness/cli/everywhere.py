"""The options that stand before a command or after it: `-v`, `-q`, `--plugin`, `--home`, `--json`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..progress import log as progress_log
from ..progress import speaks

Callback = Callable[[click.Context, click.Parameter, Any], Any]


def options(callback: Callback | None = None, exposed: bool = True) -> list[click.Option]:
    """Those that every command takes, new ones each time."""
    shared: dict[str, Any] = {"callback": callback, "expose_value": exposed}
    return [
        click.Option(
            ["--plugin", "plugins"],
            multiple=True,
            metavar="FILE|MODULE",
            help="Load a plugin for this command; may be given again. Also $PINPOINT_PLUGINS.",
            **shared,
        ),
        click.Option(
            ["--home"],
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder below which all that is made lies [default: $PINPOINT_HOME, else results].",
            **shared,
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            help="Print the result alone, without progress.",
            **shared,
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Say more about what happens, on stderr.", **shared
        ),
    ]


def json_before(value: bool = False) -> bool:
    """Whether JSON is asked for, before the command or after it."""
    return value or bool(click.get_current_context().find_root().params.get("as_json"))


def quiet_before(value: bool = False) -> bool:
    """Whether only the result is asked for, before the command or after it."""
    return value or bool(click.get_current_context().find_root().params.get("quiet"))


def accept(command: click.Command) -> click.Command:
    """The command, and those below it, with the options that stand everywhere; they act on the whole."""
    known = {name for parameter in command.params for name in parameter.opts}
    command.params += [one for one in options(_on_the_whole, exposed=False) if not known & {*one.opts}]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            accept(below)
    if "--json" not in known:
        passed = _on_the_whole if isinstance(command, click.Group) else _refuse_json
        command.params.append(
            click.Option(
                ["--json", "as_json"], is_flag=True, hidden=True, expose_value=False, callback=passed
            )
        )
    return command


def set_up(context: click.Context) -> None:
    """What is said on stderr, and by whom, as the options of the whole ask."""
    asked = context.find_root().params
    quiet, verbose = asked.get("quiet"), asked.get("verbose")
    level = logging.INFO if verbose else logging.WARNING  # warnings are never left out
    logging.basicConfig(stream=sys.stderr, level=level, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Lines("%(levelname)s: %(message)s"))
    progress_log.setLevel(logging.INFO if speaks() and not quiet else logging.WARNING)
    for one in (logging.INFO, logging.WARNING, logging.ERROR):
        logging.addLevelName(one, logging.getLevelName(one).lower())


class _Lines(logging.Formatter):
    """Further lines of a message stand below it: none can pass for a message of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return super().formatMessage(record).replace("\n", "\n  ")


def _on_the_whole(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    root = context.find_root()
    if not value or context is root:
        return value
    if parameter.name == "plugins":
        given: Sequence[str] = root.obj or ()
        root.obj = (*given, *value)
    else:
        root.params[str(parameter.name)] = value
    if parameter.name in ("quiet", "verbose"):
        set_up(context)
    return value


def _refuse_json(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if json_before(value) and not context.resilient_parsing:
        raise UsageError(f"`{context.command_path}` prints no JSON", fix="leave --json away")
    return value
