"""Where things lie on this machine: one root for everything that is made, and the caches beside it.

PINPOINT_HOME                            default: results/ in the current folder
    runs/<dataset>/<label>/<key>/        answers and their scores
    stores/<dataset>/<backbone>/<key>/   features
    models/<kind>/<key>/                 trained stages
    audits/*.parquet                     what queries and galleries share
    scores/<dataset>/<label>/<key>/      scores of runs that cannot be written to
    reports/*.html                       pages about runs
"""

from __future__ import annotations

import functools
import logging
import os
import shlex
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .reading import what_is_no_folder

HOME_VARIABLE = "PINPOINT_HOME"
WORLDS_VARIABLE = "PINPOINT_MINI_EARTH"
OLD_VARIABLES = {"runs": "PINPOINT_RESULTS", "stores": "PINPOINT_STORES", "models": "PINPOINT_MODELS"}
"""Variables that each named one folder before PINPOINT_HOME; still read, with a warning."""

log = logging.getLogger(__name__)

asked_home: ContextVar[Home | None] = ContextVar("asked_home", default=None)
"""The home of the command that is at work, for what lies below it beside its runs."""


@dataclass(frozen=True)
class Home:
    """The root and the folders below it; `set_by` names the option or variable that chose the root.

    `made` is the file in which a recipe keeps the folders of the runs that its steps have made, a line
    each: a step that names a run by METHOD@DATASET means one of these.
    """

    folder: Path
    runs: Path
    stores: Path
    models: Path
    audits: Path
    set_by: str
    made: Path | None = None

    def runs_made(self) -> frozenset[Path]:
        """The folders of the runs that the steps of this recipe have made; none without a recipe."""
        if self.made is None or not self.made.exists():
            return frozenset()
        return frozenset(map(Path, self.made.read_text(encoding="utf-8").splitlines()))

    @property
    def jobs(self) -> Path:
        """What jobs of recipes have said."""
        return self.folder / "jobs"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"


def find_home(
    given: Home | str | Path | None = None,
    *,
    runs: str | Path | None = None,
    stores: str | Path | None = None,
    models: str | Path | None = None,
) -> Home:
    """The root that is given, that of `$PINPOINT_HOME`, or `results` in the current folder.

    `runs`, `stores` and `models` move one folder each, as the options and keywords of before did;
    they are logged as a warning. Without a root that is given the old variables do the same. UsageError where
    one of them can be no folder.
    """
    if isinstance(given, Home):
        return given
    folder, set_by = Path(given or "results"), "--home" if given else "default"
    moved = {"runs": runs, "stores": stores, "models": models}
    for name in filter(moved.get, moved):
        warn_old(f"a folder of its own for {name}", f"--home DIR, where they lie in DIR/{name}")
    if not given:
        if value := os.environ.get(HOME_VARIABLE):
            folder, set_by = Path(value), f"${HOME_VARIABLE}"
        for name, variable in OLD_VARIABLES.items():
            if not moved[name] and (value := os.environ.get(variable)):
                warn_old(f"${variable}", f"${HOME_VARIABLE}, where {name} lie in ${HOME_VARIABLE}/{name}")
                moved[name] = value
    places = {name: Path(moved.get(name) or folder / name) for name in ("runs", "stores", "models", "audits")}
    for place in (folder, *places.values()):
        _check_folder(place, set_by)
    return Home(folder, **places, set_by=set_by)


def _check_folder(place: Path, set_by: str) -> None:
    """Whatever is looked for where no folder can be is not there, which must not pass for an empty folder."""
    lies_in = next(path for path in (place, *place.absolute().parents) if os.path.lexists(path))
    if odd := what_is_no_folder(lies_in):
        raise UsageError(
            f"things cannot lie in '{place}' ({set_by}): '{lies_in}' is no folder for them",
            found=odd,
            fix="give a folder as the home, one that is there or a new one",
        )


def command(words: Iterable[str], place: Path | None = None) -> str:
    """`pinpoint WORDS` as a shell takes it, with the `--home` that leads it to the home of `place`.

    `place` are the runs, stores or models of that home. Without `--home` where a command finds them anyway.
    """
    line = ["pinpoint", *words]
    default = find_home()
    found = {folder.absolute() for folder in (default.runs, default.stores, default.models)}
    if place is not None and place.absolute() not in found:
        line += ["--home", str(place.parent)]
    return shlex.join(line)


@functools.cache
def warn_old(old: str, new: str) -> None:
    """Say once that something is an old way and what the new one is."""
    log.warning("%s is the old way and will go: use %s", old, new)


def cache_root() -> Path:
    """What can be made again from nothing: mini-Earth's worlds, checksums of weights."""
    import platformdirs

    return platformdirs.user_cache_path("pinpoint")


def worlds_root() -> Path:
    """The worlds of mini-Earth: `$PINPOINT_MINI_EARTH`, or a folder of the user's cache."""
    value = os.environ.get(WORLDS_VARIABLE)
    return Path(value) if value else cache_root() / "mini-earth"


def checksums_file() -> Path:
    """The sha256 of weight files by size and time of change, so that gigabytes are hashed once."""
    return cache_root() / "sha256.json"
