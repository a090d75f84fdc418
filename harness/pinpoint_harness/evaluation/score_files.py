"""Where the scores of a run are kept: with the run, or below the home where that cannot be written to."""

from __future__ import annotations

import logging
from pathlib import Path

from ..artifacts import undisturbed, write_atomic
from ..errors import ArtifactError
from ..home import asked_home, find_home
from ..reading import in_words
from ..running import Run

log = logging.getLogger(__name__)


def score_files(run: Run, name: str) -> list[Path]:
    """The places of a score by its name, the run's own folder first.

    Below the home lie those of runs that are read-only, such as another person's.
    """
    home = asked_home.get() or find_home()
    apart = home.folder / "scores" / Path(*run.folder.absolute().parts[-3:])
    return [folder / f"{name}.json" for folder in (run.folder / "scores", apart)]


def stored_score(run: Run, name: str) -> Path | None:
    """The file of a score, None where there is none."""
    return next((path for path in score_files(run, name) if path.exists()), None)


def store_score(run: Run, name: str, content: bytes) -> None:
    """Keep a score in the first place that takes it; a warning where none does."""
    refused = ""
    for path in score_files(run, name):
        try:  # a run that is made anew at this moment takes its scores away
            undisturbed(run.folder, lambda path=path: _write(path, content))  # type: ignore[misc]
        except ArtifactError as error:
            refused = refused or f"{error.problem}: {error.found}"
        else:
            return
    log.warning("the score is not stored: %s", refused)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot write '{path}'", found=in_words(error)) from error
    write_atomic(path, content)
