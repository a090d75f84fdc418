"""`pinpoint runs explain`: one photo's story."""

from __future__ import annotations

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
    """Tell what RUN stored of one PHOTO, by its id: answer, probabilities, candidates and their distances.

    Candidates stand by probability where they have one, the most probable first, else as the method ranks
    them; `given` is their rank in the method's own order.

    \b
    Example:
      pinpoint runs explain nearest-photo@yfcc4k 3141592 --sheet photo.png
    """
    from ..api import read_run
    from ..reports.photo_lookup import PhotoLookup
    from ..reports.photo_story import tell
    from ..reports.run_plots import candidate_sheet

    if sheet is not None:
        picture_format(sheet)
    found = read_run(run, home=home)
    story = tell(found, photo)
    if as_json:
        print_json({**run_heading(found), **story.to_dict()})
    else:
        click.echo(f"{found.title} on {found.dataset}\n")
        _print_story(story, count)
    if sheet is not None:
        lookup = PhotoLookup(found, registry_of(ctx), location)
        drawing.write(candidate_sheet(lookup, np.array([story.row]), most=count), sheet)
        if not as_json:
            click.echo(f"\nsheet: {sheet}")


def _print_story(story: PhotoStory, count: int) -> None:
    print_facts(
        {
            "photo": story.photo,
            "author": story.author,
            "truth": _place(story.truth),
            "answer": story.status if story.answer is None else _place(story.answer),
            "error": None
            if story.error_km is None
            else f"{story.error_km:,.2f} km; {story.standing:.1%} of the run's photos have less",
            "confidence": story.confidence,
            "stated": story.within
            and ", ".join(f"{share:.0%} within {radius:g} km" for radius, share in story.within.items()),
        },
        as_json=False,
    )
    if not story.candidates:
        click.echo("\nthe run stored no candidates of this photo")
        return
    with_probability = any(one.probability is not None for one in story.candidates)
    headers = ["rank", *(["probability", "given"] if with_probability else [])]
    headers += ["to truth, km", "to answer, km", "latitude", "longitude", "photo"]
    print_table(headers, [_line(one, with_probability) for one in story.candidates[:count]])
    if len(story.candidates) > count:
        click.echo(f"and {len(story.candidates) - count:,} more: -n or --json show them")
    nearest = story.nearest()
    if nearest is not None:
        click.echo(
            f"nearest to the truth of all {len(story.candidates):,}: rank {nearest.rank}, "
            f"{nearest.to_truth_km:,.2f} km"
        )


def _line(one: CandidateFacts, with_probability: bool) -> list[str]:
    probability = "-" if one.probability is None else f"{one.probability:.3f}"
    return [
        str(one.rank),
        *([probability, str(one.given_rank)] if with_probability else []),
        f"{one.to_truth_km:,.2f}",
        "-" if one.to_answer_km is None else f"{one.to_answer_km:,.2f}",
        f"{one.latitude:.4f}",
        f"{one.longitude:.4f}",
        " ".join(word for word in (one.source, one.photo_id) if word) or "-",
    ]


def _place(place: tuple[float, float]) -> str:
    return f"{place[0]:.5f}, {place[1]:.5f}"
