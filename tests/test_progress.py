"""Progress: phase, rate and time left on a terminal, a line at a steady pace in a log."""

from __future__ import annotations

import io
import logging
import sys
import time

import pytest

from pinpoint_harness.progress import LOG_SECONDS, Pace, duration, phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def test_a_terminal_shows_the_phase_the_rate_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with phase("decoding", 10, done=4) as advance:
        for _ in range(5):
            advance(1)
        shown = screen.getvalue()
    assert "decoding" in shown
    assert "4/10" in shown
    assert "images" in screen.getvalue()


def test_on_a_terminal_lasting_lines_stay_and_others_stand_beside_the_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with phase("head", 4, unit="samples") as progress:
        progress.facts_follow()
        progress(2)
        progress.say("step 1 of 2", "loss 0.5")
        progress(2)
        progress.say("step 2 of 2", "loss 0.25", lasting=True)
    lines = screen.getvalue().replace("\r", "\n").splitlines()
    assert any(line.startswith("head: step 2 of 2, loss 0.25") for line in lines)
    assert any("|" in line and "loss 0.5" in line for line in lines)
    assert not any(line.startswith("head: step 1") for line in lines)


def test_a_log_gets_a_line_at_a_steady_pace_and_nothing_in_between(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level(logging.INFO)
    with phase("decoding", 1000, done=100) as advance:
        for _ in range(9):
            clock.now += LOG_SECONDS / 3
            advance(100)
    assert caplog.messages == [
        "decoding: 400 of 1,000 images (40 %), 10 images/s, 1 min left",
        "decoding: 700 of 1,000 images (70 %), 10 images/s, 30 s left",
        "decoding: 1,000 of 1,000 images (100 %), 10 images/s, 0 s left",
    ]
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined] # a StringIO


def test_the_time_left_counts_the_pauses_ahead_and_not_the_warming_up(clock: Clock) -> None:
    pace = Pace(100, pauses=2)
    assert (pace.rate, pace.left()) == (None, "")
    clock.now += 50  # kernels are compiled, memory is touched
    pace.advance(10)
    for _ in range(4):
        clock.now += 1
        pace.advance(10)
    assert pace.rate == pytest.approx(10)
    assert pace.left() == "at least 5 s left"  # no pause was seen yet
    with pace.pause():
        clock.now += 7
    assert pace.rate == pytest.approx(10)
    assert pace.left() == "12 s left"  # 50 items at 10 a second, and one more pause
    for _ in range(5):
        clock.now += 1
        pace.advance(10)
    assert pace.left() == "7 s left"


def test_durations_in_words() -> None:
    assert [duration(value) for value in (0.4, 59.2, 61, 3599, 3600, 26_640)] == [
        "0 s", "59 s", "1 min", "1 h 0 min", "1 h 0 min", "7 h 24 min",
    ]  # fmt: skip
