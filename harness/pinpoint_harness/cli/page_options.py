"""What pages of runs hold, for the commands that write them."""

from __future__ import annotations

from typing import Any

import click

from .options import Command, gathered


def page_options(function: Command) -> Command:
    """`--all-protocols`, `--published`, `--pictures` and `--no-pictures` as `options`, a `ReportOptions`."""

    def gather(all_protocols: bool, published: bool, pictures: int, no_pictures: bool) -> dict[str, Any]:
        from ..reports.pages import ReportOptions

        shown = 0 if no_pictures else pictures
        return {"options": ReportOptions(every_protocol=all_protocols, published=published, pictures=shown)}

    options = [
        click.option("--all-protocols", is_flag=True, help="Measure every run by every protocol."),
        click.option(
            "--published/--no-published", default=True, show_default=True, help="Rows of the literature."
        ),
        click.option(
            "--pictures",
            type=click.IntRange(min=0),
            default=900,
            show_default=True,
            help="At most so many small pictures of photos and candidates in a report.",
        ),
        click.option(
            "--no-pictures", is_flag=True, help="No pictures: photos belong to those who took them."
        ),
    ]
    return gathered(options, gather)(function)
