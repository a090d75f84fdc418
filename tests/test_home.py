"""Where things lie: one root, what overrides it, and what the old ways still do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinpoint_harness import evaluate, home, read_run
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import UsageError
from pinpoint_harness.home import OLD_VARIABLES, find_home
from pinpoint_harness.types import Context

LONDON = {"latitude": 51.5, "longitude": -0.1}
SETTINGS = ["--set", "latitude=51.5", "--set", "longitude=-0.1", "--quiet"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (home.HOME_VARIABLE, *OLD_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    home.warn_old.cache_clear()


def pinpoint(*words: object) -> str:
    result = CliRunner().invoke(cli, list(map(str, words)), prog_name="pinpoint")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_everything_lies_below_one_root() -> None:
    found = find_home()
    assert (found.folder, found.runs, found.stores) == tuple(
        map(Path, ("results", "results/runs", "results/stores"))
    )
    assert (found.models, found.audits) == (Path("results/models"), Path("results/audits"))
    assert find_home(found) is found
    assert Context().models == found.models


def test_what_is_given_comes_before_the_variable_and_the_variable_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert find_home().set_by == "default"
    monkeypatch.setenv("PINPOINT_HOME", "/one")
    assert (find_home().models, find_home().set_by) == (Path("/one/models"), "$PINPOINT_HOME")
    assert (find_home("/two").models, find_home("/two").set_by) == (Path("/two/models"), "--home")


@pytest.mark.parametrize(("name", "variable"), OLD_VARIABLES.items())
def test_an_old_variable_moves_its_folder_with_one_warning_unless_a_root_is_given(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PINPOINT_HOME", "/one")
    monkeypatch.setenv(variable, "/elsewhere")
    for _ in range(2):
        assert getattr(find_home(), name) == Path("/elsewhere")
    assert find_home().audits == Path("/one/audits")
    (record,) = caplog.records
    assert f"${variable} is the old way" in record.getMessage()
    assert f"$PINPOINT_HOME/{name}" in record.getMessage()
    assert getattr(find_home("/two"), name) == Path("/two", name)


def test_the_option_stands_before_the_command_or_after_it(tmp_path: Path) -> None:
    first = pinpoint("--home", tmp_path / "a", "run", "constant", "capitals", *SETTINGS)
    second = pinpoint("run", "constant", "capitals", *SETTINGS, "--home", tmp_path / "b")
    assert Path(first.strip()).parents[2] == tmp_path / "a" / "runs"
    assert Path(second.strip()).parents[2] == tmp_path / "b" / "runs"
    (row,) = json.loads(pinpoint("--home", tmp_path / "a", "runs", "list", "--json"))
    assert row["method"].startswith("constant")
    both = pinpoint("--home", tmp_path / "none", "runs", "list", "--home", tmp_path / "a", "--json")
    assert json.loads(both) == [row]


def test_old_options_still_move_one_folder_with_a_warning(tmp_path: Path) -> None:
    home.warn_old.cache_clear()  # it says each thing once a process
    command = ["run", "constant", "capitals", *SETTINGS, "--out", str(tmp_path / "mine")]
    result = CliRunner().invoke(cli, command)
    assert Path(result.stdout.strip()).parents[2] == tmp_path / "mine"
    assert "a folder of its own for runs is the old way and will go: use --home" in result.stderr
    assert "--out" not in pinpoint("run", "--help")


@pytest.mark.parametrize("command", [["demo"], ["reproduce", "demo"]])
def test_recipes_refuse_the_old_option_and_name_the_new_one(command: list[str]) -> None:
    result = CliRunner().invoke(cli, [*command, "--out", "somewhere"])
    assert result.exit_code == 2
    assert "fix:   --home somewhere" in result.stderr


def test_from_python_a_root_or_the_old_keywords(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = evaluate("constant", "capitals", parameters=LONDON, home=tmp_path)
    assert run.folder.is_relative_to(tmp_path / "runs")
    assert read_run("constant@capitals", home=tmp_path).folder == run.folder
    assert not caplog.records
    assert read_run("constant@capitals", tmp_path / "runs").folder == run.folder
    old = evaluate("constant", "capitals", parameters=LONDON, out=tmp_path / "runs")
    assert old.folder == run.folder
    assert "the old way" in caplog.text


@pytest.mark.parametrize(
    "command", [["runs", "list"], ["stores", "list"], ["table", "capitals"], ["clean"], ["doctor"]]
)
@pytest.mark.parametrize(
    "kind",
    [
        "file",
        "pipe",
        "device",
        "below a file",
        "its runs are a file",
        "a ring of links",
        "a link to nowhere",
        "below a link to nowhere",
        "its runs are a link to themselves",
        "the kernel",
    ],
)
def test_a_home_that_is_no_folder_is_refused_and_never_empty(
    command: list[str], kind: str, tmp_path: Path
) -> None:
    elsewhere = {"device": Path("/dev/null"), "the kernel": Path("/proc")}
    place = elsewhere.get(kind, tmp_path / "home")
    if "link" in kind and "its runs" not in kind:
        place.symlink_to(tmp_path / ("other" if "ring" in kind else "disk"))
        (tmp_path / "other").symlink_to(place)
    elif kind == "its runs are a link to themselves":
        place.mkdir()
        (place / "runs").symlink_to(place / "runs")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "its runs are a file":
        place.mkdir()
        (place / "runs").touch()
    elif kind not in elsewhere:
        place.touch()
    given = place / "below" if kind.startswith("below") else place
    result = CliRunner().invoke(cli, [*command, "--home", str(given)])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "no folder" in result.stderr or "is a file" in result.stderr


@pytest.mark.parametrize("kind", ["file", "link to nowhere", "link to itself"])
@pytest.mark.parametrize("command", [["runs", "list"], ["table", "capitals"]])
def test_what_stands_in_place_of_the_runs_of_a_dataset_is_refused(
    command: list[str], kind: str, tmp_path: Path
) -> None:
    place = tmp_path / "runs" / "capitals"
    place.parent.mkdir()
    (place.parent / "notes.txt").touch()
    if kind == "file":
        place.touch()
    else:
        place.symlink_to(tmp_path / "disk" if "nowhere" in kind else place)
    result = CliRunner().invoke(cli, [*command, "--home", str(tmp_path)])
    assert result.exit_code == 2, result.output
    assert "is no folder of a dataset" in result.stderr
    place.unlink()
    assert "is no folder" not in CliRunner().invoke(cli, [*command, "--home", str(tmp_path)]).stderr


def test_a_link_to_a_folder_is_a_home(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    assert find_home(tmp_path / "home" / "new").runs == tmp_path / "home" / "new" / "runs"


def test_a_variable_that_names_no_folder_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINPOINT_HOME", "/dev/null")
    with pytest.raises(UsageError, match=r"\$PINPOINT_HOME.*no folder"):
        find_home()
