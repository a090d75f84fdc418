"""Options that `table` and `compare` share: which rows and columns, in which order, under which names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .options import Command, gathered

if TYPE_CHECKING:
    from ..reports.tables.choice import Choice


def choice_options(hide: Sequence[str]) -> Callable[[Command], Command]:
    """`--methods`, `--columns`, `--sort`, `--rename`, `--hide` and `--mean-over` as one `choice`."""
    options = [
        click.option("--methods", metavar="NAME,...", help="Only the runs of these methods."),
        click.option(
            "--columns", metavar="NAME,...", help="Only these metrics, such as 25km,geoscore,median_km."
        ),
        click.option(
            "--sort",
            metavar="NAME",
            default="geoscore",
            show_default=True,
            help="Order by this metric, best first, or by method.",
        ),
        click.option(
            "--rename",
            metavar="OLD=NEW",
            multiple=True,
            help="Show a row under another name; may be repeated.",
        ),
        click.option("--hide", metavar="WHAT,...", help=f"Leave out any of {', '.join(hide)}."),
        click.option(
            "--mean-over",
            metavar="PARAMETER",
            help="Take runs that differ in this alone, such as seed, as one: their mean and spread.",
        ),
    ]

    def gather(
        methods: str | None,
        columns: str | None,
        sort: str,
        rename: Sequence[str],
        hide: str | None,
        mean_over: str | None,
    ) -> dict[str, Any]:
        return {
            "choice": _choice(
                words(methods), words(columns), sort, _renamed(rename), _hidden(words(hide), known), mean_over
            )
        }

    known = tuple(hide)
    return gathered(options, gather)


def _choice(methods: Any, columns: Any, sort: str, rename: Any, hide: Any, mean_over: str | None) -> Choice:
    from ..reports.tables.choice import Choice

    choice = Choice(methods, columns, sort, rename, hide, mean_over)
    choice.radii_km(())  # a column that does not exist is refused before anything is read
    return choice


def words(text: str | None) -> tuple[str, ...]:
    """`a, b` as `("a", "b")`."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _renamed(pairs: Sequence[str]) -> dict[str, str]:
    renamed = {}
    for pair in pairs:
        # The last sign, for names may hold one: nearest-photo (k=5)=Nearest
        old, equals, new = pair.rpartition("=")
        if not equals or not old or not new:
            raise UsageError(f"--rename {pair!r} is not of the form OLD=NEW")
        renamed[old] = new
    return renamed


def _hidden(words: Sequence[str], known: Sequence[str]) -> frozenset[str]:
    if unknown := [word for word in words if word not in known]:
        raise UsageError(f"--hide {unknown[0]}: nothing is called that", fix=f"one of: {', '.join(known)}")
    return frozenset(words)
