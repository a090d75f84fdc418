"""Logs of a training: lines of CSV that outlive a kill, events of TensorBoard, refusals before any work."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pinpoint_harness.errors import ArtifactError, UsageError
from pinpoint_harness.training import LogRequest


def stage(root: Path) -> Path:
    folder = root / "toy-head" / "0123"
    folder.mkdir(parents=True)
    return folder


def test_a_csv_log_is_a_line_a_figure_and_goes_on_behind_a_torn_line(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    with LogRequest.parse(["csv"]).open(folder) as log:
        log.add("head", 50, 800, {"loss": 0.5, "photos_25km": 0.25})
    with (folder / "log.csv").open("ab") as stream:
        stream.write(b"2026-01-01T00:00:00+00:00,head,100,16")  # a kill in the middle of a line
    with LogRequest.parse(["csv"]).open(folder) as log:
        log.add("head", 100, 1600, {"loss": 0.125})
    rows = pd.read_csv(folder / "log.csv")
    assert rows.columns.tolist() == ["time", "training", "step", "samples", "name", "value"]
    assert rows["value"].dropna().tolist() == [0.5, 0.25, 0.125]
    assert rows["name"].dropna().tolist() == ["loss", "photos_25km", "loss"]


def test_tensorboard_finds_the_scalars_of_a_stage_below_the_folder_that_was_named(tmp_path: Path) -> None:
    folder, elsewhere = stage(tmp_path / "models"), tmp_path / "board"
    request = LogRequest.parse(["tensorboard", str(elsewhere)])
    request.check()
    with request.open(folder) as log:
        log.add("head", 50, 800, {"loss": 0.5})
        log.add("head", 100, 1600, {"loss": 0.25})
    found: Any = EventAccumulator(str(elsewhere / "toy-head" / "0123"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("head/loss")] == [(50, 0.5), (100, 0.25)]
    assert list(folder.iterdir()) == []


def test_nothing_is_written_unless_it_is_asked_for_or_where_nothing_is_trained(tmp_path: Path) -> None:
    folder = stage(tmp_path)
    with LogRequest().open(folder) as log:
        log.add("head", 1, 1, {"loss": 1.0})
    with LogRequest.parse(["csv", "tensorboard"]).open(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_folder_alone_means_csv_and_two_folders_are_refused(tmp_path: Path) -> None:
    assert LogRequest.parse(["here"]) == LogRequest(("csv",), Path("here"))
    assert LogRequest.parse(["here", "tensorboard"]) == LogRequest(("tensorboard",), Path("here"))
    with pytest.raises(UsageError, match="found: here, there"):
        LogRequest.parse(["here", "there"])


def test_what_could_not_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be saved"):
        LogRequest.parse([str(tmp_path / "file" / "log")]).check()
    with pytest.raises(UsageError, match="'wandb'"):
        LogRequest(("wandb",)).check()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'pinpoint-geo\[tensorboard\]'"):
        LogRequest.parse(["tensorboard"]).check()
