"""`--size`, `--dpi` and `--overwrite`, which all commands that draw have."""

from __future__ import annotations

import re
from typing import Any

import click

from ..errors import UsageError
from ..reports.pictures import Drawing
from .options import Command, gathered, overwrite_option

_SIZE = re.compile(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)")
_INCHES = (1.0, 60.0)


def drawing_options(function: Command) -> Command:
    """`--size`, `--dpi` and `--overwrite` as one `drawing`."""
    options = [
        click.option(
            "--size", metavar="WxH", help="Size of a picture in inches, such as 7x4 [default: its own]."
        ),
        click.option(
            "--dpi",
            type=click.IntRange(30, 1200),
            help="Dots per inch [default: each picture's own, 110 or 120].",
        ),
        overwrite_option,
    ]

    def gather(size: str | None, dpi: int | None, overwrite: bool) -> dict[str, Any]:
        return {"drawing": Drawing(None if size is None else _parsed(size), dpi, overwrite)}

    return gathered(options, gather)(function)


def _parsed(size: str) -> tuple[float, float]:
    found = _SIZE.fullmatch(size)
    width, height = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not all(_INCHES[0] <= side <= _INCHES[1] for side in (width, height)):
        raise UsageError(
            f"--size {size} is no size", fix="give width and height in inches from 1 to 60, such as 7x4"
        )
    return width, height
