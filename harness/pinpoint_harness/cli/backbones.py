"""`pinpoint backbones`: the frozen image encoders that are known."""

from __future__ import annotations

import click

from .options import json_option, print_listing, registry_of


@click.group()
def backbones() -> None:
    """List the backbones that have a name; any Hugging Face id or folder will do as well."""


@backbones.command("list")
@json_option
@click.pass_context
def list_backbones(ctx: click.Context, as_json: bool) -> None:
    """List every backbone that has a name, and whether its weights are on this machine.

    \b
    Example:
      pinpoint backbones list
    """
    from ..features.backbones import find_backbone

    registry = registry_of(ctx)
    rows = [
        {
            "name": entry.name,
            "width": entry.info.width,
            "here": "yes" if find_backbone(registry, entry.name).is_here() else "no",
            "weights": entry.info.weights or "in the package",
            "licence": entry.info.licence,
            "from": entry.origin.name,
        }
        for entry in registry.backbones.values()
    ]
    print_listing(rows, as_json, "no backbones")
