"""What `tox -e bench -- --quick` says of ratios beside those committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from ratios import committed, compared  # noqa: E402 - found in the scripts' own folder


def test_a_ratio_more_than_15_percent_below_the_committed_one_is_a_regression() -> None:
    lines, worse = compared(
        {"a": 8.4, "b": 8.6, "c": 30.0, "new": 1.0}, {"a": 10, "b": 10, "c": 10, "gone": 3}
    )
    assert worse == ["a"]
    assert [line.split()[0] for line in lines if line.endswith("REGRESSION")] == ["a"]
    assert any(line.startswith("new") and "nothing committed" in line for line in lines)
    assert any(line.startswith("gone") and "not run" in line for line in lines)


def test_committed_ratios_are_of_benchmarks_that_state_them() -> None:
    processor, ratios = committed()
    assert processor
    assert len(ratios) > 20
    assert all(ratio > 0 for ratio in ratios.values())
    told = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run_all.py"), "--quick", "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert "no benchmark nothing; there are search, support, rerank" in told.stderr
