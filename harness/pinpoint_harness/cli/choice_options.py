"""Options that `table` and `compare` share: which rows and columns, in which order, under which names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from ..errors import UsageError
from .options import Command, gathered


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
        from ..reports.tables.choice import choose

        named = words(methods), words(columns), sort, _renamed(rename), words(hide), mean_over
        return {"choice": choose(known, *named)}

    known = tuple(hide)
    return gathered(options, gather)


def words(text: str | None) -> tuple[str, ...]:
    """`a, b` as `("a", "b")`."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _renamed(pairs: Sequence[str]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for pair in pairs:
        # The last sign, for names may hold one: nearest-photo (k=5)=Nearest
        old, equals, new = pair.rpartition("=")
        if not equals or not old or not new:
            raise UsageError(f"--rename {pair!r} is not of the form OLD=NEW")
        if renamed.setdefault(old, new) != new:
            raise UsageError(f"--rename gives '{old}' two names", found=f"{renamed[old]}; {new}")
    return renamed
