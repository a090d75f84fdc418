"""What `pinpoint runs verify` and `pinpoint stores verify` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import click

from ..errors import UsageError
from .options import print_json


def one_or_all(what: str, text: str | None, every: bool) -> None:
    """UsageError unless either one artifact or all are given."""
    if every == (text is not None):
        raise UsageError(f"give one {what} or --all", found="both" if every else "neither")


def print_damage(
    folders: Iterable[Path],
    as_json: bool,
    beside: Callable[[Path], Mapping[Path, str]] = lambda _: {},
) -> None:
    """Read every file again, list those that are not as written, and exit with 1 if there are any.

    `beside` tells of files that are not in the manifest, by their paths.
    """
    from ..artifacts import damaged_files, damaged_log

    checked = 0
    damaged: list[dict[str, str]] = []
    for folder in folders:
        checked += 1
        found = damaged_files(folder) | damaged_log(folder)
        paths = {folder / name: how for name, how in found.items()} | dict(beside(folder))
        damaged += [{"file": str(path), "is": how} for path, how in paths.items()]
    if as_json:
        print_json({"checked": checked, "damaged": damaged})
    else:
        for item in damaged:
            click.echo(f"{item['is']}: {item['file']}")
        click.echo(f"{checked} checked, {len(damaged)} damaged files")
    if damaged:
        click.echo(
            "fix: remove it (pinpoint runs rm, stores rm) and give the command that made it again; "
            "sessions.jsonl says only when that was, and which run is the newest: no figure depends on it; "
            "of scores remove what is named: no figure is printed from it, what needs one measures it again",
            err=True,
        )
        raise click.exceptions.Exit(1)
