"""`pinpoint score`: answers made elsewhere, and runs scored again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..types import DataLocation
from .options import (
    fresh_option,
    home_options,
    listed_name,
    listed_option,
    location_options,
    name_option,
    note_made,
    registry_of,
    settings_option,
    subset_options,
)
from .scoring_options import Measure, exclude_option, measure_options

if TYPE_CHECKING:
    from ..artifacts import Subset
    from ..home import Home


@click.command()
@click.argument("answers")
@click.option("--dataset", metavar="NAME", help="The dataset a file of answers belongs to.")
@location_options(answers=True)
@settings_option
@subset_options()
@name_option
@listed_option
@home_options(runs="--out")
@fresh_option
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
    listed_as: str | None,
    home: Home,
    fresh: bool,
    exclude: str | None,
    measure: Measure,
) -> None:
    """Score ANSWERS: a file of predictions (with --dataset), or a run that is stored.

    A run is named by its path, the beginning of its key, or METHOD@DATASET; METHOD@DATASET@latest is
    the newest where there are several. For a file, --set passes parameters to the method
    `stored-predictions`, and --column answer=NAME says which column holds its answers, latitude and
    longitude in one cell or sentence. With --exclude only the photos count that an audit
    (`pinpoint audit`) leaves.

    \b
    Examples:
      pinpoint score answers.csv --dataset yfcc4k --name my-model
      pinpoint score answers.csv --dataset yfcc4k --column answer=response
      pinpoint score my-model@yfcc4k --all-protocols
    """
    from ..api import read_run
    from ..params import parse_settings
    from ..running import build_request
    from ..running.runner import run as run_request

    registry = registry_of(ctx)
    measure = replace(measure, exclude=exclude)
    columns = dict(location.columns)
    column = {"answer_column": columns.pop("answer")} if "answer" in columns else {}
    location = replace(location, columns=columns)
    if dataset is None:
        if Path(answers).is_file():
            raise UsageError(f"'{answers}' is a file of answers to which dataset?", fix="add --dataset NAME")
        if listed_as:
            raise UsageError("--as names the dataset of a file of answers", fix="add --dataset NAME")
        if column:
            raise UsageError(f"--column answer= is of a file of answers, and '{answers}' is scored as a run")
        if settings:
            raise UsageError(
                f"--set is of a file of answers, and '{answers}' is scored as a run",
                fix="run the method again with --set; or add --dataset NAME to score a file",
            )
        stored = read_run(answers, home=home)
        measure.report(stored, lambda: registry.open_dataset(stored.registered_dataset, location))
        return
    opened = registry.open_dataset(dataset, location)
    request = build_request(
        registry.method("stored-predictions"),
        dataset,
        opened,
        parameters={"file": answers, **column, **parse_settings(settings)},
        subset=subset,
        label=name or Path(answers).stem,
        home=home,
        fresh=fresh,
        listed_as=listed_name(registry, dataset, listed_as),
    )
    done = run_request(request)
    note_made(home, done)
    measure.report(done, lambda: opened)
