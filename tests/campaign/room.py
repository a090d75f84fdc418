"""Trials of too little room: a disk, its inodes or memory run out; with more, the same command goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from tests.campaign.jobs import contents, jobs, outcome, prepared, whole
from tests.campaign.processes import at_work
from tests.campaign.trials import WORKS_S, HangError, Kind

_SPARE_MEMORY = 96 << 20
_PLENTY = "size=256m,nr_inodes=100k"
_ROOMS = ("memory", "disk", "inodes")
_LIMITS_GIB = (1, 2, 4)
_MAIN = "from pinpoint_harness.cli.main import main; main()"


def room(number: int, folder: Path) -> str:
    """A command whose disk, inodes or memory end at a random point of it."""
    draw = np.random.default_rng([10, number])
    name = _name(number)
    rooms = _ROOMS if may_mount() else _ROOMS[:1]
    lacking = rooms[number // len(jobs()) % len(rooms)]
    expected, _ = whole(name)
    home, said = folder / "home", folder / "said.txt"
    home.mkdir()
    with _disk(home, lacking != "memory") as limit:
        shutil.copytree(prepared(name), home, dirs_exist_ok=True)
        needed, files = sum(map(len, expected.values())), len(expected)
        if lacking == "disk":
            limit(f"size={_used(home) + int(draw.random() * 1.5 * needed) + 4096}")
        if lacking == "inodes":
            limit(f"nr_inodes={_entries(home) + int(draw.random() * 2 * files) + 1}")
        memory = int(draw.random() ** 3 * _SPARE_MEMORY) if lacking == "memory" else None
        before = contents(home)
        with at_work(jobs()[name].arguments(home), said, memory=memory) as child:
            code = child.code
        words = said.read_text(errors="replace")
        _is_told(code, words, f"{name}, {lacking}")
        kept = contents(home)
        lost = [path for path in before if path not in kept and ".tmp" not in path]
        assert not lost, f"{name}, {lacking}: {lost} are gone"
        limit(_PLENTY)
        assert outcome(name, home) == expected, f"{name}, {lacking}: {words}"
    return "answered" if code == 0 else "refused"


def limits(number: int, folder: Path) -> str:
    """A command of its own, as from a shell, under `ulimit -v` of 1, 2 or 4 GiB."""
    name = _name(number)
    gib = _LIMITS_GIB[number // len(jobs()) % len(_LIMITS_GIB)]
    expected, _ = whole(name)
    home = folder / "home"
    shutil.copytree(prepared(name), home)
    limited = f'ulimit -v {gib << 20}; ulimit -S -t {WORKS_S}; exec "$@"'
    words = ["sh", "-c", limited, "sh", sys.executable, "-c", _MAIN, *jobs()[name].arguments(home)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode == -signal.SIGXCPU:
        raise HangError
    _is_told(ended.returncode, ended.stderr, f"{name}, {gib} GiB")
    assert outcome(name, home) == expected, f"{name}, {gib} GiB: {ended.stderr}"
    return "answered" if ended.returncode == 0 else "refused"


def _name(number: int) -> str:
    return list(jobs())[number % len(jobs())]


def _is_told(code: int, words: str, where: str) -> None:
    assert code in (0, 2), f"{where}: ends with {code}: {words}"
    if code:
        assert "error:" in words, f"{where}: {words}"
        assert "Traceback" not in words, f"{where}: {words}"


@cache
def may_mount() -> bool:
    """Whether this process may make disks; where it may not, memory alone runs out."""
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True)
        if made.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return made.returncode == 0


@contextlib.contextmanager
def _disk(place: Path, is_needed: bool) -> Iterator[Callable[[str], None]]:
    """A disk of its own in a folder, and what sets its size."""

    def limit(options: str) -> None:
        if is_needed:
            subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)

    if is_needed:
        subprocess.run(["mount", "-t", "tmpfs", "-o", _PLENTY, "tmpfs", str(place)], check=True)
    try:
        yield limit
    finally:
        if is_needed:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _used(place: Path) -> int:
    state = os.statvfs(place)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _entries(place: Path) -> int:
    state = os.statvfs(place)
    return state.f_files - state.f_ffree


TRIALS = {
    "little room": Kind(room, lambda number: whole(_name(number))),
    "limits of memory": Kind(limits, lambda number: whole(_name(number))),
}
