"""Runs on disk: where they lie, what they hold, how a user names one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts import (
    check_files,
    finished_folders,
    finishing_order,
    read_json,
    read_log,
    safe_name,
    spec_key,
    was_finished,
)
from ..artifacts.removal import recognise
from ..errors import ArtifactError, UsageError, did_you_mean, in_columns
from ..features import OpenedGallery
from ..home import command
from ..reading import reading
from ..types import RADII_KM
from .record import VERSION, remake_command

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


log = logging.getLogger(__name__)


def run_parent(root: Path, dataset: str, label: str) -> Path:
    """Where the runs of one label on one dataset lie, a folder per key.

    A label that no folder can be called by has a folder of its own beside that of a label like it.
    """
    folder = safe_name(label)
    if folder != label:
        folder += f"+{hashlib.sha256(label.encode()).hexdigest()[:8]}"
    return root / safe_name(dataset) / folder


@dataclass(frozen=True)
class Run:
    """One complete run: `<root>/<dataset>/<label>/<key>/`."""

    folder: Path

    @cached_property
    def _stored(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        with reading(path, ArtifactError):
            check_files(self.folder, ["run.json"])
            stored = read_json(path)
            _ = int(stored["recipe"].get("version", 1)), stored["label"], stored["dataset"]["name"]
        return stored

    @property
    def version(self) -> int:
        """Of what is stored; 1 where the record does not say."""
        return int(self._stored["recipe"].get("version", 1))

    @property
    def record(self) -> dict[str, Any]:
        """`run.json`: what was asked, what came out, how many rows met which fate.

        ArtifactError for a run of another version, with the command that makes it again.
        """
        self._check_version()
        return self._stored

    def _check_version(self) -> None:
        if self.version != VERSION:
            raise ArtifactError(
                f"run '{self.folder}' was stored by another release and cannot be read",
                found=f"version {self.version} of a run's files, where this release has {VERSION}",
                fix=f"make it again: {remake_command(self._stored, self.root)}",
            )

    def check(self) -> None:
        """ArtifactError for a run of another version, or one whose files are not as they were written."""
        self._check_version()
        try:
            check_files(self.folder)
        except ArtifactError as error:
            fix = _mending([self.folder], self.root)
            raise ArtifactError(f"run {error.problem}", found=error.found, fix=fix) from error

    @property
    def root(self) -> Path:
        """The folder of runs it lies in."""
        return self.folder.absolute().parents[2]

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def dataset(self) -> str:
        """Its name in listings; `registered_dataset` is the one it is opened by."""
        return str(self._stored["dataset"]["name"])

    @property
    def registered_dataset(self) -> str:
        return str(self._stored["dataset"].get("registered", self.dataset))

    @property
    def label(self) -> str:
        return str(self._stored["label"])

    @property
    def radii_km(self) -> tuple[float, ...]:
        """Those of its dataset's benchmark; the field's five for a run from before datasets had their own."""
        return tuple(self.record["dataset"].get("radii_km", RADII_KM))

    @property
    def oracle(self) -> bool:
        return bool(self.record["oracle"])

    @property
    def partial(self) -> str | None:
        """What part of the dataset was run, in words; None for all of it.

        A truth file that lacks rows of the published dataset makes a part of it, too.
        """
        subset, total = self.record["subset"], self.record["dataset"]["rows"]
        expected = self.record["dataset"]["expected_rows"] or total
        if subset is None:
            return (
                None
                if total == expected
                else f"a truth file of {total:,} rows where the dataset has {expected:,}"
            )
        if "limit" in subset:
            return f"first {subset['limit']:,} of {total:,}"
        return f"{subset['rows']:,} of {total:,}, id list {subset['ids_sha256'][:8]}"

    @property
    def galleries(self) -> list[OpenedGallery]:
        """The galleries that the method opened, in order."""
        return [
            OpenedGallery(**{**opened, "images": tuple(opened.get("images", ()))})
            for opened in self.record["galleries"]
        ]

    @property
    def title(self) -> str:
        """The label with every parameter that is not the default, and with the seed unless it is 0."""
        seed = {"seed": drawn} if (drawn := self.record["recipe"].get("seed")) else {}
        parameters = self.record["shown_parameters"] | seed
        shown = ", ".join(f"{name}={value}" for name, value in parameters.items())
        return f"{self.label} ({shown})" if shown else self.label

    def table(self) -> pa.Table:
        """The stored answers, a row per row of the truth; ArtifactError as for `record`."""
        from . import predictions

        self.check()
        return predictions.read(self.folder / "predictions.parquet")

    def predictions(self) -> pd.DataFrame:
        """One row per truth row, in the dataset's order."""
        from . import predictions

        return predictions.to_frame(self.table())

    def finished_at(self) -> str:
        """When the run was completed (ISO 8601, UTC); empty where the log is gone."""
        ends = [entry["time"] for entry in self.sessions() if entry.get("event") == "end"]
        return max(ends, default="")

    def sessions(self) -> list[dict[str, Any]]:
        """The entries of its log, oldest first."""
        return read_log(self.folder)


def radii_of(runs: Iterable[Run]) -> tuple[float, ...]:
    """The radii to measure these runs within, ascending: all that any of their datasets has."""
    return tuple(sorted({radius for run in runs for radius in run.radii_km}))


@dataclass(frozen=True)
class DamagedRun:
    """The folder of a finished run whose files are not as they were written, and how they are."""

    folder: Path
    found: str


def iter_runs(root: Path, dataset: str | None = None) -> Iterator[Run]:
    """Every complete run under `root`, ordered by dataset, label and key.

    Those of another version are left out, with one warning that says how to make the first again, and
    damaged ones with a warning each.
    """
    runs, damaged = survey_runs(root, dataset)
    _warn_of(damaged)
    yield from runs


def survey_runs(root: Path, dataset: str | None = None) -> tuple[list[Run], list[DamagedRun]]:
    """The complete runs of this version under `root` and the damaged ones, each ordered by its place."""
    stored, damaged = _stored_runs(root)
    runs = [run for run in stored if dataset is None or run.dataset == dataset]
    others = [run for run in runs if run.version != VERSION]
    if others:
        words = "runs under '%s' left out, stored by another release: %d, first '%s'; make it again: %s"
        log.warning(words, root, len(others), others[0].folder, remake_command(others[0]._stored, root))
    whole = []
    for run in runs:
        if run.version != VERSION:
            continue
        try:
            run.check()
        except ArtifactError as error:
            damaged.append(DamagedRun(run.folder, _in_a_line(error)))
        else:
            whole.append(run)
    mine = [one for one in damaged if dataset is None or one.folder.parents[1].name == safe_name(dataset)]
    return whole, sorted(mine, key=lambda one: one.folder)


def _stored_runs(root: Path) -> tuple[list[Run], list[DamagedRun]]:
    """Those that can say what they are, and those that cannot."""
    runs, damaged = [], []
    for run in map(Run, finished_folders(root)):
        try:
            _ = run.version
        except ArtifactError as error:
            damaged.append(DamagedRun(run.folder, _in_a_line(error)))
        else:
            runs.append(run)
    return runs, damaged


def _in_a_line(error: ArtifactError) -> str:
    return " ".join((error.found or error.problem).split())


_SUGGESTED = 10
"""Runs that are named where one that is asked for is not there."""

LATEST = "@latest"
"""Behind `METHOD@DATASET`, it asks for the newest of several runs."""


def find_run(text: str, root: Path, preferred: Collection[Path] = ()) -> Run:
    """A run by path, by a unique prefix of its key, as `METHOD@DATASET` or `METHOD@DATASET@latest`.

    Of several runs of a name those of the folders `preferred` are meant, if there are any. UsageError
    where no run or several have the name; runs of another release count only where there are no others.
    A damaged run that may have been meant is said where another has the name, ArtifactError where none has or
    the newest is asked for.
    """
    path = Path(text)
    if was_finished(path):
        return Run(path)
    if (path / "started.json").exists():
        raise ArtifactError(
            f"run '{text}' is not finished", fix="give the same `pinpoint run` command again to resume it"
        )
    runs, damaged = _stored_runs(root)
    named = _named(text, runs)
    meant = [one for one in damaged if _may_be(text, one.folder, root)]
    is_newest_asked = _name_asked(text) not in ("", text)  # `@latest` is behind it
    if meant and (is_newest_asked or not named):
        raise _all_damaged(text, meant, root)
    _warn_of(meant)
    if named and is_newest_asked:
        return _newest(text, named)
    named = [run for run in named if run.folder.absolute() in preferred] or named
    if len(named) == 1:
        return named[0]
    raise _several(text, named) if named else _none(text, runs, root)


def _name_asked(text: str) -> str:
    """METHOD@DATASET of what a user gave, "" where that is the beginning of a key."""
    name = text.removesuffix(LATEST)
    return name if "@" in name else text if "@" in text else ""


def _named(text: str, runs: Sequence[Run]) -> list[Run]:
    name = _name_asked(text)
    if not name:
        return [run for run in runs if run.key.startswith(text)]
    label, _, dataset = name.rpartition("@")
    named = [run for run in runs if run.label == label and run.dataset == dataset]
    return [run for run in named if run.version == VERSION] or named


def _newest(text: str, runs: list[Run]) -> Run:
    """The run that was finished last, whatever the clock said; UsageError where that is not known."""
    orders = [finishing_order(run.folder) for run in runs]
    # One whose log is lost may be the last.
    last = [run for run, order in zip(runs, orders, strict=True) if order in (0, max(orders))]
    if len(last) == 1:
        return last[0]
    raise UsageError(
        f"'{text}': which of {len(last)} runs was finished last is not known",
        found="\n".join(str(run.folder) for run in last),
        fix="give the path of one",
    )


def _may_be(text: str, folder: Path, root: Path) -> bool:
    """Whether a run that cannot say what it is lies where the one that is named would."""
    name = _name_asked(text)
    if not name:
        return folder.name.startswith(text)
    label, _, dataset = name.rpartition("@")
    return folder.parent == run_parent(root, dataset, label)


def _warn_of(damaged: Iterable[DamagedRun]) -> None:
    for one in damaged:
        log.warning("run left out, it is damaged: '%s': %s", one.folder, one.found)


def _all_damaged(text: str, damaged: Sequence[DamagedRun], root: Path) -> ArtifactError:
    lines = [f"'{one.folder}': {one.found}" for one in damaged]
    return ArtifactError(
        f"run '{text}' is damaged",
        found="\n".join(lines),
        fix=_mending([one.folder for one in damaged], root),
    )


def _mending(folders: Sequence[Path], root: Path) -> str:
    """What to do about damaged runs; `runs rm` leaves folders that nothing in them says to be ours."""
    known = [str(folder) for folder in folders if recognise(folder)]
    removal = [f"remove it: {command(['runs', 'rm', *known], root)}"] if known else []
    removal += [f"remove '{folder}' yourself" for folder in folders if str(folder) not in known]
    return f"give the command that made it with --fresh, or {', and '.join(removal)}"


def _none(text: str, runs: list[Run], root: Path) -> UsageError:
    label, _, dataset = _name_asked(text).rpartition("@")
    near = did_you_mean(text, [f"{run.label}@{run.dataset}" for run in runs])
    nearest = sorted(runs, key=lambda run: (run.dataset != dataset, run.label != label))
    known = in_columns([f"{run.label}@{run.dataset} {run.key[:8]}" for run in nearest[:_SUGGESTED]])
    known += f"\nand {len(runs) - _SUGGESTED:,} more" if len(runs) > _SUGGESTED else ""
    fix = "give a path, the beginning of a key, or METHOD@DATASET; `pinpoint runs list` shows them"
    return UsageError(
        f"'{text}' names no run under '{root}'",
        found=known or "no finished run at all",
        fix=f"{near} {fix}".lstrip(),
    )


def _several(text: str, runs: list[Run]) -> UsageError:
    """The refusal of a name that several runs have: one a line, the newest first, and what differs."""
    ordered = sorted(runs, key=lambda run: (finishing_order(run.folder), run.finished_at()), reverse=True)
    facts = [_facts(run) for run in ordered]
    names = [name for name in facts[0] if len({fact[name] for fact in facts}) > 1]
    # Runs that differ in their names alone have one key.
    by_key = len({run.key for run in runs}) == len(runs)
    lines = [
        "  ".join(
            [str(run.key[:8] if by_key else run.folder), run.finished_at()[:19], *(fact[n] for n in names)]
        )
        for run, fact in zip(ordered, facts, strict=True)
    ]
    start = ordered[0].key[:8] if "@" in text else ordered[0].key
    such = f", or the beginning of a key, such as {start}" if by_key else f", such as '{ordered[0].folder}'"
    latest = f", or {text}{LATEST} for the newest" if "@" in text else ""
    return UsageError(
        f"'{text}' names {len(runs)} runs",
        found="\n".join(lines),
        fix=f"give a path{such}{latest}",
    )


def _facts(run: Run) -> dict[str, str]:
    """In words, what one run may differ in from another that has its name."""
    stored, spec = run._stored, run._stored["recipe"]
    subset = stored["subset"]
    shown = ", ".join(f"{name}={value}" for name, value in stored["shown_parameters"].items())
    part = "all" if subset is None else "first" if "limit" in subset else "listed"
    return {
        "run": f"{run.label}@{run.dataset}",
        "parameters": f"({shown or 'defaults'})",
        "seed": f"seed {spec.get('seed')}",
        "rows": f"{part} {subset['rows'] if subset else stored['dataset']['rows']:,} rows",
        "ids": f"id list {subset['ids_sha256'][:8]}" if subset else "",
        "truth": f"truth {str(spec.get('dataset_hash'))[:8]}",
        "content": f"content {spec_key('parameters', spec.get('parameters', {}))[:8]}",
        "device": f"{spec.get('device')} {spec.get('dtype')}, tile {spec.get('tile')}",
    }
