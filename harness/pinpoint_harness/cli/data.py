"""`pinpoint datasets`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path

import click

from .options import json_option, print_facts, print_listing, registry_of
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


@datasets.command("new")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder to put the plugin's own folder in [default: here].",
)
@click.pass_context
def new_dataset(ctx: click.Context, name: str, out: Path) -> None:
    """Begin a dataset: write an installable plugin with a small table, whose test passes.

    \b
    Example:
      pinpoint datasets new holiday-photos
    """
    from ..scaffold import new_plugin

    folder = new_plugin("dataset", name, out, registry_of(ctx))
    click.echo(f"{folder}\nnext: pip install -e {shlex.quote(str(folder))}")


datasets.add_command(verify)
