"""`pinpoint plot`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ArtifactError, UsageError
from ..reports.pictures import FORMATS, picture_format
from ..types import DataLocation
from .drawing_options import drawing_options
from .options import home_options, location_options, registry_of

if TYPE_CHECKING:
    from ..home import Home
    from ..reports.photo_lookup import PhotoLookup
    from ..reports.pictures import Drawing, Figure

KINDS = ("cdf", "map", "sheet", "recall-area", "all")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="all",
    show_default=True,
    help="Error curves of all runs in one picture, a map or a sheet of each, or all three; or recall against "
    "the area of candidates.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder to write the pictures in, or the file of a single one, such as errors.pdf [default: here].",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="png",
    show_default=True,
    help="Of pictures in a folder; a file is what its suffix says.",
)
@drawing_options
@click.option("--rows", type=click.IntRange(1, 50), default=8, show_default=True, help="Queries on a sheet.")
@click.option(
    "--worst",
    is_flag=True,
    help="Take the farthest answers instead of queries by chance; the map joins them with the truth.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which queries by chance."
)
@location_options(images=True)
@home_options()
@click.pass_context
def plot(
    ctx: click.Context,
    runs: Sequence[str],
    kind: str,
    out: Path,
    form: str,
    drawing: Drawing,
    rows: int,
    worst: bool,
    seed: int,
    location: DataLocation,
    home: Home,
) -> None:
    """Draw RUNs of one dataset: error curves, a map of errors, queries with their candidates.

    \b
    Examples:
      pinpoint plot nearest-photo@yfcc4k random-prior@yfcc4k --kind cdf --out errors.pdf --size 7x4
      pinpoint plot nearest-photo@yfcc4k --kind sheet --worst --out pictures
    """
    from ..api import read_run
    from ..artifacts import safe_name
    from ..reports.photo_lookup import PhotoLookup
    from ..reports.run_plots import check_one_dataset

    found = [read_run(run, home=home) for run in runs]
    check_one_dataset(found)
    registry = registry_of(ctx)
    photo_lookups = [PhotoLookup(run, registry, location) for run in found]
    target = _target(out, form, one=kind != "all" and (kind in ("cdf", "recall-area") or len(found) == 1))
    for name, picture in _pictures(photo_lookups, kind, rows, worst, seed):
        path = out if target is None else target / f"{safe_name(found[0].dataset)}-{name}.{form}"
        drawing.write(picture, path)
        click.echo(path)


def _target(out: Path, form: str, one: bool) -> Path | None:
    """The folder of the pictures, made where there is none; None where `out` is the file of the only one."""
    if out.suffix and not out.is_dir():
        picture_format(out)
        if not one:
            raise UsageError(
                f"--out {out} is one file for several pictures",
                fix="give a folder, or one --kind and one RUN",
            )
    folder = out.parent if out.suffix and not out.is_dir() else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot make '{folder}'", found=str(error), fix="choose another --out"
        ) from error
    return None if folder != out else folder


def _pictures(
    photo_lookups: Sequence[PhotoLookup], kind: str, rows: int, worst: bool, seed: int
) -> Iterator[tuple[str, Figure]]:
    """The pictures asked for, each with the end of its file's name; drawn one at a time."""
    from ..artifacts import safe_name
    from ..reports.area_plot import recall_area
    from ..reports.run_plots import candidate_sheet, choose_rows, error_cdf, error_map

    if kind == "recall-area":
        yield kind, recall_area([photo_lookup.run for photo_lookup in photo_lookups])
    if kind in ("cdf", "all"):
        yield "cdf", error_cdf([photo_lookup.run for photo_lookup in photo_lookups])
    for photo_lookup in photo_lookups:
        run = photo_lookup.run
        name = f"{safe_name(run.label)}-{run.key[:8]}"
        if kind in ("map", "all"):
            yield f"{name}-map", error_map(run, lines=rows if worst else 0)
        if kind in ("sheet", "all"):
            error_km = run.predictions()["error_km"].to_numpy(dtype=float)
            chosen = choose_rows(error_km, rows, worst=worst, seed=seed)
            yield f"{name}-sheet", candidate_sheet(photo_lookup, chosen)
