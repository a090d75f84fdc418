"""Runs killed where it hurts, resumed to the same bytes."""

from __future__ import annotations

import io
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from tests.support.processes import in_child

from pinpoint_harness.artifacts import damaged_files
from pinpoint_harness.batching import WorkerShare
from pinpoint_harness.errors import PluginError
from pinpoint_harness.plugins import Entry, Origin
from pinpoint_harness.running import Run
from pinpoint_harness.running.request import Request
from pinpoint_harness.running.runner import UnfinishedRunError, run
from pinpoint_harness.types import Context, DatasetInfo, MethodInfo, Predictions, Queries

pytestmark = pytest.mark.usefixtures("any_number_of_rows")

FILES = ("predictions.parquet", "run.json", "manifest.json")


@dataclass(frozen=True)
class Numbered:
    """As many photos as asked for."""

    count: int
    info: ClassVar[DatasetInfo] = DatasetInfo(title="Numbered", source="", licence="")

    def truth(self) -> pd.DataFrame:
        number = np.arange(self.count)
        return pd.DataFrame(
            {
                "id": [f"n{n}" for n in number],
                "image": [f"n{n}.jpg" for n in number],
                "latitude": number % 90 * 1.0,
                "longitude": number % 180 * 1.0,
                "author": [f"a{n % 7}" for n in number],
                "source": "photos",
            }
        )


@dataclass(frozen=True)
class SlowParams:
    """None that count; the delay is not part of the answer."""


class Slow:
    Params: ClassVar[type[Any]] = SlowParams
    answer_version: ClassVar[int] = 1
    input = "none"
    seconds: ClassVar[float] = 0.0

    def __init__(self, params: SlowParams, context: Context) -> None:
        pass

    def predict(self, queries: Queries) -> Predictions:
        time.sleep(self.seconds)
        spread = (queries.key % np.uint64(90)).astype(float)
        return Predictions(np.stack([spread, spread], axis=1), notes=("a note",))


def request(out: Path, count: int, **changes: Any) -> Request:
    module = sys.modules[__name__]
    entry = Entry(
        "method", "slow", f"{module.__name__}:Slow", MethodInfo(title="Slow"), Origin("test", "explicit")
    )
    dataset: Any = Numbered(count)
    return Request(entry, SlowParams(), "numbered", dataset, "slow", out, tile=4, **changes)


def contents(done: Run) -> dict[str, bytes]:
    return {name: (done.folder / name).read_bytes() for name in FILES}


class KilledStream:
    """A file that dies halfway through a write."""

    def __init__(self, stream: IO[Any], step: Callable[[], bool]) -> None:
        self._stream = stream
        self._step = step

    def write(self, data: bytes) -> int:
        if self._step():
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._stream.write(data)

    def __enter__(self) -> KilledStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def arm(fatal: int) -> None:
    """Count every write, fsync and rename of this process and die at number `fatal`."""
    count = 0

    def step() -> bool:
        nonlocal count
        count += 1
        return count == fatal

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            if step():
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return wrapped

    original = Path.open

    def opened(self: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        stream = original(self, mode, *arguments, **named)
        return KilledStream(stream, step) if set(mode) & set("wa") else stream

    os.fsync = dying(os.fsync)  # type: ignore[assignment]
    Path.replace = dying(Path.replace)  # type: ignore[method-assign,assignment]
    Path.open = opened  # type: ignore[method-assign,assignment]


def test_a_run_killed_at_any_write_flush_or_rename_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    whole = contents(run(request(tmp_path / "whole", 10)))
    killed = 0
    while True:
        out = tmp_path / str(killed)

        def work(out: Path = out, fatal: int = killed + 1) -> None:
            arm(fatal)
            run(request(out, 10))

        ended = in_child(work)
        resumed = run(request(out, 10))
        assert contents(resumed) == whole, f"killed at operation {killed + 1}"
        left = sorted(path.name for path in resumed.folder.iterdir())
        assert left == [".lock", "manifest.json", "predictions.parquet", "run.json", "sessions.jsonl"]
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        killed += 1
    # Three shards with notes, two final files, start marker, manifest and log: each written,
    # flushed, renamed, its folder flushed.
    assert killed > 40


def test_ten_real_kills_of_a_slowed_run_of_fifty_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(run(request(tmp_path / "whole", 200)))
    monkeypatch.setattr(Slow, "seconds", 0.01)
    generator = random.Random(5)
    landed_between = 0
    for attempt in range(10):
        out = tmp_path / f"killed-{attempt}"
        wanted = generator.randrange(1, 45)
        child = os.fork()
        if child == 0:
            try:
                run(request(out, 200))
            finally:
                os._exit(0)
        deadline = time.monotonic() + 30
        while len(list(out.glob("*/*/*/shards/*.parquet"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        finished = len(list(out.glob("*/*/*/shards/*.parquet")))
        landed_between += 0 < finished < 50
        monkeypatch.setattr(Slow, "seconds", 0.0)
        assert contents(run(request(out, 200))) == whole
        monkeypatch.setattr(Slow, "seconds", 0.01)
    assert landed_between >= 8


def test_a_file_system_that_ends_mid_file_leaves_whole_files_only(tmp_path: Path) -> None:
    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # a shard fits, the final file does not
        run(request(tmp_path, 200))

    assert in_child(_quiet(work)) == 1
    (folder,) = tmp_path.glob("*/*/*")
    assert not (folder / "manifest.json").exists()
    assert not list(folder.rglob("*.tmp"))
    assert contents(run(request(tmp_path, 200)))


def test_two_processes_at_one_run_end_in_the_same_bytes(tmp_path: Path) -> None:
    whole = contents(run(request(tmp_path / "whole", 40)))
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(request(tmp_path / "both", 40))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0]
    assert contents(run(request(tmp_path / "both", 40))) == whole


def test_shares_of_a_run_meet_in_the_same_bytes(tmp_path: Path) -> None:
    whole = contents(run(request(tmp_path / "whole", 42)))
    for index in (2, 0):
        with pytest.raises(UnfinishedRunError, match="of 42 photos are answered"):
            run(request(tmp_path / "shared", 42, share=WorkerShare(index, 3)))
    assert contents(run(request(tmp_path / "shared", 42, share=WorkerShare(1, 3)))) == whole


def test_starting_fresh_survives_a_kill_as_well(tmp_path: Path) -> None:
    first = run(request(tmp_path, 10))
    before = contents(first)
    endings = set()
    for fatal in range(1, 90, 7):

        def work(fatal: int = fatal) -> None:
            arm(fatal)
            run(request(tmp_path, 10, fresh=True))

        endings.add(in_child(work))
        again = run(request(tmp_path, 10))
        assert contents(again) == before, f"killed at operation {fatal}"
        assert damaged_files(first.folder) == {}
    assert endings == {-signal.SIGKILL, 0}


def test_a_fresh_run_that_fails_leaves_the_one_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(request(tmp_path, 10))
    before = contents(first)
    monkeypatch.setattr(Slow, "predict", lambda self, queries: sys.exit(0))
    with pytest.raises(PluginError, match=r"failed on a tile[\s\S]*it calls sys.exit\(0\)"):
        run(request(tmp_path, 10, fresh=True))
    assert contents(run(request(tmp_path, 10))) == before


def test_a_changed_shard_is_answered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(run(request(tmp_path / "whole", 10)))
    predict, calls = Slow.predict, iter(range(10))

    def some(self: Slow, queries: Queries) -> Predictions:
        if next(calls) == 2:
            raise RuntimeError("enough")
        return predict(self, queries)

    monkeypatch.setattr(Slow, "predict", some)
    with pytest.raises(PluginError, match="enough"):
        run(request(tmp_path / "torn", 10))
    monkeypatch.setattr(Slow, "predict", predict)
    shards = sorted((tmp_path / "torn").rglob("*.parquet"))
    assert len(shards) == 2
    shards[0].write_bytes(shards[1].read_bytes())
    assert contents(run(request(tmp_path / "torn", 10))) == whole


def _quiet(work: Callable[[], object]) -> Callable[[], object]:
    def silenced() -> object:
        sys.stderr = io.StringIO()
        return work()

    return silenced
