"""`pinpoint table`: stored runs and published rows, for a terminal or a paper."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..reports.tables import HIDDEN
from .choice_options import choice_options, words
from .options import home_options, json_option, print_json, radii_option, registry_of, terminal_width
from .scoring_options import exclude_option

if TYPE_CHECKING:
    from ..home import Home
    from ..reports.tables import Format
    from ..reports.tables.choice import Choice


@click.command()
@click.argument("dataset")
@click.option("--published", is_flag=True, help="Add the rows of the literature, in a block of their own.")
@click.option(
    "--published-file",
    "published_files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Add rows of your own in the columns of the published files.",
)
@click.option("--protocol", metavar="NAME", help="Measure every run by this protocol.")
@click.option("--mix-protocols", is_flag=True, help="Show runs of different protocols, a block for each.")
@click.option("--admin", metavar="NAME", help="Add country, region, area and city accuracy by this preset.")
@click.option("--compare", is_flag=True, help="Add letters: full runs that share one cannot be told apart.")
@exclude_option
@radii_option
@click.option("--runs", metavar="RUN,...", help="Only these runs, named as everywhere.")
@choice_options(hide=HIDDEN)
@click.option("--intervals/--no-intervals", default=True, show_default=True, help="Print 95 % intervals.")
@click.option("--compact", is_flag=True, help="Short names and half-widths, for one column of a paper.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "latex", "csv", "html", "html-part"]),
    default="text",
    show_default=True,
    help="What to print; text is as wide as the terminal.",
)
@home_options(runs="--out")
@json_option
@click.pass_context
def table(
    ctx: click.Context,
    dataset: str,
    published: bool,
    published_files: Sequence[Path],
    protocol: str | None,
    mix_protocols: bool,
    admin: str | None,
    compare: bool,
    exclude: str | None,
    radii_km: Sequence[float] | None,
    runs: str | None,
    choice: Choice,
    intervals: bool,
    compact: bool,
    form: Format,
    home: Home,
    as_json: bool,
) -> None:
    """Print a table of every stored run of DATASET, the best first.

    DATASET may be the name that --as gave a table of your own. Rows are ranked only within one protocol
    and one truth, and over the full dataset; oracle and partial rows,
    and all rows of a table with --exclude, are marked and never ranked.

    \b
    Examples:
      pinpoint table yfcc4k --sort 25km --hide oracles
      pinpoint table yfcc4k --mean-over seed --columns 1km,25km,geoscore
      pinpoint table yfcc4k --published --format latex --compact --no-intervals
    """
    from ..api.show import chosen_table

    made = chosen_table(
        dataset,
        choice,
        published=published,
        published_files=published_files,
        protocol=protocol,
        mix_protocols=mix_protocols,
        admin=admin,
        compare=compare,
        exclude=exclude,
        radii_km=radii_km,
        runs=words(runs),
        intervals=intervals,
        home=home,
        registry=registry_of(ctx),
    )
    if as_json:
        print_json(json.loads(made.to_frame().to_json(orient="records")))
        return
    text = made.text(form, compact=compact, width=terminal_width(), styled=has_style())
    click.echo(text, nl=not text.endswith("\n"))


def has_style() -> bool:
    """Whether stdout is a terminal that may be written to in bold; $NO_COLOR (no-color.org) says no."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
