"""Progress: phase, rate and time left on a terminal, nothing anywhere else."""

from __future__ import annotations

import io
import sys

import pytest

from pinpoint_harness.progress import phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


def test_a_log_file_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    with phase("decoding", 10) as advance:
        advance(10)
    assert quiet.getvalue() == ""
    assert capsys.readouterr().out == ""
