"""A name that is not there is answered with the one that was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pinpoint_harness.cli.main import cli

TABLE = "id,lat,lon,town\na,1.5,2.5,x\n"
CASES = {
    "role of a truth": (["datasets", "verify", "table", "FILE", "--column", "lattitude=lat"], "latitude"),
    "role of answers": (["score", "FILE", "--dataset", "table", "--column", "anser=x"], "answer"),
    "column of a truth": (["datasets", "verify", "table", "FILE", "--column", "author=twon"], "town"),
    "column of answers": (
        ["score", "FILE", "--dataset", "table", "--data", "FILE", "--column", "answer=twon"],
        "town",
    ),
    "option": (["score", "FILE", "--dataset", "table", "--data", "FILE", "--set", "seelct=x"], "select"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_name_that_was_meant_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    words, meant = CASES[name]
    given = [word.replace("FILE", str(tmp_path / "table.csv")) for word in words]
    result = CliRunner().invoke(cli, ["--home", str(tmp_path), *given])
    assert result.exit_code == 2
    assert f"did you mean '{meant}'?" in result.stderr
