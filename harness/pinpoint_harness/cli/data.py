"""`pinpoint datasets`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ..types import DataLocation
from .new import new_command
from .options import json_option, location_options, print_facts, print_listing, registry_of
from .verify import verify


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
@click.pass_context
def peek_dataset(ctx: click.Context, name: str, location: DataLocation, out: Path, seed: int) -> None:
    """Write a contact sheet of a dataset's photos and a map of its places, as PNG.

    \b
    Example:
      pinpoint datasets peek mini-earth/query-clean
    """
    from ..peek import peek

    for path in peek(registry_of(ctx).open_dataset(name, location), name, out, seed):
        click.echo(path)


datasets.add_command(
    new_command(
        "dataset",
        "Begin a dataset: write an installable plugin with a small table, whose test passes.",
        "pinpoint datasets new holiday-photos",
    )
)
datasets.add_command(verify)
