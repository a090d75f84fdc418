"""Lanes of recipes: beside one another in processes of their own, in order within, stopped together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError
from pinpoint_harness.reproduce import load_recipe
from pinpoint_harness.reproduce.recipes import Step, parse_recipe

PLUGIN = '''
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl
from pinpoint_harness.errors import UsageError
from pinpoint_harness.params import param

@dataclass(frozen=True)
class NoteParams:
    """What is noted when the first answers are asked for, and what is done then."""

    text: str = param(help="The note.")
    then: str = param("answer", help="answer, sleep, or fail once somebody sleeps.")


class Note:
    Params = NoteParams
    input = "none"
    answer_version = 1

    def __init__(self, params, context):
        self.params = params
        self.noted = False

    def predict(self, queries):
        if not self.noted:
            self.note(Path(os.environ["NOTES"]))
        return Predictions(np.zeros((len(queries), 2)))

    def note(self, file):
        self.noted = True
        threads = os.environ.get("OMP_NUM_THREADS")
        with file.open("a") as notes:
            notes.write(f"{self.params.text} {os.getpid()} {os.getppid()} {threads}\\n")
        if self.params.then == "sleep":
            time.sleep(60)
        while self.params.then == "fail":
            if "\\nsleep " in file.read_text():
                raise UsageError("this lane fails", fix="nothing")
            time.sleep(0.01)


@hookimpl
def pinpoint_register(register):
    register.method("note", f"{__name__}:Note", MethodInfo(title="Leaves a note"))
'''

HEAD = 'title = "t"\nstatus = "expected"\n'
LANES = 'lanes = "world"\n'
EACH = '[each]\nworld = ["3", "4"]\nseed = ["0", "1"]\n'


def note(text: str, *settings: str) -> list[str]:
    words = [word for setting in (f"text={text}", *settings) for word in ("--set", setting)]
    return ["run", "note", "capitals", *words, "--name", text, "--quiet"]


@pytest.fixture(autouse=True)
def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of notes; the plugin beside it, and runs in a folder of the test's own."""
    (home / "notes.py").write_text(PLUGIN)
    monkeypatch.setenv("NOTES", str(home / "notes.txt"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return home / "notes.txt"


def own(folder: Path, *steps: list[str], lanes: str = LANES) -> list[str]:
    """The words that reproduce a recipe of these steps with the plugin at hand."""
    (folder / "own.toml").write_text(f"{HEAD}{lanes}steps = {json.dumps(steps)}\n{EACH}")
    return ["--plugin", str(folder / "notes.py"), "reproduce", str(folder / "own.toml")]


def pinpoint(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, words, prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(process: int) -> bool:
    """A process that has ended but waits to be collected by its parent is not alive."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_step_is_in_the_lane_whose_name_it_holds() -> None:
    steps = '[["train", "m", "w={world}", "{seed}"], ["table", "{seed}"]]'
    recipe = parse_recipe(f"{HEAD}{LANES}steps = {steps}\nmore = {steps}\n{EACH}", "own")
    expected = (
        Step(("train", "m", "w=3", "0"), "world=3", ("world",)),
        Step(("train", "m", "w=3", "1"), "world=3", ("world",)),
        Step(("train", "m", "w=4", "0"), "world=4", ("world",)),
        Step(("train", "m", "w=4", "1"), "world=4", ("world",)),
        Step(("table", "0")),
        Step(("table", "1")),
    )
    assert recipe.steps == recipe.more == expected
    assert recipe.lanes == ("world=3", "world=4")
    assert parse_recipe(f"{HEAD}steps = {steps}\n{EACH}", "own").lanes == ()


def test_names_in_a_list_stand_beside_one_another() -> None:
    steps = '[["table", "{seed}"], ["table", "{world}"], ["table", "{world}", "{seed}"]]'
    recipe = parse_recipe(f'{HEAD}lanes = [["seed", "world"]]\nsteps = {steps}\n{EACH}', "own")
    assert {step.beside for step in recipe.steps} == {("seed", "world")}
    assert recipe.lanes == ("seed=0", "seed=1", "world=3", "world=4")
    assert [step.lane for step in recipe.steps[-4:]] == ["seed=0", "seed=1"] * 2


@pytest.mark.parametrize(
    "lanes",
    [
        *('"planet"', '""', '["world", "planet"]', "[3]", "3"),
        *('["world", "world"]', '["world", ["seed", "world"]]', "[[]]", '[["world", 3]]', '[[["world"]]]'),
    ],
)
def test_lanes_that_are_no_name_of_each_are_refused(lanes: str) -> None:
    with pytest.raises(DataError, match="lanes"):
        parse_recipe(f'{HEAD}lanes = {lanes}\nsteps = [["table", "{{world}}"]]\n{EACH}', "own")


def test_the_worlds_of_mini_earth_are_lanes() -> None:
    assert load_recipe("mini-earth").lanes == ("world=5", "world=6")


def test_lanes_keep_their_order_and_steps_without_one_wait_for_all(tmp_path: Path, notes: Path) -> None:
    words = own(
        tmp_path,
        note("first-{world}-{seed}"),
        note("second-{world}"),
        note("all"),
        note("last-{world}"),
    )
    result = pinpoint(*words, "--jobs", "2", "--home", str(tmp_path / "elsewhere"))
    rows = [line.split() for line in notes.read_text().splitlines()]
    texts = [row[0] for row in rows]
    process = {row[0]: row[1] for row in rows}
    for world in "34":
        mine = [text for text in texts if f"-{world}" in text]
        assert mine == [f"first-{world}-0", f"first-{world}-1", f"second-{world}", f"last-{world}"]
        assert len({process[text] for text in mine[:3]}) == 1
        title = f"[{3 if world == '4' else 1}/9] pinpoint --home {tmp_path / 'elsewhere'} run note"
        assert f"[world={world}] {title}" in result.stderr
    assert texts.index("all") == 6
    assert set(texts[7:]) == {"last-3", "last-4"}
    assert process["all"] == str(os.getpid()) not in {process["first-3-0"], process["first-4-0"]}
    assert process["first-3-0"] != process["first-4-0"]
    shared = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert {row[3] for row in rows if row[0] != "all"} == {shared}
    assert len(list((tmp_path / "elsewhere" / "runs" / "capitals").iterdir())) == 9
    # What lanes have made is found again, by whatever way the recipe is run.
    pinpoint(*words, "--home", str(tmp_path / "elsewhere"))
    assert len(notes.read_text().splitlines()) == 9


def test_a_lane_that_fails_is_named_with_its_step_and_stops_the_others(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # the user's own number holds
    lanes = [note("{world}-{seed}"), note("{world}", "then={world}")]
    each = EACH.replace('"3", "4"', '"sleep", "fail"').replace('"0", "1"', '"0"')
    words = own(tmp_path, *lanes, note("after"))
    (tmp_path / "own.toml").write_text((tmp_path / "own.toml").read_text().replace(EACH, each))
    result = pinpoint(*words, "--jobs", "2", code=2)
    assert re.search(r"\[world=fail\] error: method 'note'.*: this lane fails", result.stderr)
    said = "error: a step of world=fail failed: [4/5] pinpoint run note capitals --set text=fail"
    assert re.search(rf"^{re.escape(said)}.*\n  found: exit code 2;", result.stderr, re.MULTILINE)
    rows = {line.split()[0]: line.split() for line in notes.read_text().splitlines()}
    assert rows.keys() == {"sleep-0", "fail-0", "sleep", "fail"}
    assert not alive(int(rows["sleep"][1]))
    assert {row[3] for row in rows.values()} == {"3"}
    assert (tmp_path / "runs" / "capitals" / "fail-0").exists()


@pytest.mark.parametrize("ignored", [False, True], ids=["", "in the background"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_lanes_end_with_the_command_however_it_ends(
    tmp_path: Path, notes: Path, how: signal.Signals, ignored: bool
) -> None:
    words = own(tmp_path, note("{world}", "then=sleep"))
    code = "from pinpoint_harness.cli.main import main; main()"
    command = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--jobs", "2"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # As a shell starts a job in the background, or the other way round where the tests are one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    try:
        wait_for(lambda: notes.exists() and len(notes.read_text().splitlines()) == 2)
        command.send_signal(how)
        assert command.wait(20) == (130 if how == signal.SIGINT else -signal.SIGKILL)
    finally:
        command.kill()
        command.wait()
    lanes = [line.split() for line in notes.read_text().splitlines()]
    assert all(int(lane[2]) == command.pid for lane in lanes)
    if how == signal.SIGINT:  # the command waits for them
        assert not any(alive(int(lane[1])) for lane in lanes)
    wait_for(lambda: not any(alive(int(lane[1])) for lane in lanes))


def test_a_lane_killed_by_the_system_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.py").write_text(PLUGIN.replace("time.sleep(60)", "os.kill(os.getpid(), 9)"))
    result = pinpoint(*own(tmp_path, note("{world}", "then=sleep")), "--jobs", "2", code=2)
    assert "found: killed by SIGKILL" in result.stderr
    assert "fewer --jobs need less memory" in result.stderr


def test_only_runs_the_steps_of_one_lane_and_compares_nothing(tmp_path: Path, notes: Path) -> None:
    words = own(tmp_path, note("a-{world}"), note("all"), note("b-{world}"))
    with (tmp_path / "own.toml").open("a") as recipe:
        recipe.write('[[expected]]\nrun = "all@capitals"\nprotocol = "wgs84-lt"\n')
        recipe.write("tolerance = 0.1\ncells = { acc_1km = 0.0 }\n")
    shown = pinpoint(*words, "--only", "world=4", "--dry-run").stdout
    assert re.findall("text=([^ ]+)", shown) == ["a-4", "b-4"]
    assert shown.endswith(f"next: pinpoint reproduce {words[-1]} --only world=4\n")
    result = pinpoint(*words, "--only", "world=4", "--json")
    assert [line.split()[0] for line in notes.read_text().splitlines()] == ["a-4", "b-4"]
    assert json.loads(result.stdout) == []
    assert f"`pinpoint reproduce {words[-1]}` compares" in result.stderr
    assert "1 OK, 0 near, 0 FAIL" in pinpoint(*words).stdout
    texts = [line.split()[0] for line in notes.read_text().splitlines()]
    assert texts == ["a-4", "b-4", "a-3", "all", "b-3"]


@pytest.mark.parametrize(
    ("lanes", "options", "problem"),
    [
        (LANES, ["--only", "world=7"], "has no lane 'world=7'\n  found: world=3  world=4"),
        (LANES, ["--only", "3"], "has no lane '3'\n  found: world=3  world=4"),
        (LANES, ["--only", "seed=0"], "has no lane 'seed=0'"),
        (LANES, ["--only", "world=3", "--jobs", "2"], "--jobs has nothing to run beside one lane"),
        ("", ["--only", "world=3"], "--only needs a recipe with lanes"),
        ("", ["--jobs", "2"], "--jobs needs a recipe with lanes"),
        ("", ["--jobs", "0"], "0 is not in the range x>=1"),
    ],
)
def test_lanes_that_are_not_there_are_refused_before_anything_runs(
    tmp_path: Path, notes: Path, lanes: str, options: list[str], problem: str
) -> None:
    assert problem in pinpoint(*own(tmp_path, note("{world}"), lanes=lanes), *options, code=2).stderr
    assert not notes.exists()


def test_the_hours_of_a_dry_run_of_one_lane_are_said_to_be_those_of_all(tmp_path: Path) -> None:
    words = own(tmp_path, ["table", "{world}"])
    assert "hours to run; the steps" in pinpoint(*words, "--dry-run").stdout
    one = pinpoint(*words, "--dry-run", "--only", "world=3").stdout
    assert "hours to run for the whole recipe; the steps:\n  pinpoint table 3\nnext" in one


def test_a_step_of_several_lines_does_not_hide_those_after_it(tmp_path: Path, notes: Path) -> None:
    listing = ["runs", "list", "--dataset", "capitals\n\r{world}"]
    words = own(tmp_path, note("{world}"), listing, ["table", "{world}-{seed}"])
    result = pinpoint(*words, "--jobs", "2", code=2)
    assert re.search(r"error: a step of world=[34] failed: \[[5-8]/8\] pinpoint table", result.stderr)
