"""`pinpoint compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .options import home_options, json_option, print_json, protocol_option, radii_option
from .scoring_options import exclude_option, read_part

if TYPE_CHECKING:
    import pandas as pd

    from ..evaluation import Comparison, Difference
    from ..home import Home


@click.command()
@click.argument("runs", nargs=-1, required=True)
@protocol_option
@click.option("--common", is_flag=True, help="Compare on the photos that all runs answered.")
@exclude_option
@radii_option
@click.option(
    "--published",
    metavar="METHOD",
    help="Set one run beside a published row of its dataset; nothing is tested.",
)
@click.option(
    "--flips",
    type=click.IntRange(min=100),
    help="Sign flips.  [default: 100 for every pair and radius, 10,000 at least]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@home_options(runs="--out")
@json_option
def compare(
    runs: Sequence[str],
    protocol: str | None,
    common: bool,
    exclude: str | None,
    radii_km: Sequence[float],
    published: str | None,
    flips: int | None,
    seed: int,
    home: Home,
    as_json: bool,
) -> None:
    """Compare RUNS pair by pair on the same photos: difference, paired interval, p, Holm, letters.

    \b
    Examples:
      pinpoint compare constant@yfcc4k random-prior@yfcc4k
      pinpoint compare my-model@yfcc4k --published GeoRanker
    """
    from ..api import read_run
    from ..evaluation import compare as compare_runs
    from ..reports.tables.published import against_published, find_published

    if published is not None and exclude is not None:
        raise UsageError("a published row is over all photos", fix="leave --exclude or --published away")
    found = [read_run(run, home=home) for run in runs]
    if published is not None:
        if len(found) != 1:
            raise UsageError("one run is set beside a published row", found=f"{len(found)} runs")
        row = find_published(found[0].dataset, published)
        _print_beside(against_published(found[0], row, radii_km=radii_km), row.protocol, as_json)
        return
    part = None if exclude is None else read_part(exclude)
    compared = compare_runs(
        found, protocol=protocol, radii_km=radii_km, common=common, part=part, flips=flips, seed=seed
    )
    if as_json:
        print_json({**compared.to_dict(), **({"part": part.title} if part else {})})
    else:
        _print(compared, f", {part.title}" if part else "")


def _print(compared: Comparison, part: str) -> None:
    from tabulate import tabulate

    click.echo(f"{compared.protocol}, {compared.rows:,} photos{part}, {compared.clusters}\n")
    standing = [
        [name, *(_value(compared, metric, name) for metric in compared.letters)] for name in compared.names
    ]
    click.echo(tabulate(standing, ["", *compared.letters], "simple", disable_numparse=True))
    click.echo("runs that share a letter in a column cannot be told apart\n")
    for first, second in dict.fromkeys((item.first, item.second) for item in compared.differences):
        mine = [item for item in compared.differences if (item.first, item.second) == (first, second)]
        click.echo(f"{first}  minus  {second}")
        headers = ["", "difference", "95 % interval", "p", "p (Holm)"]
        click.echo(tabulate(map(_line, mine), headers, "simple", disable_numparse=True) + "\n")
    click.echo(
        f"p from {compared.flips:,} sign flips of whole photographers; Holm over all pairs and radii; "
        "intervals from a paired cluster bootstrap"
    )


def _value(compared: Comparison, metric: str, name: str) -> str:
    value = compared.values[metric][name]
    return f"{'-' if value is None else f'{value:.2f}'} {compared.letters[metric][name]}"


def _line(item: Difference) -> list[str]:
    interval = "-" if item.low is None or item.high is None else f"{item.low:+.2f} to {item.high:+.2f}"
    return [
        item.metric,
        "-" if item.difference is None else f"{item.difference:+.2f}",
        interval,
        "-" if item.p is None else f"{item.p:.4f}",
        ("-" if item.p_holm is None else f"{item.p_holm:.4f}") + (" *" if item.significant else ""),
    ]


def _print_beside(table: pd.DataFrame, protocol: str, as_json: bool) -> None:
    if as_json:
        print_json({"tested": False, "published protocol": protocol, "metrics": table.to_dict("records")})
        return
    from tabulate import tabulate

    click.echo(tabulate(table.round(2).values.tolist(), list(table.columns), "simple"))
    click.echo("unpaired, not tested: there are no answers to pair with; 95 % interval of ours only")
    if protocol == "?":
        click.echo("the published row does not state its protocol")
