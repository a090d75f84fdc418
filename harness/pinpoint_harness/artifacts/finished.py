"""Which folders hold a finished artifact; one whose manifest is gone is damaged, not absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import ArtifactError
from ..reading import what_is_no_folder
from .artifact import FRESH, FRESH_LOCK, STARTED
from .integrity import KEY, MANIFEST

BEFORE_THE_MARKER = {".lock", "sessions.jsonl", "shards", FRESH, FRESH_LOCK}
"""What a kill may leave before started.json is written, beside files that end in .tmp."""


def finished_folders(root: Path) -> Iterator[Path]:
    """Every finished run or store below their root, `<root>/<dataset>/<label>/<key>/`, by its place.

    ArtifactError for a file, or a link that leads nowhere, where the folder of a dataset belongs: it would
    pass for a dataset without runs. Hidden files and those with an extension are none of ours.
    """
    for path in root.iterdir() if root.is_dir() else ():
        of_dataset = path.is_symlink() or not (path.suffix or path.name.startswith("."))
        if of_dataset and (odd := what_is_no_folder(path)):
            raise ArtifactError(
                f"'{path}' is no folder of a dataset",
                found=odd,
                fix="move it away, or mount the disk that it leads to",
            )
    yield from filter(was_finished, sorted(root.glob("*/*/*")))


def was_finished(folder: Path) -> bool:
    """Whether an artifact was finished here, be its manifest there or not; without it, only the name tells.

    One that is being made has started.json, or nothing but shards. Where a fresh one is put in place at
    this moment the manifest is away for as long as that takes: whoever reads it waits (`undisturbed`).
    """
    if (folder / MANIFEST).exists():
        return True
    named_so = KEY.fullmatch(folder.absolute().name) and folder.is_dir()
    return bool(named_so) and not (folder / STARTED).exists() and holds_content(folder)


def holds_content(folder: Path) -> bool:
    """Whether there is more than what is written before an artifact says what it is."""
    return any(path.name not in BEFORE_THE_MARKER and path.suffix != ".tmp" for path in folder.iterdir())
