"""`pinpoint site`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import home_options, overwrite_option, registry_of
from .page_options import page_options

if TYPE_CHECKING:
    from ..home import Home
    from ..reports.pages import ReportOptions


@click.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write [default: reports/site in the home folder].",
)
@page_options
@click.option(
    "--reports/--no-reports", default=True, show_default=True, help="A report of each dataset's runs beside."
)
@overwrite_option
@home_options()
@click.pass_context
def site(
    ctx: click.Context,
    out: Path | None,
    options: ReportOptions,
    reports: bool,
    overwrite: bool,
    home: Home,
) -> None:
    """Write a leaderboard of all stored runs as pages for a web server, one per dataset and protocol.

    Only complete runs of one truth and one protocol are ranked; partial and damaged runs, oracles and
    published rows stand apart. The pages need no server and no network. Prints the path of the index. A
    folder is replaced as a whole, and only if every file in it is of a site; a site in the home folder takes
    the place of the one before.

    \b
    Examples:
      pinpoint site
      pinpoint site -o public/leaderboard --no-pictures --overwrite
    """
    from ..reports.pages import write_site

    path = out or home.reports / "site"
    options = replace(options, audits=home.audits)
    written = write_site(
        home.runs, registry_of(ctx), path, options, reports=reports, overwrite=overwrite or out is None
    )
    click.echo(written)
