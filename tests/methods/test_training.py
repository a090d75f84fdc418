"""The trainer as it is watched: its curve on disk, its lines, its log, and what an interrupt leaves."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch
from tests.support.training import killed_after
from torch import Tensor, nn

from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.training import Checkpoints, MetricLog, StageContext
from pinpoint_harness.types import Context
from pinpoint_methods.common.training import CHECK_STEPS, CurveRow, Optimization, Trainer, curve_csv

STEPS, BATCH = 4 * CHECK_STEPS, 8


class Line(Trainer):
    """A straight line through points that lie on one; measured twice."""

    def __init__(self, interrupt_at: int = -1) -> None:
        torch.manual_seed(0)
        self._interrupt_at, self.losses = interrupt_at, list[float]()
        optimization = Optimization(STEPS, 0.05, 0.0)
        super().__init__("line", nn.Linear(1, 1), optimization, BATCH, {STEPS // 2, STEPS})

    def batch_loss(self, step: int) -> tuple[str, Tensor]:
        if step == self._interrupt_at:
            raise KeyboardInterrupt
        x = torch.rand(BATCH, 1, generator=torch.Generator().manual_seed(step))
        loss = (self._model(x) - 3 * x - 1).square().mean()
        self.losses.append(loss.item())
        return "loss", loss

    def measure(self, step: int) -> CurveRow:
        return {"step": step, "loss": self.mean_loss("loss"), "photos_25km": step / STEPS, "bias": 1.0}


class Kept(MetricLog):
    def __init__(self) -> None:
        self.rows: list[tuple[int, int, dict[str, float]]] = []

    def add(self, training: str, step: int, samples: int, figures: Mapping[str, float]) -> None:
        self.rows.append((step, samples, dict(figures)))


@contextmanager
def making(folder: Path, metrics: MetricLog | None = None) -> Iterator[Checkpoints]:
    artifact = Artifact.begin(folder, "toy", {"n": 1})
    with artifact.work():
        yield Checkpoints(
            StageContext(artifact, {}, Context(), lambda name: pd.DataFrame(), metrics=metrics or MetricLog())
        )


def curve_file(folder: Path) -> Path:
    (found,) = folder.glob("*/curve.csv")
    return found


def test_the_curve_is_on_disk_from_the_first_stop_on_and_ends_as_the_finished_one(tmp_path: Path) -> None:
    with killed_after(checkpoints=1), making(tmp_path) as checkpoints:
        Line().run(checkpoints)
    first = pd.read_csv(curve_file(tmp_path))
    assert first["step"].tolist() == [STEPS // 2]
    with making(tmp_path) as checkpoints:
        curve = Line().run(checkpoints)
    assert curve_file(tmp_path).read_bytes() == curve_csv(curve) == curve_csv(Line().run())


def test_losses_are_logged_as_means_since_the_last_time_and_rows_of_the_curve_whole(tmp_path: Path) -> None:
    kept, line = Kept(), Line()
    with making(tmp_path, kept) as checkpoints:
        curve = line.run(checkpoints)
    assert [step for step, _, _ in kept.rows] == [CHECK_STEPS, 2 * CHECK_STEPS, 3 * CHECK_STEPS, STEPS]
    assert [samples for _, samples, _ in kept.rows] == [BATCH * step for step, _, _ in kept.rows]
    first, second, third, last = (figures for _, _, figures in kept.rows)
    assert [second, last] == curve
    assert first == {"loss": pytest.approx(sum(line.losses[:CHECK_STEPS]) / CHECK_STEPS)}
    assert third == {"loss": pytest.approx(sum(line.losses[2 * CHECK_STEPS : 3 * CHECK_STEPS]) / CHECK_STEPS)}
    assert last["loss"] == pytest.approx(sum(line.losses[2 * CHECK_STEPS :]) / (2 * CHECK_STEPS))


def test_the_log_has_a_line_at_every_stop_and_in_between_when_it_is_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    Line().run()
    stops = [f"step {step} of {STEPS}" for step in (STEPS // 2, STEPS)]
    assert [re.search(r"step \d+ of \d+", message)[0] for message in caplog.messages] == stops  # type: ignore[index]
    assert re.fullmatch(
        rf"line: step {STEPS // 2} of {STEPS} \(50 %\), [\d,.]+ samples/s, loss [\d.e-]+, photos_25km 0.5, "
        r"\d+ s left",
        caplog.messages[0],
    )
    caplog.clear()
    monkeypatch.setattr("pinpoint_harness.progress.LOG_SECONDS", 0.0)
    Line().run()
    assert len(caplog.messages) == STEPS


def test_being_watched_changes_no_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone, watched = Line(), Line()
    alone.run()
    monkeypatch.setattr("pinpoint_harness.progress.LOG_SECONDS", 0.0)
    with making(tmp_path, Kept()) as checkpoints:
        watched.run(checkpoints)
    assert alone.curve == watched.curve
    assert all(torch.equal(value, watched.state()[name]) for name, value in alone.state().items())


@pytest.mark.parametrize(("step", "kept"), [(3, "the start"), (STEPS - 3, f"of step {STEPS // 2}")])
def test_an_interrupt_says_what_the_training_goes_on_from(tmp_path: Path, step: int, kept: str) -> None:
    with pytest.raises(KeyboardInterrupt) as interrupted, making(tmp_path) as checkpoints:
        Line(interrupt_at=step).run(checkpoints)
    (note,) = interrupted.value.__notes__
    assert note.startswith(f"line: of {STEPS} steps it goes on from ")
    assert note.endswith(kept)
