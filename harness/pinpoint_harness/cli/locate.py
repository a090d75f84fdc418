"""`pinpoint locate`: photos in, places out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..reports.pictures import picture_format
from .drawing_options import drawing_options
from .options import (
    candidates_option,
    device_option,
    follow_links_option,
    home_options,
    json_option,
    print_json,
    registry_of,
    settings_option,
    source_option,
    weights_option,
)

if TYPE_CHECKING:
    from ..home import Home
    from ..locate import Answer, Candidate
    from ..reports.pictures import Drawing


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path(path_type=Path))
@click.option("--method", default="pinpoint-plus", show_default=True, help="Who is asked.")
@settings_option
@source_option
@click.option(
    "--author",
    metavar="NAME",
    help="Who took the photos, as the gallery spells it, with --set author_filter=true.",
)
@candidates_option
@click.option(
    "--map",
    "map_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw answers and candidates on a map: PNG, PDF or SVG.",
)
@drawing_options
@follow_links_option
@device_option
@weights_option
@home_options(stores="--stores")
@json_option
@click.pass_context
def locate(
    ctx: click.Context,
    photos: Sequence[Path],
    method: str,
    settings: Sequence[str],
    source: str,
    author: str | None,
    candidates: int,
    map_file: Path | None,
    drawing: Drawing,
    follow_links: bool,
    device: str,
    weights: str | None,
    home: Home,
    as_json: bool,
) -> None:
    """Say where each PHOTO was taken: files, folders or archives of them.

    The method sees upright pixels, never a file name or a position in EXIF, and nothing is stored. Exit
    code 1 if any photo got no place; the others are answered all the same.

    \b
    Example:
      pinpoint locate holiday.jpg --map holiday.png
    """
    from ..locate import Locator, open_photos
    from ..params import parse_settings

    if map_file:
        _check_map(map_file)
    with open_photos(photos, follow_links) as opened:
        locator = Locator(
            registry_of(ctx),
            method,
            parse_settings(settings),
            source=source,
            device=device,
            home=home,
            weights=weights,
        )
        answers: list[Answer] = []
        for answer in _shown_progress(locator.answers(opened, author), len(opened), as_json):
            answers.append(answer)
            if not as_json:
                click.echo("\n".join(_lines(answer, candidates, locator.notes())) + "\n")
    notes = locator.notes()
    if as_json:
        print_json(locator.document(answers, candidates, author))
    if map_file:
        _write_map(map_file, drawing, answers, candidates, method, notes)
    if any(answer.place is None for answer in answers):
        ctx.exit(1)


def _check_map(path: Path) -> None:
    """Before any work is done."""
    picture_format(path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UsageError(
            f"the map cannot be written to '{path}'",
            found="no such folder" if not path.parent.exists() else "a place that cannot be written to",
            fix="give --map a name in a folder of yours",
        )


def _write_map(
    path: Path,
    drawing: Drawing,
    answers: Sequence[Answer],
    candidates: int,
    method: str,
    notes: Sequence[str],
) -> None:
    from dataclasses import replace

    from ..reports.answer_map import draw_answers

    placed = [
        replace(answer, candidates=answer.candidates[:candidates]) for answer in answers if answer.place
    ]
    if not placed:
        click.echo(f"no map '{path}': no photo got a place", err=True)
        return
    title = f"{method}: {len(placed)} photo{'s' * (len(placed) != 1)}"
    drawing.write(draw_answers(placed, title, notes), path)


def _shown_progress(answers: Iterator[Answer], total: int, as_json: bool) -> Iterator[Answer]:
    """A bar on a terminal, unless the answers themselves appear there one by one."""
    from ..progress import phase

    if not as_json and sys.stdout.isatty():
        yield from answers
        return
    with phase("locate", total, unit="photos") as advance:
        for answer in answers:
            yield answer
            advance(1)


def _lines(answer: Answer, candidates: int, notes: Sequence[str]) -> list[str]:
    if answer.place is None:
        return [answer.photo, f"  no place    {answer.status}"]
    lines = [answer.photo, f"  place       {answer.place[0]:.5f}, {answer.place[1]:.5f}"]
    lines.append(f"  confidence  {_confidence(answer.within)}")
    shown = answer.candidates[:candidates]
    for rank, candidate in enumerate(shown, start=1):
        lines.append(f"  {'candidates' if rank == 1 else '':<10}  {_candidate(rank, candidate)}")
    lines.append(f"  map         {answer.link}")
    return [*lines, *(f"  note        {note}" for note in notes)]


def _confidence(within: Mapping[float, float] | None) -> str:
    if within is None:
        return "this method reports no probabilities"
    return ", ".join(f"{_percent(share)} within {radius:g} km" for radius, share in within.items())


def _candidate(rank: int, candidate: Candidate) -> str:
    probability = "" if candidate.probability is None else _percent(candidate.probability)
    place = f"{candidate.latitude:>9.5f}, {candidate.longitude:>10.5f}"
    return (
        f"{rank:>3}  {place}  {probability:>6}  {candidate.distance_km:>8,.1f} km  {candidate.source or ''}"
    ).rstrip()


def _percent(share: float) -> str:
    """Whole percents, of which neither 0 nor 100 is said unless it is meant."""
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"
