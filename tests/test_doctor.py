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
