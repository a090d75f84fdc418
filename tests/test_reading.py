"""What readers raise over strangers' files names the file, and pipes are refused before they are opened."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError
from pinpoint_harness.features.exchange import read_external
from pinpoint_harness.images import ImageStore
from pinpoint_harness.readers import read_coordinates, read_table
from pinpoint_harness.reading import reading
from pinpoint_harness.reproduce import load_recipe

CONSTANT = ["run", "constant", "capitals", "--set", "latitude=1", "--set", "longitude=2"]
RAISED = [IndexError("x"), KeyError("x"), struct.error("x"), RecursionError(), MemoryError()]
RECIPE = """
title = "x"
status = "expected"
steps = {steps}
[each]
a = {values}
b = {values}
c = {values}
"""


def pinpoint(*words: str) -> tuple[int, str]:
    """How a command ends and what it says; it says a line and no traceback."""
    result = CliRunner().invoke(cli, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


@pytest.mark.parametrize("raised", RAISED)
def test_whatever_is_raised_names_the_file(raised: Exception, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read 'a\.bin'") as caught, reading("a.bin"):
        raise raised
    assert caught.value.__cause__ is raised
    with pytest.raises(ImportError), reading("a.bin"):
        raise ImportError("what is missing here is no fault of the file")


def _npy(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'shape': (4, 4), " + b" " * 80)


def _npz(path: Path) -> None:
    np.savez(path, features=np.ones((3, 2)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff" * 20 + data[len(data) // 2 :])


@pytest.mark.parametrize(("name", "write"), [("x.npy", _npy), ("x.npz", _npz), ("x.npy", Path.touch)])
def test_damaged_arrays_are_refused_by_name(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError, match=rf"cannot read features from '.*{name}'"):
        read_external(tmp_path / name, None)


def test_odd_parquet_is_refused_by_name(tmp_path: Path) -> None:
    numbers = pa.array([1.0, 2.0])
    twice = pa.table([numbers, numbers, numbers], names=["lat", "lon", "lon"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    when = pa.array([datetime(2020, 1, 1)] * 2, pa.timestamp("s", "Mars/Olympus"))
    pq.write_table(pa.table({"lat": numbers, "lon": numbers, "when": when}), tmp_path / "zone.parquet")
    with pytest.raises(DataError, match=r"twice\.parquet"):
        read_coordinates(tmp_path / "twice.parquet")
    with pytest.raises(DataError, match=r"zone\.parquet"):
        read_table(tmp_path / "zone.parquet")


@pytest.mark.parametrize("option", ["--ids", "--data", "--images", "--plugin"])
def test_a_pipe_is_refused_and_not_waited_for(option: str, home: Path) -> None:
    pipe = home / "pipe.py"
    os.mkfifo(pipe)
    code, said = pinpoint(*CONSTANT, option, str(pipe))
    assert code == 2, said
    recipe = home / "pipe.toml"
    os.mkfifo(recipe)
    assert pinpoint("reproduce", str(recipe))[0] == 2
    (home / "checkpoint").mkdir()
    os.mkfifo(home / "checkpoint" / "config.json")
    assert pinpoint("embed", "capitals", "--backbone", str(home / "checkpoint"))[0] == 2


@pytest.mark.skipif(not Path("/proc/self/mountinfo").is_file(), reason="a system without /proc")
@pytest.mark.parametrize("option", ["--ids", "--data", "--images", "--plugin"])
def test_a_file_of_the_kernel_is_refused_and_not_read(option: str, home: Path) -> None:
    """/proc/kmsg is regular and empty by all that is told of it, and reading it never ends."""
    (home / "link.py").symlink_to("/proc/kmsg")
    code, said = pinpoint(*CONSTANT, option, str(home / "link.py"))
    assert (code, "a part of the kernel (proc)" in said) == (2, True)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").is_file(), reason="a system without /proc")
def test_a_link_to_a_file_of_the_kernel_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").symlink_to("/proc/version")
    with ImageStore.open([tmp_path], follow_links=True) as store:
        assert len(store.everything()) == 0
    with pytest.raises(DataError, match="part of the kernel"):
        ImageStore.open([Path("/proc")])


def test_numbers_that_no_key_can_hold_are_refused_before_the_run(home: Path) -> None:
    for value in ("inf", "-inf", "nan", "1e400"):
        code, said = pinpoint(
            "run", "constant", "capitals", "--set", f"latitude={value}", "--set", "longitude=0"
        )
        assert code == 2
        assert "latitude" in said


def test_any_number_of_radii_can_be_scored_and_found_again(home: Path) -> None:
    radii = ",".join(str(number) for number in range(1, 300))
    for _ in range(2):
        assert pinpoint(*CONSTANT, "--radii", radii) == (0, "")
    names = [path.name for path in home.rglob("scores/*.json")]
    assert len(names) == 1
    assert len(names[0]) < 100


@pytest.mark.parametrize(
    ("radii", "said"),
    [
        ("0", "found: 0, where a radius is above 0 and below 20,038 km"),
        ("1,25,inf", "found: inf, where"),
        ("1,nan", "found: nan, where"),
        ("25,1", "do not ascend"),
        ("1,1", "do not ascend"),
        ("1,near", "'near' is no number"),
        ("", "'' is no number"),
    ],
)
def test_radii_that_do_not_fit_are_refused_with_the_reason(radii: str, said: str, home: Path) -> None:
    code, told = pinpoint(*CONSTANT, "--radii", radii)
    assert (code, said in told) == (2, True)


def test_radii_may_be_written_as_the_columns_they_become(home: Path) -> None:
    assert pinpoint(*CONSTANT, "--radii", "1km,25 km") == (0, "")
    (scores,) = home.rglob("scores/*.json")
    assert "acc_25km" in scores.read_text()
    assert "acc_200km" not in scores.read_text()
    for words in (["table", "capitals", "--columns", "0km"], ["table", "capitals", "--sort", "0km"]):
        code, told = pinpoint(*words)
        assert (code, "no column '0km'" in told, "above 0" in told) == (2, True, True)


def test_an_option_of_another_command_is_said_to_be_its(home: Path) -> None:
    code, told = pinpoint("compare", "a", "b", "--format", "latex")
    assert (code, "`pinpoint table`" in told, "--out" in told) == (2, True, False)


def test_of_many_names_those_most_like_an_unknown_one_are_shown(home: Path) -> None:
    code, told = pinpoint("run", "constant", "mini-erth/query-clean")
    assert code == 2
    assert len(told.splitlines()) < 14
    assert told.splitlines()[1].split()[1] == "mini-earth/query-clean"
    assert " more" in told
    assert "pinpoint datasets list" in told


def test_a_list_of_ids_in_another_encoding_is_refused_by_name(home: Path) -> None:
    (home / "ids.txt").write_bytes(b"caf\xe9\n")
    code, said = pinpoint(*CONSTANT, "--ids", str(home / "ids.txt"))
    assert code == 2
    assert "ids.txt" in said


def test_lists_of_ids_that_were_joined_or_are_in_another_unicode_are_read(home: Path) -> None:
    for content in (b"\xef\xbb\xbfFR\n\xef\xbb\xbfDE\n", b"FR\xef\xbb\xbfDE", "FR\nDE\n".encode("utf-16")):
        (home / "ids.txt").write_bytes(content)
        assert pinpoint(*CONSTANT, "--ids", str(home / "ids.txt")) == (0, "")


@pytest.mark.parametrize(
    ("steps", "values", "said"),
    [
        (
            '[["run", "{a}", "{b}", "{c}"]]',
            json.dumps([str(n) for n in range(100)]),
            "more than 10,000 steps",
        ),
        ('[["reproduce", "recipe.toml"]]', '["x"]', "a step runs a recipe"),
    ],
)
def test_recipes_that_would_not_end_are_refused(steps: str, values: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(steps=steps, values=values))
    with pytest.raises(DataError, match=said):
        load_recipe(str(path))
    path.write_bytes(b'title = "caf\xe9"')
    with pytest.raises(DataError, match="cannot read the recipe"):
        load_recipe(str(path))


def test_braces_in_a_value_of_a_recipe_stand_for_themselves(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(steps='[["run", "{a}"]]', values='["{b}{b}"]'))
    assert load_recipe(str(path)).steps[0].words == ("run", "{b}{b}")


def test_one_damaged_run_is_listed_as_such_and_stops_no_listing(home: Path) -> None:
    assert pinpoint(*CONSTANT)[0] == 0
    assert pinpoint(*CONSTANT, "--name", "other")[0] == 0
    (run,) = home.glob("runs/capitals/constant/*")
    for content in (b"{}", b"\xff\xfe", b"[" * 5000, b'{"recipe": 5}'):
        (run / "run.json").write_bytes(content)
        listed = CliRunner().invoke(cli, ["runs", "list", "--json"])
        assert listed.exit_code == 0
        rows = {row["method"].partition(" ")[0]: row["kind"] for row in json.loads(listed.stdout)}
        assert rows == {"constant": "damaged", "other": "full"}
        assert "damaged:" in listed.stderr
        assert pinpoint("table", "capitals")[0] == 0


def test_an_odd_log_of_sessions_stops_nothing(home: Path) -> None:
    assert pinpoint(*CONSTANT)[0] == 0
    (log,) = home.glob("runs/*/*/*/sessions.jsonl")
    log.write_bytes(b'\xff\xfe\n5\nnull\n{"event": "end"}\n{"event": "end", "time": 5}\n' + b"[" * 9000)
    for command in (["runs", "list"], ["runs", "show", "constant@capitals"]):
        assert pinpoint(*command)[0] == 0


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError(),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("can't start new thread"),
    ],
)
def test_memory_that_runs_out_is_told_in_words_whoever_could_not_have_it(
    raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 1 GiB of addresses, `report` ended in the traceback of a library that could not be loaded."""

    def read_run(*names: object, **where: object) -> None:
        raise raised

    monkeypatch.setattr("pinpoint_harness.api.read_run", read_run)
    result = CliRunner().invoke(cli, ["runs", "worst", "x", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "memory of this machine" in result.stderr
    assert "same command again" in result.stderr
