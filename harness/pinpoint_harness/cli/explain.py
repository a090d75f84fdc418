"""`pinpoint runs explain`: one photo's story."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ..reports.pictures import picture_format
from ..types import DataLocation
from .drawing_options import drawing_options
from .options import home_options, json_option, location_options, print_facts, print_json, registry_of
from .print_scores import print_table, run_heading

if TYPE_CHECKING:
    from ..home import Home
    from ..reports.photo_story import CandidateFacts, PhotoStory
    from ..reports.pictures import Drawing


@click.command()
@click.argument("run")
@click.argument("photo")
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="Candidates shown."
)
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the photo beside its candidates: PNG, PDF or SVG. A map stands for what is not here.",
)
@drawing_options
@location_options(images=True)
@home_options()
@json_option
@click.pass_context
def explain(
    ctx: click.Context,
    run: str,
    photo: str,
    count: int,
    sheet: Path | None,
    drawing: Drawing,
    location: DataLocation,
    home: Home,
    as_json: bool,
) -> None:
    """Tell what RUN stored of one PHOTO, by its id: answer, probabilities, candidates, whence they come.

    Candidates stand by probability where they have one, the most probable first, else as the method ranks
    them; `given` is their rank in the method's own order, `score` its own score, `found by` the searches
    that found them and their rank in each. `near` counts the gallery photos within 25 km, as far as the
    galleries are on this machine.

    \b
    Example:
      pinpoint runs explain nearest-photo@yfcc4k 3141592 --sheet photo.png
    """
    from ..api import read_run
    from ..reports.photo_lookup import PhotoLookup
    from ..reports.photo_story import tell
    from ..reports.run_plots import candidate_sheet
    from ..reports.support import Support

    if sheet is not None:
        picture_format(sheet)
    found = read_run(run, home=home)
    registry = registry_of(ctx)
    story = tell(found, photo, Support.of([found], registry))
    if as_json:
        print_json({**run_heading(found), **story.to_dict()})
    else:
        click.echo(f"{found.title} on {found.dataset}\n")
        _print_story(story, count)
    if sheet is not None:
        lookup = PhotoLookup(found, registry, location)
        drawing.write(candidate_sheet(lookup, np.array([story.row]), most=count), sheet)
        if not as_json:
            click.echo(f"\nsheet: {sheet}")


def _print_story(story: PhotoStory, count: int) -> None:
    from ..reports.support import SUPPORT_KM

    print_facts(
        {
            "photo": story.photo,
            "author": story.author,
            "truth": _place(story.truth),
            "answer": story.status if story.answer is None else _place(story.answer),
            "error": None
            if story.error_km is None
            else f"{story.error_km:,.2f} km; {story.standing:.1%} of the run's photos have less",
            "confidence": None if story.confidence is None else f"{story.confidence:.4g}",
            "stated": story.within
            and ", ".join(f"{share:.0%} within {radius:g} km" for radius, share in story.within.items()),
            "gallery": ", ".join(
                f"{count:,} of {name} within {SUPPORT_KM:g} km of the truth"
                for name, count in story.support.items()
            )
            or None,
        },
        as_json=False,
    )
    if not story.candidates:
        click.echo("\nthe run stored no candidates of this photo")
        return
    print_table(*_columns(story, story.candidates[:count]))
    if len(story.candidates) > count:
        click.echo(f"and {len(story.candidates) - count:,} more: -n or --json show them")
    nearest = story.nearest()
    if nearest is not None:
        click.echo(
            f"nearest to the truth of all {len(story.candidates):,}: rank {nearest.rank}, "
            f"{nearest.to_truth_km:,.2f} km"
        )


def _columns(story: PhotoStory, shown: Sequence[CandidateFacts]) -> tuple[list[str], list[list[str]]]:
    """Headers and lines; what no candidate of the photo has gets no column."""
    everyone = story.candidates
    columns = {"rank": [str(one.rank) for one in shown]}
    if any(one.probability is not None for one in everyone):
        columns["probability"] = [_figure(one.probability, ".3f") for one in shown]
        columns["given"] = [str(one.given_rank) for one in shown]
    if any(one.score is not None for one in everyone):
        columns["score"] = [_figure(one.score, ".4g") for one in shown]
    if any(one.found_by for one in everyone):
        columns["found by"] = [one.found_by or "-" for one in shown]
    columns["to truth, km"] = [_figure(one.to_truth_km, ",.2f") for one in shown]
    columns["to answer, km"] = [_figure(one.to_answer_km, ",.2f") for one in shown]
    if story.support:
        columns["near"] = [f"{sum(one.support.values()):,}" for one in shown]
    columns["place"] = [f"{one.latitude:.4f}, {one.longitude:.4f}" for one in shown]
    columns["photo"] = [" ".join(word for word in (one.source, one.photo_id) if word) or "-" for one in shown]
    return list(columns), [list(line) for line in zip(*columns.values(), strict=True)]


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _place(place: tuple[float, float]) -> str:
    return f"{place[0]:.5f}, {place[1]:.5f}"
