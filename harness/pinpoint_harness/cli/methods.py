"""`pinpoint methods`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from .new import new_command
from .options import (
    device_option,
    home_options,
    json_option,
    print_facts,
    print_json,
    print_listing,
    registry_of,
    settings_option,
    weights_option,
)

if TYPE_CHECKING:
    from ..home import Home


@click.group()
def methods() -> None:
    """List, describe, check and begin methods."""


@methods.command("list")
@json_option
@click.pass_context
def list_methods(ctx: click.Context, as_json: bool) -> None:
    """List every method that can be named.

    \b
    Example:
      pinpoint methods list
    """
    rows = [
        {"name": entry.name, "title": entry.info.title, "from": entry.origin.name}
        for entry in registry_of(ctx).methods.values()
    ]
    print_listing(rows, as_json, "no methods")


@methods.command("show")
@click.argument("name")
@settings_option
@json_option
@click.pass_context
def show_method(ctx: click.Context, name: str, settings: Sequence[str], as_json: bool) -> None:
    """Show a method's paper, licence, needs and parameters.

    Defaults are those of the method's preset; with --set, the values in effect under these settings.

    \b
    Example:
      pinpoint methods show pinpoint-plus --set config=full
    """
    from ..params import convert, parse_settings
    from ..running import param_specs

    entry = registry_of(ctx).method(name)
    given = parse_settings(settings)
    listed = param_specs(entry, given)
    values = convert({item.name: item for item in listed}, given, f"method '{name}'")
    listed = [replace(item, default=values.get(item.name, item.default)) for item in listed]
    facts = {"name": entry.name, **asdict(entry.info), "registered by": entry.origin.name}
    facts["preset"] = {name: str(value) for name, value in entry.preset.items()}
    if as_json:
        facts["parameters"] = [
            {"name": item.name, "takes": item.allowed, "required": item.required, "help": item.help}
            | (
                {}
                if item.required
                else {"default": item.default if item.default is None else str(item.default)}
            )
            for item in listed
        ]
    else:
        facts["preset"] = ", ".join(f"{name}={value}" for name, value in entry.preset.items())
        facts["parameters"] = [f"{item.describe()}  {item.help}".rstrip() for item in listed]
    print_facts(facts, as_json)


@methods.command("check")
@click.argument("name")
@settings_option
@click.option(
    "--tile", type=click.IntRange(min=2), default=16, show_default=True, help="Queries in one call."
)
@device_option
@weights_option
@home_options()
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    name: str,
    settings: Sequence[str],
    tile: int,
    device: str,
    weights: str | None,
    home: Home,
    as_json: bool,
) -> None:
    """Check that a method keeps the contract: form and range of its answers, and what they depend on.

    Asks it about made-up queries, over made-up galleries and after a training in miniature; needs no data.
    Exits with 1 if a check fails.

    \b
    Example:
      pinpoint methods check random-prior
    """
    from ..features import StoreLookup, iter_stores
    from ..params import parse_settings
    from ..running import choose_device
    from ..testing import check_method
    from ..types import Context

    registry = registry_of(ctx)
    entry = registry.method(name)
    stores = StoreLookup(registry, home.stores, choose_device(entry, device), weights)
    context = Context(device=stores.device, stores=stores)
    widths = {store.backbone: store.width for store in iter_stores(home.stores)}
    widths |= {known.name: known.info.width for known in registry.backbones.values()}
    checks = check_method(entry, parse_settings(settings), context=context, tile=tile, widths=widths)
    if as_json:
        print_json([asdict(item) for item in checks])
    else:
        for item in checks:
            click.echo(f"{'ok' if item.passed else 'FAILED':<8}{item.name:<14}{item.promise}")
            if not item.passed:
                click.echo(f"{'':<8}found: {item.found}\n{'':<8}fix:   {item.fix}")
    if not all(item.passed for item in checks):
        ctx.exit(1)


methods.add_command(
    new_command(
        "method",
        "Begin a method: write an installable plugin whose test passes.",
        "pinpoint methods new my-neighbours --kind retrieval",
    )
)
