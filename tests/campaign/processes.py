"""Trials of whole processes: killed at any moment, and several at once on one folder."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
from tests.campaign.jobs import contents, jobs, outcome, prepared, whole
from tests.campaign.trials import WORKS_S, HangError, Kind

from pinpoint_harness.cli.main import cli
from pinpoint_harness.cli.room import look_for_room

STARTED_TOGETHER = ("run", "run on pictures", "embed", "import")
_NEW_PIDS = 0x20000000
"""CLONE_NEWPID, which Python names from 3.12 on."""


def kills(number: int, folder: Path) -> str:
    """Killed after a random time, a command that is given again leaves the same bytes and nothing else."""
    draw = np.random.default_rng([8, number])
    name = _killed(number)
    expected, seconds = whole(name)
    home = folder / "home"
    shutil.copytree(prepared(name), home)
    fatal = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT][int(draw.integers(4))]
    with at_work(jobs()[name].arguments(home)) as child:
        time.sleep(draw.random() * seconds)
        os.kill(child.number, fatal)
        code = child.code
        assert outcome(name, home) == expected, f"{name} after {fatal!r}"
    return "answered" if code == 0 else "refused"


def starts(number: int, folder: Path) -> str:
    """Four processes that begin the same at once, some of them afresh: each ends well, nothing is lost.

    Two of them have one number and one name of their host, as in containers that share a disk.
    """
    draw = np.random.default_rng([9, number])
    name = _started(number)
    expected, seconds = whole(name)
    home, said = folder / "home", folder / "said.txt"
    with contextlib.ExitStack() as stack:
        children = []
        for place in range(4):
            fresh = ["--fresh"] if draw.random() < 0.5 else []
            work = at_work([*jobs()[name].arguments(home), *fresh], said, is_twin=place < 2)
            children.append(stack.enter_context(work))
            time.sleep(draw.random() * seconds / 4)
        codes = [child.code for child in children]
    assert codes == [0, 0, 0, 0], f"{name}: {codes}: {said.read_text()}"
    assert contents(home) == expected, name
    return "answered"


def _killed(number: int) -> str:
    return list(jobs())[number % len(jobs())]


def _started(number: int) -> str:
    return STARTED_TOGETHER[number % len(STARTED_TOGETHER)]


# Children


@dataclass
class Child:
    """A process that was begun here."""

    number: int

    @cached_property
    def code(self) -> int:
        """How it ended, once it has: its exit code, or minus a signal."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        if code == -signal.SIGXCPU:
            raise HangError
        return code


@contextlib.contextmanager
def at_work(
    arguments: Sequence[str],
    said: Path = Path(os.devnull),
    *,
    is_twin: bool = False,
    memory: int | None = None,
) -> Iterator[Child]:
    """A child at work on a command line, which writes what it says into a file.

    It may take so many bytes of `memory` more than it has. When the block is left, the child and all that
    it began are ended.
    """
    number = os.fork()
    if not number:
        os.setpgid(0, 0)
        _end_as(lambda: _work(arguments, said, memory), is_twin)
    with contextlib.suppress(PermissionError):  # whoever of the two is first
        os.setpgid(number, number)
    child = Child(number)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)
        with contextlib.suppress(HangError):
            _ = child.code


def _work(arguments: Sequence[str], said: Path, memory: int | None) -> int:
    """Carry the command line out; its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CPU, (WORKS_S, 2 * WORKS_S))  # the first ends it by SIGXCPU
    with said.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        if memory is not None:
            _limit_memory(memory)
            look_for_room()
        try:
            cli.main(list(arguments), prog_name="pinpoint")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
    return 0


def _end_as(work: Callable[[], int], is_twin: bool) -> NoReturn:
    """End this process with the code of a piece of work, or with 1."""
    code = 1
    try:
        code = _as_twin(work) if is_twin else work()
    finally:
        os._exit(code)


def _as_twin(work: Callable[[], int]) -> int:
    """Work as process 1 of a PID namespace of its own; who may make none takes itself for process 7."""
    leave = getattr(ctypes.CDLL(None), "unshare", None)
    if leave is None or leave(_NEW_PIDS) != 0:
        os.getpid = lambda: 7
        return work()
    first = os.fork()
    if not first:
        _end_as(work, is_twin=False)
    return abs(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))


def _limit_memory(spare: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + spare
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


TRIALS = {
    "kills": Kind(kills, lambda number: whole(_killed(number))),
    "concurrent starts": Kind(starts, lambda number: whole(_started(number))),
}
