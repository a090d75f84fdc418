"""Figures of a training written as they come: as lines of CSV, or as events of TensorBoard."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..artifacts import append_line, check_writable
from ..errors import UsageError

CSV_NAME = "log.csv"
COLUMNS = ("time", "training", "step", "samples", "name", "value")


class MetricLog:
    """Takes figures of a training; this one keeps none of them."""

    def close(self) -> None:
        """Nothing more will come."""

    def add(self, training: str, step: int, samples: int, figures: Mapping[str, float]) -> None:
        """The figures by name after `step` steps, in which so many `samples` were seen."""


class CsvLog(MetricLog):
    """A line for each figure, added and flushed one by one: nothing that was written is lost."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / CSV_NAME

    def add(self, training: str, step: int, samples: int, figures: Mapping[str, float]) -> None:
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self._path, ",".join(COLUMNS))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        lines = [f"{now},{training},{step},{samples},{name},{value:.10g}" for name, value in figures.items()]
        append_line(self._path, "\n".join(lines))


class TensorboardLog(MetricLog):
    """Scalars `<training>/<name>` over the steps; no file where there are none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def add(self, training: str, step: int, samples: int, figures: Mapping[str, float]) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        for name, value in figures.items():
            self._writer.add_scalar(f"{training}/{name}", value, step)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Several(MetricLog):
    def __init__(self, logs: Sequence[MetricLog]) -> None:
        self._logs = logs

    def add(self, training: str, step: int, samples: int, figures: Mapping[str, float]) -> None:
        for log in self._logs:
            log.add(training, step, samples, figures)

    def close(self) -> None:
        for log in self._logs:
            log.close()


_MAKERS: Mapping[str, Callable[[Path], MetricLog]] = {"csv": CsvLog, "tensorboard": TensorboardLog}
FORMS = tuple(_MAKERS)


@dataclass(frozen=True)
class LogRequest:
    """In which forms figures are written, and where: below `folder`, or in the folder of each stage."""

    forms: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def parse(cls, words: Sequence[str]) -> LogRequest:
        """From the words of `--log`: forms and at most one folder, which alone means CSV."""
        forms = tuple(dict.fromkeys(word for word in words if word in FORMS))
        folders = [word for word in words if word not in FORMS]
        if len(folders) > 1:
            raise UsageError(
                "a training is logged in one folder",
                found=", ".join(folders),
                fix=f"--log takes {' and '.join(FORMS)} and one folder",
            )
        folder = Path(folders[0]) if folders else None
        return cls(forms or (FORMS[:1] if folder else ()), folder)

    def check(self) -> None:
        """Refuse before any work is done what could not be written."""
        if unknown := [form for form in self.forms if form not in FORMS]:
            raise UsageError(f"no form of a log is called '{unknown[0]}'", fix=f"one of: {', '.join(FORMS)}")
        if "tensorboard" in self.forms and importlib.util.find_spec("tensorboard") is None:
            raise UsageError(
                "TensorBoard is not installed",
                fix="pip install 'pinpoint-geo[tensorboard]', or log as csv",
            )
        if self.folder is not None:
            check_writable(self.folder)

    @contextmanager
    def open(self, stage: Path) -> Iterator[MetricLog]:
        """The log of a stage, which lies in `<kind>/<key>`, here or below the folder that was named."""
        folder = stage if self.folder is None else self.folder / stage.parent.name / stage.name
        several = _Several([_MAKERS[form](folder) for form in self.forms])
        with closing(several):
            yield several
