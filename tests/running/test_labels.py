"""Runs are found by the labels they were given, however alike these are."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.running import find_run, iter_runs

CONSTANT = ["run", "constant", "capitals", "--set", "latitude=1", "--set", "longitude=2"]
LABELS = ("a b", "a-b", "a/b", "x" * 70, "x" * 80, "é" * 60, "é" * 90)


def test_labels_that_look_alike_as_folders_name_runs_of_their_own(home: Path) -> None:
    for label in LABELS:
        result = CliRunner().invoke(cli, [*CONSTANT, "--name", label])
        assert result.exit_code == 0, result.stderr
    assert {run.label for run in iter_runs(home / "runs")} == set(LABELS)
    for label in LABELS:
        run = find_run(f"{label}@capitals", home / "runs")
        assert run.label == label
        assert len(run.folder.parent.name.encode()) <= 255
    assert find_run("a-b@capitals", home / "runs").folder.parent.name == "a-b"
