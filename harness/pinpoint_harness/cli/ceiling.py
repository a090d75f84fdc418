"""`pinpoint ceiling`: the best score that a gallery of coordinates allows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..types import DataLocation
from .options import (
    fresh_option,
    gallery_data_option,
    home_options,
    listed_name,
    listed_option,
    location_options,
    note_made,
    registry_of,
    subset_options,
)
from .scoring_options import Measure, measure_options

if TYPE_CHECKING:
    from ..artifacts import Subset
    from ..home import Home


@click.command()
@click.argument("dataset")
@click.option(
    "--gallery",
    required=True,
    metavar="NAME|FILE",
    help="A dataset, several separated by commas, or any table of coordinates.",
)
@gallery_data_option
@location_options()
@subset_options()
@listed_option
@home_options(runs="--out")
@fresh_option
@measure_options()
@click.pass_context
def ceiling(
    ctx: click.Context,
    dataset: str,
    gallery: str,
    gallery_data: Path | None,
    location: DataLocation,
    subset: Subset,
    listed_as: str | None,
    home: Home,
    fresh: bool,
    measure: Measure,
) -> None:
    """Place every photo of DATASET at the nearest point of a gallery: the best any retrieval from it can do.

    \b
    Example:
      pinpoint ceiling yfcc4k --gallery coordinates.csv
    """
    from ..evaluation.ceiling import ceiling as best_of
    from ..readers import open_gallery

    registry = registry_of(ctx)
    places = open_gallery(registry, gallery, gallery_data)
    opened = registry.open_dataset(dataset, location)
    done = best_of(
        dataset,
        opened,
        gallery,
        places,
        home.runs,
        gallery_data=gallery_data,
        subset=subset,
        fresh=fresh,
        listed_as=listed_name(registry, dataset, listed_as),
    )
    note_made(home, done)
    measure.report(done, lambda: opened)
