"""What reaches people is text that plays no tricks, and stdout holds results alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.console import visible
from pinpoint_harness.errors import HarnessError

CONSTANT = ["run", "constant", "--set", "latitude=1", "--set", "longitude=2"]
CHATTY = """
import os, subprocess, threading
import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl

print("import")
class Chatty:
    input = "none"
    answer_version = 1
    def __init__(self, params, context):
        print("constructor")
    def predict(self, queries):
        print("predict")
        os.write(1, b"past Python\\n")
        subprocess.run(["echo", "another program"])
        threading.Thread(target=print, args=["thread"]).start()
        return Predictions(np.zeros((len(queries), 2)))

@hookimpl
def pinpoint_register(register):
    import atexit
    atexit.register(print, "at the end")
    register.method("chatty", f"{__name__}:Chatty", MethodInfo(title="Chatty"))
"""


def _truth(folder: Path, name: str) -> Path:
    path = folder / "truth.csv"
    path.write_text(f'id,latitude,longitude\n"{name}",10,20\nplain,30,40\n', newline="")
    return path


@pytest.mark.parametrize(
    "trick", ["\x1b]0;title\x07", "\u202egpj.exe", "\x9b31m", "\U000e0041", "\r", "\ud800"]
)
def test_a_sign_that_plays_tricks_is_shown_as_its_number(trick: str) -> None:
    shown = visible(f"a{trick}b")
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{trick}b"


def test_an_id_cannot_move_the_cursor_or_begin_a_line_of_a_table(home: Path) -> None:
    truth = _truth(home, "x\x1b[2J\u202e\nforged  0.0  ok")
    assert CliRunner().invoke(cli, [*CONSTANT, "table", "--data", str(truth)]).exit_code == 0
    shown = CliRunner().invoke(cli, ["runs", "worst", "constant@table"]).stdout
    assert "\\u001b[2J\\u202e\\nforged" in shown
    assert not [line for line in shown.splitlines() if line.startswith("forged")]
    stored = json.loads(CliRunner().invoke(cli, ["runs", "worst", "constant@table", "--json"]).stdout)
    assert "x\x1b[2J\u202e\nforged  0.0  ok" in {row["id"] for row in stored}


def test_a_message_has_further_lines_below_it_and_an_end() -> None:
    said = str(HarnessError("no 'a\nerror: forged'", found="x" * 5000, fix="\n".join("y" * 900)))
    assert all(line.startswith("  ") for line in said.splitlines()[1:])
    assert len(said) < 4000


def test_a_name_is_one_line_that_can_be_seen(home: Path) -> None:
    for name in ("a\nb", "a\x1b[1mb", "a\u202eb"):
        result = CliRunner().invoke(cli, [*CONSTANT, "capitals", "--name", name])
        assert result.exit_code == 2, name
        assert "cannot be a name" in result.stderr


def test_an_argument_that_is_no_utf8_is_refused_before_the_run(home: Path) -> None:
    result = CliRunner().invoke(cli, [*CONSTANT, "capitals", "--name", "caf\udce9"])
    assert result.exit_code == 2
    assert "argument 9 is not text in UTF-8" in result.stderr
    assert not (home / "runs").exists()


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_what_a_plugin_prints_is_no_part_of_a_result(home: Path, arguments: list[str]) -> None:
    plugin = home / "chatty.py"
    plugin.write_text(CHATTY)
    command = ["run", "chatty", "capitals", "--plugin", str(plugin), *arguments]
    program = "from pinpoint_harness.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    words = ["import", "constructor", "predict", "past Python", "another program", "thread", "at the end"]
    for word in words:
        assert word in done.stderr.splitlines()
        assert word not in done.stdout.splitlines()
    if arguments:
        assert json.loads(done.stdout)


def test_a_terminal_that_knows_few_signs_gets_their_numbers(home: Path) -> None:
    truth = _truth(home, "Zürich")
    assert CliRunner().invoke(cli, [*CONSTANT, "table", "--data", str(truth)]).exit_code == 0
    shown = CliRunner(charset="ascii").invoke(cli, ["runs", "worst", "constant@table"])
    assert shown.exit_code == 0, shown.exception
    assert "Z\\xfcrich" in shown.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="a device that is always full is Linux's")
@pytest.mark.parametrize("arguments", ["runs list", "--version"])
def test_a_stdout_that_is_full_ends_the_command_in_words(home: Path, arguments: str) -> None:
    ended = _with_stdout(arguments, home, ">/dev/full")
    assert ended.returncode == 2
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


def test_a_stdout_that_is_closed_is_written_nowhere(home: Path) -> None:
    ended = _with_stdout("runs list", home, ">&-")
    assert (ended.returncode, ended.stderr) == (0, "")


def _with_stdout(arguments: str, home: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    program = "from pinpoint_harness.cli.main import main; main()"
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -P -c "{program}" {arguments} {redirection}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PINPOINT_HOME": str(home)},
    )
