"""`pinpoint datasets verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..types import DataLocation
from .options import json_option, location_options, print_facts, print_json, registry_of

if TYPE_CHECKING:
    from ..verify import Verification

_SHOWN = 10


@click.command()
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
    """Check the files of a dataset: truth table, every photo, placeholders; exit code 1 if not all is there.

    PATH is the same as --data.

    \b
    Example:
      pinpoint datasets verify yfcc4k /data/yfcc4k
    """
    from ..verify import verify as verify_dataset

    dataset = registry_of(ctx).open_dataset(name, replace(location, path=path or location.path))
    found = verify_dataset(dataset)
    if list_missing:
        for missing in found.missing:
            click.echo(missing)
    elif as_json:
        print_json(found.to_dict())
    else:
        _print(name, found)
    ctx.exit(0 if found.sound else 1)


def _print(name: str, found: Verification) -> None:
    expected = "" if found.expected_rows in (None, found.rows) else f" (published: {found.expected_rows:,})"
    placeholders = sum(map(len, found.placeholders))
    print_facts(
        {
            "truth file": found.truth_file,
            "sha256": f"{found.truth_sha256} ({found.truth_is})" if found.truth_sha256 else "",
            "rows": f"{found.rows:,}{expected}",
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
            "next": found.advice(name),
        },
        as_json=False,
    )


def _some(ids: Sequence[str]) -> str:
    return f" ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''})"


def _head(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {rest:,} more"] if rest > 0 else [])]
