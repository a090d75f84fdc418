"""`pinpoint run`, `score` and `ceiling`: everything that makes a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..types import DataLocation
from .options import (
    device_option,
    fresh_option,
    home_options,
    in_turn,
    listed_name,
    listed_option,
    location_options,
    name_option,
    note_made,
    registry_of,
    settings_option,
    subset_options,
    weights_option,
)
from .scoring_options import Measure, measure_options

if TYPE_CHECKING:
    from ..artifacts import Subset
    from ..home import Home
    from ..running import Run
    from ..types import Dataset


@click.command()
@click.argument("method")
@click.argument("dataset")
@location_options(images=True)
@click.option(
    "--gallery-images",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Folder or archive of the gallery's pictures, if not in the usual places; may be given again.",
)
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
    help="Answer only every N-th tile, from I on: for processes that know nothing of one another.",
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
    gallery_images: Sequence[Path],
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

    For a method that looks at features, those that are not in a store yet are computed first, of the
    gallery as well.

    Give the same command again to resume a run that was stopped. The processes of a torchrun share
    the work and the galleries, and the first prints. Several commands with one --home share the work
    with --shard; the last one puts the run together and scores it.

    Several values of a parameter (--set author_filter=false,true) make a run of every combination.

    \b
    Examples:
      pinpoint run constant capitals --set latitude=51.5074 --set longitude=-0.1278
      pinpoint run constant capitals --set latitude=0,50 --set longitude=-75,0,75
    """
    from ..batching import WorkerShare
    from ..errors import UnfinishedError
    from ..processes import joined_processes
    from ..progress import speaks
    from ..running import TILE, build_request, choose_device, parameter_grid
    from ..running.runner import run as run_request

    registry = registry_of(ctx)
    entry, opened = registry.method(method), registry.open_dataset(dataset, location)
    shown_as = listed_name(registry, dataset, listed_as)
    grid, alone = parameter_grid(entry, settings), share is not None

    def finished() -> Iterator[Run]:
        for _, chosen in in_turn(grid):
            request = build_request(
                entry,
                dataset,
                opened,
                parameters=chosen,
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
                listed_as=shown_as,
                gallery_images=gallery_images,
            )
            try:
                done = run_request(request)
            except UnfinishedError as unfinished:
                click.echo(unfinished)
                continue
            if alone or speaks():
                note_made(home, done)
            yield done

    with nullcontext() if alone else joined_processes(choose_device(entry, device)):
        if alone or speaks():
            _report(finished(), len(grid) > 1, measure, opened, listed_as or dataset)
        else:
            deque(finished(), maxlen=0)


def _report(runs: Iterator[Run], several: bool, measure: Measure, opened: Dataset, listed_as: str) -> None:
    """The scores of one run, or a line for each of several as they are finished."""
    from ..progress import log

    if several:
        measure.report_each(runs, lambda: opened)
        log.info("side by side: pinpoint table %s", listed_as)
    else:
        for done in runs:
            measure.report(done, lambda: opened)
