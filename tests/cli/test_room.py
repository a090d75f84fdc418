"""Where there is no room a command ends: OpenBLAS would ask for memory for ever, a thread be waited for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_LOADED = """
import resource, sys
from pathlib import Path
import numpy
from pinpoint_harness.cli import main
main.cli.get_command(None, "runs")
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 55 * 2**20,) * 2)
def load(**_):
    import scipy.linalg
main.cli.callback = load
sys.argv[1:] = ["runs", "list"]
main.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux's")
def test_scipy_without_room_ends_the_command_in_words() -> None:
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED], env=one_thread, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr[-500:]
    assert "the memory of this machine" in ended.stderr


_THREAD = """
import resource, sys, threading
from pathlib import Path
import numpy
from pinpoint_harness.cli import main
main.cli.get_command(None, "runs")
resource.setrlimit(resource.RLIMIT_AS, (2**40,) * 2)
def begin(**_):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 10 * 2**20,) * 2)
    threading.Thread(target=print).start()
main.cli.callback = begin
sys.argv[1:] = ["runs", "list"]
main.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux's")
def test_a_thread_without_room_ends_the_command_in_words() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _THREAD], capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 2, ended.stderr[-500:]
    assert "the memory of this machine" in ended.stderr
