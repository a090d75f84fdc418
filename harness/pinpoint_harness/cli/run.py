"""`pinpoint run`, `score` and `ceiling`: everything that makes a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..types import DataLocation
from .options import (
    device_option,
    fresh_option,
    home_options,
    listed_name,
    listed_option,
    location_options,
    name_option,
    registry_of,
    settings_option,
    subset_options,
    weights_option,
)
from .scoring_options import Measure, measure_options

if TYPE_CHECKING:
    from ..artifacts import Subset
    from ..home import Home


@click.command()
@click.argument("method")
@click.argument("dataset")
@location_options(images=True)
@settings_option
@subset_options()
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="For methods that draw when they answer; refused by others [default: 0].",
)
@device_option
@click.option(
    "--tile",
    type=click.IntRange(min=1),
    help="Queries in one call, rounded up to a multiple of 16; part of the key [default: 256].",
)
@click.option(
    "--shard",
    "share",
    metavar="I/N",
    help="Answer only every N-th tile, from I on [default: $RANK/$WORLD_SIZE].",
)
@weights_option
@name_option
@listed_option
@home_options(runs="--out", stores="--stores")
@fresh_option
@measure_options()
@click.pass_context
def run(
    ctx: click.Context,
    method: str,
    dataset: str,
    location: DataLocation,
    settings: Sequence[str],
    subset: Subset,
    seed: int | None,
    device: str,
    tile: int | None,
    share: str | None,
    weights: str | None,
    name: str | None,
    listed_as: str | None,
    home: Home,
    fresh: bool,
    measure: Measure,
) -> None:
    """Run METHOD over every photo of DATASET, store the answers and score them.

    For a method that looks at features, those that are not in a store yet are computed first.

    Give the same command again to resume a run that was stopped. Several processes or machines
    with one --home share the work with --shard; the last one puts the run together and scores it.

    \b
    Example:
      pinpoint run constant capitals --set latitude=51.5074 --set longitude=-0.1278
    """
    from ..batching import WorkerShare
    from ..errors import UnfinishedError
    from ..params import parse_settings
    from ..running import TILE, build_request
    from ..running.runner import run as run_request

    registry = registry_of(ctx)
    opened = registry.open_dataset(dataset, location)
    request = build_request(
        registry.method(method),
        dataset,
        opened,
        parameters=parse_settings(settings),
        subset=subset,
        seed=seed,
        device=device,
        label=name,
        home=home,
        fresh=fresh,
        tile=tile or TILE,
        share=None if share is None else WorkerShare.parse(share),
        weights=weights,
        registry=registry,
        listed_as=listed_name(registry, dataset, listed_as),
    )
    try:
        done = run_request(request)
    except UnfinishedError as unfinished:
        click.echo(unfinished)
        return
    measure.report(done, lambda: opened)
