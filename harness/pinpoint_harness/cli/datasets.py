"""`pinpoint datasets`: what there is, and whether its files are sound."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..console import visible
from ..types import DataLocation
from .new import new_command
from .options import (
    json_option,
    location_options,
    location_words,
    overwrite_option,
    print_facts,
    print_json,
    print_listing,
    registry_of,
)

if TYPE_CHECKING:
    from ..readers import Verification

_SHOWN = 10


@click.group()
def datasets() -> None:
    """List, describe and begin datasets."""


@datasets.command("list")
@json_option
@click.pass_context
def list_datasets(ctx: click.Context, as_json: bool) -> None:
    """List every dataset that can be named.

    \b
    Example:
      pinpoint datasets list
    """
    rows = [
        {
            "name": entry.name,
            "photos": entry.info.expected_rows or "any",
            "title": entry.info.title,
            "from": entry.origin.name,
        }
        for entry in registry_of(ctx).datasets.values()
    ]
    print_listing(rows, as_json, "no datasets")


@datasets.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show_dataset(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show what a dataset is, where it comes from and how it is scored.

    \b
    Example:
      pinpoint datasets show yfcc4k
    """
    entry = registry_of(ctx).dataset(name)
    print_facts({"name": entry.name, **asdict(entry.info), "registered by": entry.origin.name}, as_json)


@datasets.command("peek")
@click.argument("name")
@location_options(images=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder to write the two pictures in [default: here].",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which photos to show."
)
@overwrite_option
@click.pass_context
def peek_dataset(
    ctx: click.Context, name: str, location: DataLocation, out: Path, seed: int, overwrite: bool
) -> None:
    """Write a contact sheet of a dataset's photos and a map of its places, as PNG.

    \b
    Example:
      pinpoint datasets peek mini-earth/query-clean
    """
    from ..reports.contact_sheet import write_contact_sheet

    dataset = registry_of(ctx).open_dataset(name, location)
    for path in write_contact_sheet(dataset, name, out, seed, overwrite):
        click.echo(path)


datasets.add_command(
    new_command(
        "dataset",
        "Begin a dataset: write an installable plugin with a small table, whose test passes.",
        "pinpoint datasets new holiday-photos",
    )
)


@datasets.command()
@click.argument("name")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@location_options(images=True)
@click.option(
    "--list-missing", is_flag=True, help="Print every id without a photo, one a line, and nothing else."
)
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    name: str,
    path: Path | None,
    location: DataLocation,
    list_missing: bool,
    as_json: bool,
) -> None:
    """Check the files of a dataset: truth table, every photo, placeholders; exit code 1 if a row has none.

    PATH is the same as --data.

    \b
    Example:
      pinpoint datasets verify yfcc4k /data/yfcc4k
    """
    from ..readers.verify import verify as verify_dataset

    location = replace(location, path=path or location.path)
    found = verify_dataset(registry_of(ctx).open_dataset(name, location))
    if list_missing:
        for missing in found.missing:
            click.echo(visible(missing))
    elif as_json:
        print_json(found.to_dict())
    else:
        _print_verification(shlex.join([name, *location_words(location)]), found)
    ctx.exit(0 if found.sound else 1)


def _print_verification(dataset: str, found: Verification) -> None:
    """`dataset` is its name with the options that open it, for commands to give next."""
    other_count = found.expected_rows not in (None, found.rows)
    expected = f"the published dataset has {found.expected_rows:,} rows" if other_count else ""
    placeholders = sum(map(len, found.placeholders))
    print_facts(
        {
            "truth file": found.truth_file,
            "sha256": f"{found.truth_sha256} ({found.truth_is})" if found.truth_sha256 else "",
            "rows": f"{found.rows:,}",
            "not complete": expected,
            "notes": found.notes,
            "images": found.images,
            "decoded": f"{found.decoded:,} of {found.rows:,}",
            "missing": f"{len(found.missing):,}{_some(found.missing)}" if found.missing else "",
            "unreadable": [f"{len(ids):,} {why}{_some(ids)}" for why, ids in found.unreadable.items()],
            "placeholders": [
                f"{placeholders:,} photos in {len(found.placeholders):,} groups of equal bytes",
                *(f"{len(group):,} copies{_some(group)}" for group in found.placeholders[:_SHOWN]),
            ]
            if found.placeholders
            else "",
            "left out": _head(found.left_out),
            "remarks": _head(found.remarks),
            "next": found.advice(dataset),
        },
        as_json=False,
    )


def _some(ids: Sequence[str]) -> str:
    return f" ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''})"


def _head(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {rest:,} more"] if rest > 0 else [])]
