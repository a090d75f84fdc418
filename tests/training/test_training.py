"""Stages: made once, in order, found by key, refused when stale, and resumed from the last checkpoint."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from pinpoint_harness.artifacts import Artifact, Content, read_json
from pinpoint_harness.errors import ArtifactError, PluginError, UsageError
from pinpoint_harness.params import param, train_command
from pinpoint_harness.plugins import Entry, Origin
from pinpoint_harness.training import (
    Checkpoints,
    Stage,
    StageContext,
    StageMissingError,
    TrainRequest,
    open_stages,
    train,
)
from pinpoint_harness.training.stages import StageOutput
from pinpoint_harness.types import Context, MethodInfo


@dataclass(frozen=True)
class Params:
    depth: int = param(2, "of the first stage")
    width: int = param(3, "of the second")


class Staged:
    """Two stages that note when they are made, the second from the first."""

    Params: ClassVar[type[Any]] = Params
    made: ClassVar[list[str]] = []
    fails: ClassVar[bool] = False

    @classmethod
    def stages(cls, params: Any, context: Context) -> list[Stage]:
        def first(stage_context: StageContext) -> Mapping[str, Content]:
            cls.made.append("first")
            return {"depth.txt": str(params.depth).encode()}

        def second(stage_context: StageContext) -> Mapping[str, Content]:
            cls.made.append("second")
            if cls.fails:
                raise RuntimeError("power cut")
            depth = (stage_context.inputs["first"] / "depth.txt").read_text()
            return {"both.txt": f"{depth} {params.width} {len(stage_context.truth('any'))}".encode()}

        return [
            Stage("first", "toy-first", {"depth": params.depth}, first),
            Stage("second", "toy-second", {"width": params.width}, second, needs=("first",), together=True),
        ]


ENTRY: Entry[MethodInfo] = Entry(
    "method", "staged", f"{__name__}:Staged", MethodInfo(title="t"), Origin("test", "explicit")
)


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch) -> None:
    Staged.made.clear()
    monkeypatch.setattr(Staged, "fails", False)
    monkeypatch.setattr(Entry, "load", lambda self: Staged)


def request(root: Path, stage: str | None = None, fresh: bool = False, **changes: Any) -> TrainRequest:
    truth = pd.DataFrame({"id": ["a", "b"]})
    return TrainRequest(ENTRY, Params(**changes), Context(), root, lambda name: truth, stage, fresh)


def opened(root: Path, **changes: Any) -> dict[str, StageOutput]:
    return open_stages(Staged.stages(Params(**changes), Context()), root, Context())


def test_stages_are_made_in_order_each_from_those_before(tmp_path: Path) -> None:
    first, second = train(request(tmp_path))
    assert Staged.made == ["first", "second"]
    assert (second.folder / "both.txt").read_text() == "2 3 2"
    spec = read_json(second.folder / "manifest.json")["recipe"]
    assert spec["inputs"] == {"first": first.key}
    assert opened(tmp_path)["second"].key == second.key


def test_what_is_there_is_not_made_again_and_what_is_shared_is_shared(tmp_path: Path) -> None:
    train(request(tmp_path))
    train(request(tmp_path))
    train(request(tmp_path, width=9))
    assert Staged.made == ["first", "second", "second"]
    train(request(tmp_path, depth=5))
    assert Staged.made[3:] == ["first", "second"]


def test_training_stops_after_the_stage_asked_for(tmp_path: Path) -> None:
    assert [done.stage for done in train(request(tmp_path, stage="first"))] == ["first"]
    with pytest.raises(UsageError, match="no stage 'third'"):
        train(request(tmp_path, stage="third"))


def test_fresh_makes_the_named_stage_again_and_no_other(tmp_path: Path) -> None:
    train(request(tmp_path))
    train(request(tmp_path, stage="second", fresh=True))
    assert Staged.made == ["first", "second", "second"]


def test_a_failed_stage_is_not_taken_for_a_finished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Staged, "fails", True)
    with pytest.raises(PluginError, match=r"stage 'second' of method .*\n.*RuntimeError: power cut"):
        train(request(tmp_path))
    with pytest.raises(ArtifactError, match="stage 'second'"):
        opened(tmp_path)
    monkeypatch.setattr(Staged, "fails", False)
    assert [done.made for done in train(request(tmp_path))] == [False, True]


def test_a_stale_stage_is_refused_with_what_differs(tmp_path: Path) -> None:
    train(request(tmp_path))
    with pytest.raises(StageMissingError) as refused:
        opened(tmp_path, width=4)
    assert "width 3 instead of 4" in str(refused.value)
    train(request(tmp_path, depth=7, stage="first"))
    with pytest.raises(ArtifactError, match=r"inputs\.first"):
        opened(tmp_path, depth=7)  # only an old second stage, of another first one, is there


def test_of_two_alike_made_elsewhere_none_is_guessed(tmp_path: Path) -> None:
    for dtype in ("bfloat16", "float16"):
        train(
            TrainRequest(
                ENTRY, Params(), Context("cuda", dtype), tmp_path, lambda name: pd.DataFrame(), "first", True
            )
        )
    with pytest.raises(UsageError, match="none made as here"):
        opened(tmp_path)
    (first, *_) = train(
        TrainRequest(ENTRY, Params(), Context("cuda", "bfloat16"), tmp_path, lambda name: pd.DataFrame())
    )
    assert not first.made


def test_the_command_names_changed_parameters_only() -> None:
    assert train_command("staged", Params()) == "pinpoint train staged"
    assert train_command("staged", Params(depth=4)) == "pinpoint train staged --set depth=4"
    assert train_command("deep", Params(depth=4), {"depth": 4}) == "pinpoint train deep"
    assert train_command("deep", Params(), {"depth": 4}) == "pinpoint train deep --set depth=2"


def test_only_the_newest_checkpoint_is_kept_to_the_last_bit(tmp_path: Path) -> None:
    artifact = Artifact.begin(tmp_path, "toy", {"n": 1})
    stage_context = StageContext(artifact, {}, Context(), lambda name: pd.DataFrame())
    keep = Checkpoints(stage_context)
    with artifact.work():
        assert keep.last() is None
        value = torch.from_numpy(np.random.default_rng(0).normal(size=7))
        keep.save(5, {"a": torch.zeros(2)}, {"note": "old"})
        keep.save(9, {"a": value}, {"note": "new"})
        step, tensors, notes = keep.last() or (0, {}, {})
        assert (step, notes) == (9, {"note": "new"})
        assert torch.equal(tensors["a"], value)
        assert len(list((artifact.folder / "shards").glob("*.safetensors"))) == 1
        keep.path(9).write_bytes(b"torn")
        with pytest.raises(ArtifactError, match="cannot read the checkpoint"):
            keep.last()


_TOGETHER = """
import sys, json
sys.path[:0] = json.loads(sys.argv[2])
from pathlib import Path
import test_training as here
from pinpoint_harness.plugins.registry import Entry
Entry.load = lambda self: here.Staged
done = here.train(here.request(Path(sys.argv[1])))
print(json.dumps([here.Staged.made, [stage.key for stage in done]]))
"""


def test_two_processes_make_one_stage_together_and_the_first_makes_the_rest(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = json.dumps([str(Path(__file__).parent), *sys.path])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _TOGETHER, str(tmp_path), paths],
            env={**shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [made for made, _ in printed] == [["first", "second"], ["second"]]
    assert printed[0][1] == printed[1][1]
    spec = read_json(next((tmp_path / "toy-second").glob("*/manifest.json")))["recipe"]
    assert spec["made"]["processes"] == 2
    assert opened(tmp_path)["second"].key == printed[0][1][1]  # found by one process alone, too
