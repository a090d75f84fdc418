"""Where the scores of a run are kept: with the run, or below the home where that cannot be written to.

Each says of which answers it is: a run may be made anew, or copied over another, while its scores stay.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..artifacts import own_sha256, read_json, read_manifest, undisturbed, write_atomic
from ..errors import ArtifactError
from ..home import asked_home, find_home
from ..reading import in_words, reading
from ..running import Run

log = logging.getLogger(__name__)


def score_folders(run: Run) -> list[Path]:
    """The places of a run's scores, its own folder first.

    Below the home lie those of runs that are read-only, such as another person's.
    """
    home = asked_home.get() or find_home()
    return [run.folder / "scores", home.folder / "scores" / Path(*run.folder.absolute().parts[-3:])]


def has_score(run: Run, name: str) -> bool:
    """Whether there is a file of this score, whatever it holds."""
    return any((folder / f"{name}.json").exists() for folder in score_folders(run))


def read_scores(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """What is stored of a score, less what is damaged or of something else; that is warned of.

    Those of before do not say what they are of: they lack `of`.
    """
    source = score_source(run, name)
    for folder in score_folders(run):
        if not (path := folder / f"{name}.json").exists():
            continue
        stored, damage = _read(path, source)
        if damage:
            log.warning("a stored score is left out: '%s' is %s", path, damage)
        else:
            yield stored


def score_source(run: Run, name: str) -> dict[str, str]:
    """What a score is of: its name, the key of the run, and the sha256 of the answers in its manifest."""
    manifest = read_manifest(run.folder)
    with reading(run.folder / "manifest.json", ArtifactError):
        answers = manifest["files"]["predictions.parquet"]["sha256"]
        return {"name": name, "run": manifest["key"], "predictions_sha256": answers}


def damaged_scores(run: Run) -> dict[Path, str]:
    """The stored scores of a run that are not as they were written, or of something else, and how."""
    damaged = {}
    for folder in score_folders(run):
        if os.path.lexists(folder) and not folder.is_dir():
            damaged[folder] = "no folder"
        for path in sorted(folder.glob("*.json")):
            source = None
            with contextlib.suppress(ArtifactError):  # of a damaged run nothing says what its scores are of
                source = score_source(run, path.stem)
            if damage := _read(path, source)[1]:
                damaged[path] = damage
    return damaged


def _read(path: Path, source: Mapping[str, str] | None) -> tuple[dict[str, Any], str]:
    """What is stored, and how it is damaged or of something else, "" where it is not."""
    if not path.is_file():
        return {}, "no file"
    try:
        with reading(path, ArtifactError):
            stored = read_json(path)
            return stored, _damage(stored, source)
    except ArtifactError:
        return {}, "changed"


def _damage(stored: Mapping[str, Any], source: Mapping[str, str] | None) -> str:
    """How what is stored is not a score of the source; "" where it is, or is of before and does not say."""
    if stored.get("sha256", None if "of" in stored else own_sha256(stored)) != own_sha256(stored):
        return "changed"
    said = stored.get("of")
    if source is None or said is None or said == source:
        return ""
    if said.get("run") != source["run"]:
        return "of another run"
    is_same_measure = said.get("name") == source["name"]
    return "of other answers" if is_same_measure else "of another protocol, radii or photos"


def store_score(run: Run, name: str, content: bytes) -> None:
    """Keep a score in the first place that takes it; a warning where none does."""
    refused = ""
    for path in (folder / f"{name}.json" for folder in score_folders(run)):
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
