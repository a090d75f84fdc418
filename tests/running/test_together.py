"""Two and three processes embed, train, run and audit together: the bytes of one, also after a kill."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.pinpoint_world import World, one_thread, settings_for
from tests.support.together import together

from pinpoint_harness import api
from pinpoint_harness.features import embed
from pinpoint_harness.running import inputs, runner
from pinpoint_harness.search import engine
from pinpoint_methods.common.training import Trainer

TILE = 16
SHORT = {"passes": 1.5, "reranker_epochs": 1, "validations": 2}
LOGS = {"sessions.jsonl", ".lock"}
GALLERIES = {"gallery": "toy/photos,toy/streetview", "backbone": "colours"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def alone(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes."""
    home = tmp_path_factory.mktemp("alone")
    with one_thread():
        work(world, home)
    return home


def train(world: World, home: Path, method: str = "pinpoint", **changes: object) -> None:
    entry = world.registry.method(method)
    parameters = {**settings_for(entry), **changes}
    parameters |= {name: value for name, value in SHORT.items() if name in parameters}
    api.train(method, parameters=parameters, home=home, device="cpu", registry=world.registry)


def run(world: World, home: Path, method: str, **parameters: object) -> None:
    api.evaluate(
        method,
        "toy/asked",
        parameters=parameters,
        home=home,
        device="cpu",
        tile=TILE,
        registry=world.registry,
    )


def work(world: World, home: Path) -> None:
    """Everything that several processes may share."""
    train(world, home)
    run(world, home, "pinpoint", **settings_for(world.registry.method("pinpoint"), **SHORT))
    run(world, home, "superglobal", **GALLERIES)
    run(world, home, "random-prior")
    api.audit(
        "toy/photos,toy/streetview", "toy/asked", backbone="colours", pixels=True, home=home, device="cpu",
        registry=world.registry,
    )  # fmt: skip


def made(home: Path, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    """All files below a home but logs."""
    files = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in sorted(files.items())
        if path.name not in LOGS and not name.startswith(but)
    }


@pytest.mark.parametrize("count", [2, 3])
def test_processes_that_share_all_work_give_the_bytes_of_one(
    world: World, alone: Path, tmp_path: Path, count: int
) -> None:
    # The towers of one, since those that several have trained differ in last digits.
    for stage in ("splits", "embedder"):
        shutil.copytree(alone / "models" / f"pinpoint-{stage}", tmp_path / "models" / f"pinpoint-{stage}")
    assert together(count, lambda: work(world, tmp_path)) == [0] * count
    one, several = made(alone), made(tmp_path)
    assert several.keys() == one.keys()
    assert [name for name in one if several[name] != one[name]] == []
    assert any(name.startswith("models/pinpoint-candidates/") for name in one)


def killed(rank: int, owner: object, name: str, calls: int, job: Callable[[], object]) -> Callable[[], None]:
    """The job, in which that process is killed when it calls a function for so many times."""

    def until_killed() -> None:
        original, left = getattr(owner, name), [calls]

        def counted(*given: object, **named: object) -> object:
            left[0] -= 1
            if int(os.environ["RANK"]) == rank and not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given, **named)

        setattr(owner, name, counted)
        job()

    return until_killed


@pytest.mark.parametrize(
    ("rank", "owner", "name", "calls"), [(0, runner, "_commit", 2), (1, engine, "run_search", 3)]
)
def test_a_run_whose_process_was_killed_goes_on_with_any_number(
    world: World,
    alone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rank: int,
    owner: object,
    name: str,
    calls: int,
) -> None:
    shutil.copytree(alone / "stores", tmp_path / "stores")
    monkeypatch.setattr(inputs.FeatureInput, "queries_at_once", TILE)  # one tile is stored before the next

    def job() -> None:
        run(world, tmp_path, "superglobal", **GALLERIES)

    codes = together(2, killed(rank, owner, name, calls, job))
    assert codes[rank] == -signal.SIGKILL
    assert codes[1 - rank] == 1
    assert list(tmp_path.rglob("shards/000000.parquet"))
    assert together(3, job) == [0] * 3
    whole = {
        name: data for name, data in made(alone).items() if name.startswith("runs/toy-asked/superglobal")
    }
    assert {name: data for name, data in made(tmp_path).items() if name.startswith("runs/")} == whole


def test_an_embedding_whose_process_was_killed_goes_on_with_any_number(
    world: World, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "SHARD_TILES", 1)  # so that each process has several shards

    def job() -> None:
        api.embed("toy/photos", "colours", home=tmp_path, device="cpu", registry=world.registry)

    assert together(2, killed(1, embed, "features_of", 3, job)) == [1, -signal.SIGKILL]
    assert 2 <= len(list(tmp_path.rglob("shards/*.npy"))) < 12
    assert together(3, job) == [0] * 3
    whole = {
        name: data for name, data in made(alone).items() if name.startswith("stores/toy-photos/colours/")
    }
    assert made(tmp_path) == whole


def test_a_training_whose_process_was_killed_goes_on_and_says_so_with_another_number(
    world: World, alone: Path, tmp_path: Path
) -> None:
    def job(home: Path) -> Callable[[], None]:
        return lambda: train(world, home, "pinpoint-top1-image")

    homes = {name: tmp_path / name for name in ("whole", "killed")}
    for home in homes.values():
        shutil.copytree(alone / "stores", home / "stores")
    assert together(2, job(homes["whole"])) == [0, 0]
    codes = together(2, killed(1, Trainer, "_sum_gradients", 8, job(homes["killed"])))
    assert codes == [1, -signal.SIGKILL]
    assert len(list(homes["killed"].rglob("shards/*.safetensors"))) == 1
    shutil.copytree(homes["killed"], tmp_path / "one")
    assert together(2, job(homes["killed"])) == [0, 0]
    assert made(homes["killed"]) == made(homes["whole"])
    with one_thread(), pytest.MonkeyPatch.context() as patched:
        said: list[str] = []
        patched.setattr(
            "pinpoint_harness.training.stages.log.warning", lambda *words: said.append(words[0] % words[1:])
        )
        job(tmp_path / "one")()
    assert len(said) == 1
    assert "begins anew with 1 process" in said[0]
    assert "was begun with 2" in said[0]
