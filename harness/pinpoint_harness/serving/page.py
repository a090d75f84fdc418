"""The page itself: HTML without a script or style of its own, which the policy would refuse."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Sequence
from string import Template
from typing import TYPE_CHECKING

from ..reports.pages.document import text_file as report_file
from ..reports.pages.text import escaped
from . import world

if TYPE_CHECKING:
    from ..errors import HarnessError
    from .worker import Offer

_FILES = importlib.resources.files(__package__)


def text_file(name: str) -> str:
    """The text of a file beside this module."""
    return (_FILES / name).read_text(encoding="utf-8")


def style() -> str:
    """The style of reports, and what this page adds."""
    return report_file("page.css") + text_file("page.css")


def main_page(offers: Iterable[Offer], notes: Sequence[str], most_bytes: int) -> str:
    """The page on which photos are dropped; the first offer is chosen."""
    return Template(text_file("page.html")).substitute(
        world.outlines(),
        methods="".join(map(_option, offers)),
        notes="".join(f"<p>{escaped(_sentence(note), 1000)}</p>" for note in notes),
        most_bytes=most_bytes,
        most_mebibytes=most_bytes // 2**20,
    )


def error_page(error: HarnessError) -> str:
    """What went wrong and what to do, for a person who opened an address."""
    lines = "".join(f"<p>{escaped(text, 1000)}</p>" for text in (error.found, error.fix) if text)
    return Template(text_file("error.html")).substitute(problem=escaped(error.problem, 1000), lines=lines)


def _option(offer: Offer) -> str:
    filters = ' data-filters="yes"' if offer.filters_authors else ""
    name = escaped(offer.name)
    return f'<option value="{name}"{filters}>{name}: {escaped(offer.title)}</option>'


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."
