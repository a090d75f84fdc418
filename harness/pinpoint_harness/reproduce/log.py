"""A log of reproductions: a Markdown table that grows by a row each time a recipe was run."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts import write_atomic
from ..console import escape_markdown, visible
from ..errors import ArtifactError, DataError
from ..reading import reading
from ..version import __version__

if TYPE_CHECKING:
    from .recipes import Cell

COLUMNS = ("recipe", "who", "date", "code", "machine", "verdict")
_HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
_FIX = f"name a new file, or one that holds the line {_HEADER.splitlines()[0]}"


def check_log(file: Path) -> str:
    """The text of a log, or that of a new one where there is none; DataError where it is none or no text."""
    with reading(file, what="a log of reproductions", fix=_FIX):
        text = file.read_text(encoding="utf-8") if file.exists() else _HEADER
    if _HEADER not in text:
        first = (text.splitlines() or ["an empty file"])[0][:80]
        raise DataError(f"'{file}' is no log of reproductions", found=first, fix=_FIX)
    folder = next(folder for folder in file.absolute().parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        found = f"'{folder}' is no folder where you may write"
        raise ArtifactError(f"cannot write '{file}'", found=found, fix="name a file elsewhere")
    return text


def append_log(file: Path, recipe: str, who: str, cells: Sequence[Cell]) -> None:
    """Add a row to the table in `file`, which is made where there is none; written whole or not at all.

    `who` is whom the user allows to be named. Errors are those of `check_log`.
    """
    text = check_log(file)
    today = datetime.now(UTC).date().isoformat()
    values = (recipe, who, today, code_version(), platform.platform(), verdict_of(cells))
    row = " | ".join(escape_markdown(visible(" ".join(value.split()))) for value in values)
    end = "" if text.endswith("\n") else "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, f"{text}{end}| {row} |\n".encode())


def verdict_of(cells: Sequence[Cell]) -> str:
    """How many figures came out how, the worst first: `FAIL 1, near 2, OK 7`."""
    counts = Counter(cell.verdict for cell in cells)
    words = [f"{word} {counts[word]}" for word in ("FAIL", "near", "OK") if counts[word]]
    return ", ".join(words) or "nothing compared"


def code_version() -> str:
    """The version, in a git repository with the commit, and `+` if files differ from it."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = "+" if _git(here, "status", "--porcelain", "--untracked-files=no") else ""
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__} ({commit}{changed})"


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
