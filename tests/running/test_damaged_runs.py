"""A run whose files are not as they were written is worth no figure, whether it was scored before or not."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.running import find_run

RUN = ["run", "constant", "capitals", "--set", "latitude=1", "--set", "longitude=2"]


def test_no_figure_is_printed_for_a_damaged_run(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path)]
    assert CliRunner().invoke(cli, [*RUN, *home]).exit_code == 0
    answers = find_run("constant@capitals", tmp_path / "runs").folder / "predictions.parquet"
    content = bytearray(answers.read_bytes())
    content[len(content) // 2] ^= 1
    answers.write_bytes(content)
    for command in (["score", "constant@capitals"], ["score", "constant@capitals", "--all-protocols"], RUN):
        result = CliRunner().invoke(cli, [*command, *home])
        assert result.exit_code != 0
        assert result.stdout == ""
        assert "predictions.parquet is changed" in result.stderr
    assert CliRunner().invoke(cli, [*RUN, *home, "--fresh"]).exit_code == 0
