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


def test_a_name_of_no_run_suggests_those_of_its_dataset_first(home: Path, tmp_path: Path) -> None:
    truth = tmp_path / "zz.csv"
    truth.write_text("id,lat,lon\na,48.85,2.35\nb,-33.9,151.2\n")
    for number in range(11):
        assert CliRunner().invoke(cli, [*CONSTANT, "--name", f"c{number}"]).exit_code == 0
    words = [*CONSTANT[:2], "table", *CONSTANT[3:], "--data", str(truth)]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.stderr
    found = CliRunner().invoke(cli, ["score", "nothing@table"]).stderr.splitlines()[1:]
    assert "constant@table" in found[0].split()[1]
    assert "and 2 more" in "\n".join(found)
    found = CliRunner().invoke(cli, ["score", "c9@table"]).stderr.splitlines()[1:]
    assert found[0].split()[1:5:2] == ["constant@table", "c9@capitals"]
