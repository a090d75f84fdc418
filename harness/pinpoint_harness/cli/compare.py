"""`pinpoint compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..console import visible
from ..errors import UsageError
from ..reports.tables import find_metric
from .choice_options import choice_options
from .options import aligned, home_options, json_option, print_json, protocol_option, radii_option
from .scoring_options import exclude_option

if TYPE_CHECKING:
    from ..evaluation import Comparison, Difference
    from ..home import Home
    from ..reports.tables.choice import Choice
    from ..running import Run

HIDDEN = ("oracles", "partial", "notes", "intervals", "pairs")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN|DATASET...")
@protocol_option
@click.option("--common", is_flag=True, help="Compare on the photos that all runs answered.")
@exclude_option
@radii_option
@choice_options(hide=HIDDEN)
@click.option(
    "--beside",
    "published",
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
    radii_km: Sequence[float] | None,
    choice: Choice,
    published: str | None,
    flips: int | None,
    seed: int,
    home: Home,
    as_json: bool,
) -> None:
    """Compare runs pair by pair on the same photos: difference, paired interval, p, Holm, letters.

    A DATASET stands for all its finished runs; --methods chooses among them. For a paper,
    `pinpoint table DATASET --compare --format latex` prints letters: runs that share one cannot be told
    apart.

    \b
    Examples:
      pinpoint compare constant@yfcc4k random-prior@yfcc4k
      pinpoint compare yfcc4k --mean-over seed --columns 1km,25km --hide oracles,partial
      pinpoint compare my-model@yfcc4k --beside GeoRanker
    """
    from ..audit.result import read_part
    from ..evaluation import compare as compare_runs
    from ..running import radii_of

    if published is not None and exclude is not None:
        raise UsageError("a published row is over all photos", fix="leave --exclude or --beside away")
    found = _chosen(runs, choice, home)
    if published is not None:
        _beside(found, published, radii_km, as_json)
        return
    part = None if exclude is None else read_part(exclude)
    names = _names(found, choice)
    compared = compare_runs(
        found,
        protocol=protocol,
        radii_km=choice.radii_km(radii_of(found) if radii_km is None else radii_km),
        common=common,
        part=part,
        mean_over=choice.mean_over,
        flips=flips,
        seed=seed,
    )
    if as_json:
        print_json({**compared.to_dict(), **({"part": part.title} if part else {})})
        return
    view = _View(compared, dict(zip(compared.names, names, strict=True)), choice)
    view.print(f", {part.title}" if part else "")


def _chosen(named: Sequence[str], choice: Choice, home: Home) -> list[Run]:
    """The runs that were named, and those of the datasets that were, as far as they are chosen."""
    from ..api import read_run
    from ..running import iter_runs

    found: dict[Path, Run] = {}
    for name in named:
        runs = [] if "@" in name or Path(name).exists() else list(iter_runs(home.runs, name))
        for run in runs or [read_run(name, home=home)]:
            folder = run.folder.resolve()
            if folder in found and not runs:
                raise UsageError(f"the run '{name}' is compared with itself", fix="name each run once")
            found[folder] = run
    return [
        run
        for run in choice.among(found.values())
        if not ("oracles" in choice.hide and run.oracle) and not ("partial" in choice.hide and run.partial)
    ]


def _names(runs: Sequence[Run], choice: Choice) -> list[str]:
    """What each row is called, that of repeats by how many they are."""
    from ..reports.tables.choice import new_names
    from ..reports.tables.names import short_names
    from ..running import nothing_to_average, repeats

    groups = [[run] for run in runs] if choice.mean_over is None else repeats(runs, choice.mean_over)
    shorts = dict(zip(runs, short_names(runs, choice.mean_over), strict=True))
    if choice.mean_over and len(groups) == len(runs) > 1:
        raise nothing_to_average(shorts.values(), choice.mean_over)
    names = []
    for group in groups:
        short = shorts[group[0]]
        several = f"{short.partition(' [')[0]} (mean of {len(group)})"
        names.append(short if len(group) == 1 else several)
    new = new_names([(name, name.partition(" (")[0]) for name in names], choice.rename)
    return [new.get(at, name) for at, name in enumerate(names)]


@dataclass(frozen=True)
class _View:
    """A comparison as it is shown: under which names, in which order and columns."""

    compared: Comparison
    names: Mapping[str, str]
    choice: Choice

    def print(self, part: str) -> None:
        compared, hide = self.compared, self.choice.hide
        click.echo(f"{compared.protocol}, {compared.rows:,} photos{part}, {compared.clusters}\n")
        metrics = self.choice.metrics([*compared.letters])
        standing = [
            [self.names[name], *(self.value(metric, name) for metric in metrics)] for name in self.order()
        ]
        headers = ["", *(find_metric(metric).label for metric in metrics)]
        click.echo(aligned(standing, headers))
        if "notes" not in hide:
            click.echo("runs that share a letter in a column cannot be told apart")
        if "pairs" in hide:
            return
        for first, second in dict.fromkeys((item.first, item.second) for item in compared.differences):
            mine = [item for item in compared.differences if (item.first, item.second) == (first, second)]
            if self.choice.columns:
                mine = [item for item in mine if item.metric in metrics]
            click.echo(f"\n{visible(self.names[first])}  minus  {visible(self.names[second])}")
            click.echo(_pair(mine, "intervals" not in hide))
        if "notes" not in hide:
            click.echo(
                f"\np from {compared.flips:,} sign flips of whole photographers; Holm over all pairs and "
                "radii; intervals from a paired cluster bootstrap"
            )

    def order(self) -> list[str]:
        """The best first by the chosen metric, which distances are where they are small."""
        names = list(self.compared.names)
        if self.choice.order == "method":
            return sorted(names, key=lambda name: self.names[name].casefold())
        values = self.compared.values[self.choice.order]
        sign = 1 if find_metric(self.choice.order).lower_is_better else -1
        return sorted(names, key=lambda name: (values[name] is None, sign * (values[name] or 0.0)))

    def value(self, metric: str, name: str) -> str:
        value, letters = self.compared.values[metric][name], self.compared.letters.get(metric, {})
        return f"{'-' if value is None else f'{value:.2f}'} {letters.get(name, '')}".rstrip()


def _pair(differences: Sequence[Difference], intervals: bool) -> str:
    headers = ["", "difference", "95 % interval", "p", "p (Holm)"]
    lines = [_line(item) for item in differences]
    if not intervals:
        headers, lines = (
            [one for one in headers if one != "95 % interval"],
            [[*one[:2], *one[3:]] for one in lines],
        )
    return aligned(lines, headers)


def _line(item: Difference) -> list[str]:
    interval = "-" if item.low is None or item.high is None else f"{item.low:+.2f} to {item.high:+.2f}"
    return [
        find_metric(item.metric).label,
        "-" if item.difference is None else f"{item.difference:+.2f}",
        interval,
        "-" if item.p is None else f"{item.p:.4f}",
        ("-" if item.p_holm is None else f"{item.p_holm:.4f}") + (" *" if item.significant else ""),
    ]


def _beside(found: Sequence[Run], published: str, radii_km: Sequence[float] | None, as_json: bool) -> None:
    """One run and a published row, side by side."""
    from ..reports.tables.published import against_published, find_published

    if len(found) != 1:
        raise UsageError("one run is set beside a published row", found=f"{len(found)} runs")
    row = find_published(found[0].dataset, published)
    table = against_published(found[0], row, radii_km=radii_km)
    if as_json:
        print_json({"tested": False, "published protocol": row.protocol, "metrics": table.to_dict("records")})
        return
    figures = table.map(lambda cell: f"{cell:.2f}" if isinstance(cell, float) else cell)
    click.echo(aligned(figures.values.tolist(), list(table.columns)))
    click.echo("unpaired, not tested: there are no answers to pair with; 95 % interval of ours only")
    if row.protocol == "?":
        click.echo("the published row does not state its protocol")
