"""A run whose files are not as they were written is worth no figure, whether it was scored before or not."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pinpoint_harness.artifacts import finished_folders, finishing_order
from pinpoint_harness.cli.main import cli
from pinpoint_harness.running import find_run, iter_runs

CHANGED = "changed or copied from elsewhere in line"
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


def invoked(tmp_path: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--home", str(tmp_path)])


def test_a_run_that_cannot_say_what_it_is_is_named_where_it_may_be_meant_and_there_alone(
    tmp_path: Path,
) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    assert invoked(tmp_path, "run", "random-prior", "capitals").exit_code == 0
    folder = find_run("constant@capitals", tmp_path / "runs").folder
    (folder / "run.json").write_text("{")
    for name in ("constant@capitals", "constant@capitals@latest", folder.name[:8]):
        result = invoked(tmp_path, "score", name)
        assert result.exit_code == 2
        assert f"run '{name}' is damaged" in result.stderr
        assert str(folder) in result.stderr
        assert "--fresh" in result.stderr
        assert "pinpoint runs rm" in result.stderr
    elsewhere = invoked(tmp_path, "score", "random-prior@capitals")
    assert (elsewhere.exit_code, "damaged" in elsewhere.stderr) == (0, False)
    assert "damaged" not in invoked(tmp_path, "score", "constant@yfcc4k").stderr
    assert invoked(tmp_path, *RUN[:-1], "longitude=9").exit_code == 0
    beside = invoked(tmp_path, "score", "constant@capitals")
    assert (beside.exit_code, "run left out, it is damaged" in beside.stderr) == (0, True)
    newest = invoked(tmp_path, "score", "constant@capitals@latest")
    assert (newest.exit_code, "run 'constant@capitals@latest' is damaged" in newest.stderr) == (2, True)
    assert "is damaged" in invoked(tmp_path, "table", "capitals").stderr


def test_a_run_that_cannot_say_what_it_is_is_removed_by_its_name(tmp_path: Path) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    folder = find_run("constant@capitals", tmp_path / "runs").folder
    (folder / "run.json").write_text("{")
    assert invoked(tmp_path, "runs", "rm", str(folder), "--yes").exit_code == 0
    assert not folder.exists()


def test_a_run_that_lost_its_manifest_is_damaged_not_absent(tmp_path: Path) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    assert invoked(tmp_path, *RUN[:-1], "longitude=9").exit_code == 0
    folder = find_run("constant@capitals@latest", tmp_path / "runs").folder
    (folder / "manifest.json").unlink()
    listed = invoked(tmp_path, "runs", "list")
    assert f"damaged: '{folder}': manifest.json is missing" in listed.stderr
    assert [line.split()[-2:] for line in listed.stdout.splitlines() if folder.name[:8] in line] == [
        ["damaged", "-"]
    ]
    assert "manifest.json is missing" in invoked(tmp_path, "table", "capitals").stderr
    for name in ("constant@capitals@latest", folder.name[:8], str(folder)):
        refused = invoked(tmp_path, "score", name)
        assert (refused.exit_code, "manifest.json is missing" in refused.stderr) == (2, True)
    verified = invoked(tmp_path, "runs", "verify", "--all")
    assert (verified.exit_code, f"missing: {folder / 'manifest.json'}" in verified.stdout) == (1, True)
    assert invoked(tmp_path, "runs", "rm", folder.name[:8], "--yes").exit_code == 0
    assert not folder.exists()


def test_a_run_whose_manifest_is_no_json_is_removed_as_its_refusal_says(tmp_path: Path) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    folder = find_run("constant@capitals", tmp_path / "runs").folder
    (folder / "manifest.json").write_text("{")
    assert invoked(tmp_path, "runs", "rm", str(folder), "--yes").exit_code == 0
    assert not folder.exists()


@pytest.mark.parametrize("lost", [[], ["sessions.jsonl"]], ids=["with its log", "without a log"])
def test_what_is_advised_of_a_run_without_manifest_and_record_is_what_removes_it(
    lost: list[str], tmp_path: Path
) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    folder = find_run("constant@capitals", tmp_path / "runs").folder
    for name in ("manifest.json", "run.json", *lost):
        (folder / name).unlink()
    refused = invoked(tmp_path, "score", folder.name)
    removed = invoked(tmp_path, "runs", "rm", folder.name, "--yes")
    if not lost:
        assert f"pinpoint runs rm {folder}" in refused.stderr
        assert (removed.exit_code, folder.exists()) == (0, False)
        return
    for told in (refused, removed):
        assert (told.exit_code, "runs rm" in told.stderr) == (2, False)
        assert f"or remove '{folder}' yourself" in told.stderr
    assert "remove it yourself" in invoked(tmp_path, "runs", "rm", str(folder), "--yes").stderr


@pytest.mark.parametrize("left", [["started.json", "run.json"], ["sessions.jsonl", ".lock", "run.json.tmp"]])
def test_a_run_that_is_being_made_is_not_taken_for_a_damaged_one(tmp_path: Path, left: list[str]) -> None:
    folder = tmp_path / "capitals" / "constant" / ("0" * 16)
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).write_text("{}")
    assert list(finished_folders(tmp_path)) == []


def test_a_run_that_is_replaced_at_this_moment_is_waited_for(tmp_path: Path) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    folder = find_run("constant@capitals", tmp_path / "runs").folder
    (folder / "fresh").mkdir()
    (folder / "manifest.json").rename(folder / "fresh" / "manifest.json")
    lock = os.open(folder / ".lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)

    def put_in_place() -> None:
        (folder / "fresh" / "manifest.json").rename(folder / "manifest.json")
        os.close(lock)

    threading.Timer(0.2, put_in_place).start()
    for words in (["runs", "list"], ["runs", "verify", "--all"]):
        seen = invoked(tmp_path, *words)
        assert (seen.exit_code, "damaged:" in seen.stderr) == (0, False)


@pytest.mark.parametrize(
    ("damage", "how"),
    [
        (lambda lines: [lines[0], lines[1].replace('"order": 1', '"order": 9')], f"{CHANGED} 2"),
        (lambda lines: [lines[0][:50], lines[1]], f"{CHANGED} 1"),
        (lambda lines: [lines[1]], f"{CHANGED} 1"),  # an end of what was not begun
        (lambda lines: [], "empty"),
        (lambda lines: [], "missing"),
    ],
    ids=["a number", "torn", "a line gone", "emptied", "gone"],
)
def test_a_log_that_is_not_as_it_was_written_is_told_by_verify_and_not_gone_by(
    damage: Callable[[list[str]], list[str]], how: str, tmp_path: Path
) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    assert invoked(tmp_path, *RUN[:-1], "longitude=9").exit_code == 0
    folders = {run.folder for run in iter_runs(tmp_path / "runs")}
    first = next(folder for folder in folders if finishing_order(folder) == 1)
    log = first / "sessions.jsonl"
    assert invoked(tmp_path, "runs", "verify", "--all").exit_code == 0
    lines = damage(log.read_text().splitlines())
    log.unlink()
    if how != "missing":
        log.write_text("".join(f"{line}\n" for line in lines))
    told = invoked(tmp_path, "runs", "verify", "--all")
    assert (told.exit_code, f"{how}: {log}" in told.stdout) == (1, True)
    if how != f"{CHANGED} 1":
        refused = invoked(tmp_path, "score", "constant@capitals@latest")
        assert (refused.exit_code, "is not known" in refused.stderr) == (2, True)


@pytest.mark.parametrize("kept", [False, True], ids=["swapped", "appended"])
@pytest.mark.parametrize("victim", [1, 2])
def test_the_log_of_another_run_decides_not_which_is_the_newest(
    victim: int, kept: bool, tmp_path: Path
) -> None:
    for longitude in range(3):
        assert invoked(tmp_path, *RUN[:-1], f"longitude={longitude}").exit_code == 0
    folders = {finishing_order(run.folder): run.folder for run in iter_runs(tmp_path / "runs")}
    log = folders[victim] / "sessions.jsonl"
    own = log.read_text() if kept else ""
    log.write_text(own + (folders[3] / log.name).read_text())
    told = invoked(tmp_path, "runs", "verify", "--all")
    line = len(own.splitlines()) + 1
    assert (told.exit_code, f"{CHANGED} {line}: {log}" in told.stdout) == (1, True)
    refused = invoked(tmp_path, "score", "constant@capitals@latest")
    assert (refused.exit_code, "is not known" in refused.stderr) == (2, True)
    assert f"{log.parent}" in refused.stderr


def test_a_log_of_before_and_that_of_a_renamed_run_are_taken(tmp_path: Path) -> None:
    assert invoked(tmp_path, *RUN).exit_code == 0
    assert invoked(tmp_path, *RUN[:-1], "longitude=9").exit_code == 0
    first, last = sorted((run.folder for run in iter_runs(tmp_path / "runs")), key=finishing_order)
    lines = [json.loads(line) for line in (first / "sessions.jsonl").read_text().splitlines()]
    for line in lines:
        del line["sha256"]
        line["sha256"] = hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()
    (first / "sessions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    renamed = last.rename(last.with_name("mine"))
    assert [finishing_order(folder) for folder in (first, renamed)] == [1, 2]
    assert invoked(tmp_path, "runs", "verify", "--all").exit_code == 0


def test_a_run_in_the_folder_of_another_is_damaged(tmp_path: Path) -> None:
    for latitude in ("0", "50"):
        run = ["run", "constant", "capitals", "--set", f"latitude={latitude}", "--set", "longitude=0"]
        assert invoked(tmp_path, *run).exit_code == 0
    first, second = sorted((tmp_path / "runs" / "capitals" / "constant").iterdir())
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    result = invoked(tmp_path, "runs", "verify", "--all")
    assert result.exit_code != 0
    assert result.output.count("of another artifact") == 2
    assert invoked(tmp_path, "runs", "list").output.count("damaged") >= 2
    first.rename(tmp_path / "copy")  # under a name of its own it is what it was
    assert invoked(tmp_path, "score", str(tmp_path / "copy")).exit_code == 0
