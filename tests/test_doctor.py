"""What the doctor measures: whether equal rows stay equal in products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pinpoint_harness import doctor
from pinpoint_harness.home import find_home
from pinpoint_harness.plugins import load_registry


def test_numbers_are_said_in_ranges() -> None:
    assert doctor._ranges([5, 6, 7, 9, 11, 12]) == "5-7, 9, 11-12"
    assert doctor._ranges([]) == ""


def test_a_machine_that_breaks_the_promise_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    linear = torch.nn.functional.linear

    def uneven(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        product = linear(x, weight)
        if len(x) in (6, 32):
            product[-1] += 1
        return product

    monkeypatch.setattr(torch.nn.functional, "linear", uneven)
    threads = torch.get_num_threads()
    report = doctor.examine(load_registry(), find_home(tmp_path))
    assert torch.get_num_threads() == threads
    lines = report.facts["equal rows"]
    assert len(lines) == 2 * len({1, threads})
    assert all("equal at multiples of 16 up to 256: NO; not at" in line for line in lines)
    said = [problem for problem in report.problems if "in products of 32 rows" in problem]
    assert len(said) == len(lines)
    assert "OMP_NUM_THREADS=1" in said[0]


def test_a_machine_that_keeps_it_is_none(tmp_path: Any) -> None:
    problems = doctor.examine(load_registry(), find_home(tmp_path)).problems
    assert not [text for text in problems if "in products" in text]


def test_every_location_is_named_with_its_size_and_what_sets_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "runs").mkdir()
    (home / "runs" / "answers").write_bytes(b"x" * 1500)
    monkeypatch.setenv("PINPOINT_STORES", str(home / "elsewhere"))
    monkeypatch.setenv("PINPOINT_MINI_EARTH", str(home / "worlds"))
    monkeypatch.setattr(doctor, "MOST_FILES", 1)
    (home / "data").mkdir()
    for name in "ab":
        (home / "data" / name).write_bytes(b"y" * 1000)
    monkeypatch.setenv("PINPOINT_DATA", str(home / "data"))
    lines = [doctor._location(*place) for place in doctor._places(find_home())]
    assert lines[0].startswith(f"home: {home}, more than ")
    assert lines[0].endswith(" ($PINPOINT_HOME)")
    assert f"runs: {home / 'runs'}, 1.50kB (in home)" in lines
    assert f"stores: {home / 'elsewhere'}, not there yet ($PINPOINT_STORES)" in lines
    assert f"worlds of mini-Earth: {home / 'worlds'}, not there yet ($PINPOINT_MINI_EARTH, " in "".join(lines)
    assert f"data: {home / 'data'}, more than 1.00kB ($PINPOINT_DATA)" in lines
    first_words = "home runs stores models audits reports worlds checksums weights data"
    assert [line.partition(":")[0].split()[0] for line in lines] == first_words.split()


def test_looking_makes_no_folder_and_a_home_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    report = doctor.Report()
    assert doctor._writable(tmp_path / "deep" / "home", report).endswith("writable")
    assert list(tmp_path.iterdir()) == []
    assert not report.problems
    (tmp_path / "file").write_text("")
    assert doctor._writable(tmp_path / "file", report).endswith("cannot be written")
    assert len(report.problems) == 1


MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
server:/home /shared/my\\040home nfs4 rw,vers=4.2,local_lock=none 0 0
server:/old /shared/old nfs rw,vers=3,nolock,local_lock=all 0 0
"""


def test_locks_that_hold_on_one_machine_alone_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.mount_of(Path("/shared/my home/runs"), MOUNTS) == (
        "nfs4",
        {"rw", "vers=4.2", "local_lock=none"},
    )
    assert doctor.mount_of(Path("/elsewhere"), MOUNTS)[0] == "ext4"
    table = tmp_path / "mounts"
    monkeypatch.setattr(doctor, "MOUNTS", table)
    for options, said in (("rw,local_lock=none", ""), ("rw,nolock,local_lock=all", "local_lock=all, nolock")):
        table.write_text(f"server:/ {tmp_path} nfs {options} 0 0\n")
        report = doctor.Report()
        assert said in doctor._locks(tmp_path / "home", report)
        assert [said in problem for problem in report.problems] == [True] * bool(said)


def test_a_file_system_whose_locks_keep_nobody_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.holds_locks(tmp_path)
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    report = doctor.Report()
    assert doctor._locks(tmp_path, report) == "they keep nobody out"
    assert "one process at a time" in report.problems[0]
