"""`pinpoint results plot`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ArtifactError
from ..types import DataLocation
from .options import location_options, out_option, registry_of

if TYPE_CHECKING:
    from ..reports.photo_lookup import PhotoLookup

KINDS = ("cdf", "map", "sheet", "all")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="all",
    show_default=True,
    help="Error curves of all runs in one picture, a map or a sheet of each, or all three.",
)
@click.option(
    "--out-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder to write the pictures in [default: here].",
)
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
@out_option
@click.pass_context
def plot(
    ctx: click.Context,
    runs: Sequence[str],
    kind: str,
    out_dir: Path,
    rows: int,
    worst: bool,
    seed: int,
    location: DataLocation,
    out: Path | None,
) -> None:
    """Draw RUNs of one dataset as PNG: error curves, a map of errors, queries with their candidates.

    \b
    Examples:
      pinpoint results plot nearest-photo@yfcc4k random-prior@yfcc4k --kind cdf
      pinpoint results plot nearest-photo@yfcc4k --kind sheet --worst --out-dir pictures
    """
    from ..api import read_run
    from ..artifacts import safe_name, write_atomic
    from ..reports.photo_lookup import PhotoLookup
    from ..reports.run_plots import check_one_dataset

    found = [read_run(run, out) for run in runs]
    check_one_dataset(found)
    registry = registry_of(ctx)
    photo_lookups = [PhotoLookup(run, registry, location) for run in found]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"'{out_dir}' cannot be made", found=str(error), fix="choose another --out-dir"
        ) from error
    for name, picture in _pictures(photo_lookups, kind, rows, worst, seed):
        path = out_dir / f"{safe_name(found[0].dataset)}-{name}.png"
        write_atomic(path, picture)
        click.echo(path)


def _pictures(
    photo_lookups: Sequence[PhotoLookup], kind: str, rows: int, worst: bool, seed: int
) -> Iterator[tuple[str, bytes]]:
    """The pictures asked for as PNG, each with the end of its file's name; drawn one at a time."""
    from ..artifacts import safe_name
    from ..reports.maps import png
    from ..reports.run_plots import candidate_sheet, choose_rows, error_cdf, error_map

    if kind in ("cdf", "all"):
        yield "cdf", png(error_cdf([photo_lookup.run for photo_lookup in photo_lookups]))
    for photo_lookup in photo_lookups:
        run = photo_lookup.run
        name = f"{safe_name(run.label)}-{run.key[:8]}"
        if kind in ("map", "all"):
            yield f"{name}-map", png(error_map(run, lines=rows if worst else 0, seed=seed))
        if kind in ("sheet", "all"):
            error_km = run.predictions()["error_km"].to_numpy(dtype=float)
            chosen = choose_rows(error_km, rows, worst=worst, seed=seed)
            yield f"{name}-sheet", png(candidate_sheet(photo_lookup, chosen))
