"""How a run is measured, and what is printed of it: options that `run`, `score` and `ceiling` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from .everywhere import quiet_before
from .options import Command, gathered, json_option, print_json, radii_option
from .print_scores import print_report, report_facts

if TYPE_CHECKING:
    from ..evaluation import Scores
    from ..running import Run
    from ..types import Dataset


@dataclass(frozen=True)
class Measure:
    """The protocols asked for, and the form of the answer."""

    protocols: Sequence[str]
    all_protocols: bool
    radii_km: Sequence[float] | None
    as_json: bool
    quiet: bool
    exclude: str | None = None
    """`FILE[:KIND,...]`, an audit and what to leave out."""

    def report(self, run: Run, dataset: Callable[[], Dataset]) -> None:
        """Score a run by every protocol asked for and print what came out.

        `dataset` is opened only for administrative accuracy, whose truth is not in the run.
        """
        scores = self._scores(run, dataset)
        if self.quiet and not self.as_json:
            click.echo(run.folder)
        else:
            print_report(run, scores, self.as_json)

    def report_each(self, runs: Iterable[Run], dataset: Callable[[], Dataset]) -> None:
        """The reports of several runs, each as soon as it is there; as JSON a list of all."""
        facts = []
        for run in runs:
            if self.as_json:
                facts.append(report_facts(run, self._scores(run, dataset)))
            else:
                self.report(run, dataset)
                click.echo("" if self.quiet else "\n", nl=False)
        if self.as_json:
            print_json(facts)

    def _scores(self, run: Run, dataset: Callable[[], Dataset]) -> list[Scores]:
        from ..audit.result import read_part
        from ..evaluation import PROTOCOLS, score_run

        default = (run.record["dataset"]["default_protocol"],)
        names = tuple(PROTOCOLS) if self.all_protocols else tuple(dict.fromkeys(self.protocols)) or default
        part = None if self.exclude is None else read_part(self.exclude)
        return [
            score_run(run, name, radii_km=self.radii_km, truth=lambda: dataset().truth(), part=part)
            for name in names
        ]


exclude_option = click.option(
    "--exclude",
    metavar="FILE[:KIND,...]",
    help="Leave out what an audit found: same-author, near-duplicates, placeholders [default: all three]; "
    "the row is marked.",
)


def measure_options() -> Callable[[Command], Command]:
    """The options above as one `measure`."""
    options: list[Callable[[Command], Command]] = [
        click.option(
            "--protocol",
            "protocols",
            multiple=True,
            metavar="NAME",
            help="How to measure; may be given again; also recall-area and nll [default: the dataset's own].",
        ),
        click.option("--all-protocols", is_flag=True, help="Measure by every distance protocol."),
        radii_option,
        json_option,
    ]

    def gather(
        protocols: Sequence[str],
        all_protocols: bool,
        radii_km: Sequence[float] | None,
        as_json: bool,
    ) -> dict[str, Any]:
        from ..evaluation import ADMIN_PRESETS, DISTRIBUTIONS, get_protocol

        for name in protocols:  # now, and not after a run of hours
            if name not in ADMIN_PRESETS and name not in DISTRIBUTIONS:
                get_protocol(name)
        return {"measure": Measure(protocols, all_protocols, radii_km, as_json, quiet_before())}

    return gathered(options, gather)
