"""`pinpoint run`, `score` and `ceiling`: everything that makes a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..types import DataLocation
from .measure import Measure, exclude_option, measure_options
from .options import (
    device_option,
    gallery_data_option,
    location_options,
    out_option,
    registry_of,
    settings_option,
    stores_option,
    subset_options,
    weights_option,
)

if TYPE_CHECKING:
    from ..records import Subset

_name = click.option("--name", help="Name of the row [default: the method's, or the file's].")
_fresh = click.option("--fresh", is_flag=True, help="Throw away what is stored of this run and start over.")


@click.command()
@click.argument("method")
@click.argument("dataset")
@location_options(images=True)
@settings_option
@subset_options()
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="For methods that draw."
)
@device_option
@click.option(
    "--shard",
    "share",
    metavar="I/N",
    help="Answer only every N-th tile, from I on [default: $RANK/$WORLD_SIZE].",
)
@weights_option
@stores_option
@_name
@out_option
@_fresh
@measure_options()
@click.pass_context
def run(
    ctx: click.Context,
    method: str,
    dataset: str,
    location: DataLocation,
    settings: Sequence[str],
    subset: Subset,
    seed: int,
    device: str,
    share: str | None,
    weights: str | None,
    stores: Path | None,
    name: str | None,
    out: Path | None,
    fresh: bool,
    measure: Measure,
) -> None:
    """Run METHOD over every photo of DATASET, store the answers and score them.

    For a method that looks at features, those that are not in a store yet are computed first.

    Give the same command again to resume a run that was stopped. Several processes or machines
    with one --out share the work with --shard; the last one puts the run together and scores it.

    \b
    Example:
      pinpoint run constant capitals --set latitude=51.5074 --set longitude=-0.1278
    """
    from ..api import build_request
    from ..artifacts import UnfinishedError
    from ..params import parse_settings
    from ..records import Share
    from ..runner import run as run_request

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
        out=out,
        fresh=fresh,
        share=None if share is None else Share.parse(share),
        stores=stores,
        weights=weights,
        registry=registry,
    )
    try:
        done = run_request(request)
    except UnfinishedError as unfinished:
        click.echo(unfinished)
        return
    measure.report(done, lambda: opened)


@click.command()
@click.argument("answers")
@click.option("--dataset", metavar="NAME", help="The dataset a file of answers belongs to.")
@location_options(answers=True)
@settings_option
@subset_options()
@_name
@out_option
@_fresh
@exclude_option
@measure_options()
@click.pass_context
def score(
    ctx: click.Context,
    answers: str,
    dataset: str | None,
    location: DataLocation,
    settings: Sequence[str],
    subset: Subset,
    name: str | None,
    out: Path | None,
    fresh: bool,
    exclude: str | None,
    measure: Measure,
) -> None:
    """Score ANSWERS: a file of predictions (with --dataset), or a run that is stored.

    A run is named by its path, the beginning of its key, or METHOD@DATASET. For a file, --set
    passes parameters to the method `stored-predictions`, and --column answer=NAME says which column
    holds its answers, latitude and longitude in one cell or sentence. With --exclude only the photos
    count that an audit (`pinpoint audit`) leaves.

    \b
    Examples:
      pinpoint score answers.csv --dataset yfcc4k --name my-model
      pinpoint score answers.csv --dataset yfcc4k --column answer=response
      pinpoint score my-model@yfcc4k --all-protocols
    """
    from ..api import build_request, read_run
    from ..params import parse_settings
    from ..runner import run as run_request

    registry = registry_of(ctx)
    measure = replace(measure, exclude=exclude)
    columns = dict(location.columns)
    column = {"answer_column": columns.pop("answer")} if "answer" in columns else {}
    location = replace(location, columns=columns)
    if dataset is None:
        if Path(answers).is_file():
            raise UsageError(f"'{answers}' is a file of answers to which dataset?", fix="add --dataset NAME")
        if column:
            raise UsageError(f"--column answer= is of a file of answers, and '{answers}' is scored as a run")
        stored = read_run(answers, out)
        measure.report(stored, lambda: registry.open_dataset(stored.dataset, location))
        return
    opened = registry.open_dataset(dataset, location)
    request = build_request(
        registry.method("stored-predictions"),
        dataset,
        opened,
        parameters={"file": answers, **column, **parse_settings(settings)},
        subset=subset,
        label=name or Path(answers).stem,
        out=out,
        fresh=fresh,
    )
    measure.report(run_request(request), lambda: opened)


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
@out_option
@_fresh
@measure_options()
@click.pass_context
def ceiling(
    ctx: click.Context,
    dataset: str,
    gallery: str,
    gallery_data: Path | None,
    location: DataLocation,
    subset: Subset,
    out: Path | None,
    fresh: bool,
    measure: Measure,
) -> None:
    """Place every photo of DATASET at the nearest point of a gallery: the best any retrieval from it can do.

    \b
    Example:
      pinpoint ceiling yfcc4k --gallery coordinates.csv
    """
    from ..ceiling import ceiling as best_of
    from ..coordinates import open_gallery
    from ..runs import results_root

    registry = registry_of(ctx)
    name = Path(gallery).name if Path(gallery).is_file() else gallery
    places = open_gallery(registry, gallery, gallery_data)
    opened = registry.open_dataset(dataset, location)
    done = best_of(dataset, opened, name, places, results_root(out), subset=subset, fresh=fresh)
    measure.report(done, lambda: opened)
