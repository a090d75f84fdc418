"""Recipes: steps that run, expectations that can fail, needs that are looked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pinpoint_harness.cli.main import COMMANDS, cli
from pinpoint_harness.errors import HarnessError, UsageError
from pinpoint_harness.reproduce import Cell, load_recipe, recipe_names
from pinpoint_harness.reproduce.recipe_fields import FIELDS, PARTS
from pinpoint_harness.reproduce.recipes import parse_recipe
from pinpoint_harness.version import __version__

OWN = """
title = "One constant"
status = "expected"
hours = 0.5
steps = [["run", "constant", "capitals", "--set", "latitude=0", "--set", "longitude=0", "--quiet"]]

[[needs]]
dataset = "capitals"

[[needs]]
dataset = "yfcc4k"
images = true
gigabytes = 0.7

[[needs]]
method = "no-such-method"

[[needs]]
weights = "nobody/no-such-model"
gigabytes = 2.0

[[expected]]
run = "constant@capitals"
protocol = "wgs84-lt"
tolerance = 0.1
cells = { acc_1km = 0.0, acc_2500km = EXPECTED }
"""


pytestmark = pytest.mark.usefixtures("home")


def reproduce(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["reproduce", *words], prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def own(tmp_path: Path, expected: float) -> str:
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace("EXPECTED", str(expected)))
    return str(file)


def measured(tmp_path: Path) -> float:
    cells = json.loads(reproduce(own(tmp_path, 99), "--json", code=1).stdout)
    (cell,) = [cell for cell in cells if cell["metric"] == "acc_2500km"]
    assert cell["verdict"] == "FAIL"
    value: float = cell["found"]
    return value


def test_a_right_expectation_is_ok_and_a_wrong_one_fails_with_exit_code_1(tmp_path: Path) -> None:
    value = measured(tmp_path)
    assert "2 OK, 0 near, 0 FAIL" in reproduce(own(tmp_path, value)).stdout
    assert "1 OK, 1 near, 0 FAIL" in reproduce(own(tmp_path, value + 0.2)).stdout
    assert "1 OK, 0 near, 1 FAIL" in reproduce(own(tmp_path, value + 0.4), code=1).stdout


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (10.0, "OK"),
        (10.1, "OK"),
        (9.9, "OK"),
        (10.2, "near"),
        (10.3, "near"),
        (10.31, "FAIL"),
        (None, "FAIL"),
    ],
)
def test_near_is_within_three_tolerances(found: float | None, verdict: str) -> None:
    assert Cell("r@d", "wgs84-lt", "acc_1km", 10.0, found, 0.1).verdict == verdict


def test_a_log_grows_by_a_row_with_who_what_where_and_the_verdict(tmp_path: Path) -> None:
    log = tmp_path / "reproductions.md"
    value = measured(tmp_path)
    reproduce(own(tmp_path, value), "--log", str(log), "--as-name", "A | <b>Reader</b>")
    reproduce(own(tmp_path, value + 9), "--log", str(log), code=1)
    header, line, first, second = log.read_text().splitlines()
    assert header == "| recipe | who | date | code | machine | verdict |"
    assert set(line) == {"|", "-"}
    assert r" | A \| \<b\>Reader\</b\> | " in first
    assert first.endswith("| OK 2 |")
    assert second.endswith("| FAIL 1, OK 1 |")
    assert __version__ in first


@pytest.mark.parametrize("content", [b"mine\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_log_is_left_alone_and_nothing_is_run(tmp_path: Path, content: bytes) -> None:
    log = tmp_path / "notes.md"
    log.write_bytes(content)
    result = reproduce(own(tmp_path, 1), "--log", str(log), code=2)
    assert "log of reproductions" in result.output
    assert str(log) in result.output
    assert log.read_bytes() == content
    assert not (tmp_path / "runs").exists()


def test_a_log_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = reproduce(own(tmp_path, 1), "--log", str(tmp_path / "file" / "log.md"), code=2)
    assert "is no folder where you may write" in result.output
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_says_what_is_missing_how_big_how_long_and_runs_nothing(tmp_path: Path) -> None:
    text = reproduce(own(tmp_path, 1), "--dry-run").stdout
    assert "found    dataset capitals: 193 rows" in text
    assert "missing  dataset yfcc4k, 0.7 GB" in text
    assert "missing  method no-such-method: not in this version" in text
    assert "missing  weights nobody/no-such-model, 2 GB" in text
    assert "about 2.7 GB to have, roughly 0.5 hours" in text
    assert "next: the truth of yfcc4k was not found" in text
    assert not (tmp_path / "runs").exists()
    report = json.loads(reproduce(own(tmp_path, 1), "--dry-run", "--json").stdout)
    assert [item["found"] for item in report["needs"]] == [True, False, False, False]


def test_recipes_are_listed_with_their_status() -> None:
    text = reproduce().stdout
    for name in recipe_names():
        assert name in text


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_is_whole_and_names_commands_that_exist(name: str) -> None:
    recipe = load_recipe(name)
    for step in (*recipe.steps, *recipe.more):
        assert step.words[0] in COMMANDS
    for expectation in recipe.expected:
        assert expectation.tolerance > 0
        assert expectation.cells


def test_the_capitals_keep_their_expectations() -> None:
    assert "0 FAIL" in reproduce("capitals").stdout


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("title =", "titel ="), "line 2: there is no field 'titel'"),
        (("title =", "more ="), "line 2: more is lists of words"),
        (('status = "expected"', ""), "line 1: the field 'status' is missing"),
        (('status = "expected"', 'status = "perhaps"'), "perhaps"),
        (("steps = [[", "steps = [[1, "), "lists of words"),
        (("tolerance = 0.1", ""), r"line \d\d?: the field 'tolerance' is missing"),
        (("tolerance = 0.1", "tolerance = true"), r"line \d\d?: tolerance is a number"),
        (("tolerance = 0.1", "tolerances = 0.1"), r"line \d\d?: there is no field 'tolerances'"),
        (("tolerance = 0.1", "tolerance = nan"), r"line \d\d?: tolerance is a number"),
        (('protocol = "wgs84-lt"', 'protocol = "wgs84"'), r"line \d\d?: there is no protocol 'wgs84'"),
        (("acc_1km", "acc_1"), r"line \d\d?: there is no metric 'acc_1'"),
        (('dataset = "capitals"', "gigabytes = 1"), "a need names"),
        (("[[needs]]", "[[needs"), "not TOML"),
    ],
)
def test_a_recipe_that_is_not_whole_is_refused(change: tuple[str, str], problem: str) -> None:
    with pytest.raises(HarnessError, match=problem):
        parse_recipe(OWN.replace("EXPECTED", "1").replace(*change, 1), "own")


def test_an_unknown_recipe_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="demo"):
        load_recipe("atlantis")


def test_steps_see_the_plugins_of_the_command_line(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (tmp_path / "north_pole.py").write_text(readme.partition("# north_pole.py\n")[2].partition("```")[0])
    recipe: Any = tmp_path / "pole.toml"
    recipe.write_text(
        'title = "t"\nstatus = "expected"\nsteps = [["run", "north-pole", "capitals", "--quiet"]]\n'
    )
    words = ["--plugin", str(tmp_path / "north_pole.py"), "reproduce", str(recipe)]
    assert CliRunner().invoke(cli, words, prog_name="pinpoint").exit_code == 0


COMPARING = """
title = "Two constants"
status = "expected"
steps = [
    ["run", "constant", "capitals", "--set", "latitude={latitude}", "--set", "longitude=2", "--quiet"],
    ["run", "random-prior", "capitals", "--quiet"],
    ["compare", "constant@capitals", "random-prior@capitals"],
    ["score", "constant@capitals", "--all-protocols"],
]
lanes = "latitude"

[each]
latitude = ["48"]

[[expected]]
run = "constant@capitals"
protocol = "wgs84-lt"
tolerance = 0.001
cells = { acc_2500km = EXPECTED }
"""


@pytest.mark.parametrize("jobs", [[], ["--jobs", "2"]])
def test_a_recipe_means_the_runs_of_its_own_steps(tmp_path: Path, jobs: list[str]) -> None:
    """Whatever else has the name in that home, before and after the recipe has made its own."""
    run = ["run", "constant", "capitals", "--set", "longitude=2", "--set"]
    words = [*run, "latitude=48", "--json", "--name", "alone"]
    (scores,) = json.loads(CliRunner().invoke(cli, words).stdout)["scores"]
    expected = scores["estimates"]["acc_2500km"]["value"]
    file = tmp_path / "own.toml"
    file.write_text(COMPARING.replace("EXPECTED", str(expected)))
    assert CliRunner().invoke(cli, [*run, "latitude=-70"]).exit_code == 0
    assert "1 OK, 0 near, 0 FAIL" in reproduce(str(file), *jobs).stdout
    assert CliRunner().invoke(cli, [*run, "latitude=-80"]).exit_code == 0
    assert "1 OK, 0 near, 0 FAIL" in reproduce(str(file), *jobs).stdout
    ambiguous = CliRunner().invoke(cli, ["score", "constant@capitals"])
    assert "names 3 runs" in ambiguous.stderr


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_what_to_do_next_in_commands_that_parse_and_runs_that_it_made(name: str) -> None:
    recipe = load_recipe(name)
    made = {_row_of(step.words) for step in recipe.steps if step.words[0] in ("run", "ceiling")}
    assert recipe.next
    for step in recipe.next:
        command, words = cli, list(step.words)
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None
            command = found
        command.make_context("next", words, resilient_parsing=False)
        assert {word for word in words if "@" in word} <= made


def _row_of(words: tuple[str, ...]) -> str:
    """`METHOD@DATASET` of a step that runs one."""
    name = words[words.index("--name") + 1] if "--name" in words else words[1]
    return f"{name}@{words[2]}"


def test_a_recipe_ends_with_what_to_do_next(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    following = 'next = [["table", "capitals", "--sort", "25km"]]\n'
    file.write_text(OWN.replace("EXPECTED", "0.0").replace("\n[[needs]]", f"{following}\n[[needs]]", 1))
    assert reproduce(str(file), code=1).stdout.endswith("next:\n  pinpoint table capitals --sort 25km\n")


def test_the_page_tells_every_field_of_a_recipe_by_an_example_that_holds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text()
    section = page.partition("## Recipes of your own")[2]
    recipe = parse_recipe(section.partition("```toml\n")[2].partition("```")[0], "my")
    assert recipe.lanes == ("seed=0", "seed=1")
    table = set(re.findall(r"`(\w+)`", section.partition("| field |")[2]))
    assert {*FIELDS, *(field for part in PARTS.values() for field in part)} <= table
