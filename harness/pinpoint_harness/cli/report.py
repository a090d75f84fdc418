"""`pinpoint report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ArtifactError, UsageError
from ..types import DataLocation
from .options import home_options, location_options, overwrite_option, protocol_option, registry_of
from .page_options import page_options

if TYPE_CHECKING:
    from ..home import Home
    from ..reports.pages import ReportOptions
    from ..running import Run


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write [default: reports/DATASET.html in the home folder].",
)
@protocol_option
@page_options
@location_options(images=True)
@overwrite_option
@home_options()
@click.pass_context
def report(
    ctx: click.Context,
    runs: Sequence[str],
    out: Path | None,
    protocol: str | None,
    options: ReportOptions,
    location: DataLocation,
    overwrite: bool,
    home: Home,
) -> None:
    """Write one HTML file of RUNs, of one dataset or several, that opens anywhere and needs no network.

    Table, map, error curves, paired differences, breakdowns, calibration, photos with candidates, and
    how each run was made; a selection in one view filters the others. Prints the path of the file. A report
    in the home folder takes the place of the one before.

    \b
    Examples:
      pinpoint report nearest-photo@yfcc4k my-model@yfcc4k -o report.html
      pinpoint report my-model@osv5m --no-pictures
    """
    from ..api import read_run
    from ..reports.pages import write_report

    if out is not None:
        _check_suffix(out)
    found = [read_run(run, home=home) for run in runs]
    path = out or home.reports / f"{_stem(found)}.html"
    options = replace(options, protocol=protocol, location=location, audits=home.audits)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot make '{path.parent}'", found=str(error), fix="choose another --out"
        ) from error
    write_report(found, registry_of(ctx), path, options, overwrite=overwrite or out is None)
    click.echo(path)


def _check_suffix(path: Path) -> None:
    """Refuse a name that would say of the file what it is not."""
    if path.suffix.lower() in (".html", ".htm"):
        return
    page = path.with_suffix(".html") if path.suffix else Path(f"{path}.html")
    fix = f"--out '{page}'"
    if path.suffix.lower() == ".pdf":
        fix += "; open it in a browser and print it as PDF"
    raise UsageError(f"a report is a page in HTML, and '{path}' is not called so", fix=fix)


def _stem(runs: Sequence[Run]) -> str:
    from ..artifacts import safe_name

    names = [safe_name(name) for name in dict.fromkeys(run.dataset for run in runs)]
    return names[0] if len(names) == 1 else f"{names[0]}-and-{len(names) - 1}-more"
