"""What the doctor measures: whether equal rows stay equal in products."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pinpoint_harness import doctor
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
    report = doctor.examine(load_registry(), tmp_path)
    assert torch.get_num_threads() == threads
    lines = report.facts["equal rows"]
    assert len(lines) == 2 * len({1, threads})
    assert all("equal at multiples of 16 up to 256: NO; not at" in line for line in lines)
    said = [problem for problem in report.problems if "in products of 32 rows" in problem]
    assert len(said) == len(lines)
    assert "OMP_NUM_THREADS=1" in said[0]


def test_a_machine_that_keeps_it_is_none(tmp_path: Any) -> None:
    assert not [text for text in doctor.examine(load_registry(), tmp_path).problems if "in products" in text]
