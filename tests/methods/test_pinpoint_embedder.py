"""Training: whose turn it is, which rows, exact resume, a clear stop, and two processes like one."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.training import killed_after, watched_steps

from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.geo import unit_xyz
from pinpoint_harness.search import FreeMemory, place
from pinpoint_harness.training import Checkpoints, Processes, StageContext
from pinpoint_harness.types import Context
from pinpoint_methods.common.training import Curve, Optimization, Shuffle, curve_csv
from pinpoint_methods.pinpoint.config import CONFIGS, PinpointConfig
from pinpoint_methods.pinpoint.embedder import (
    BatchDropout,
    EmbedderTrainer,
    InputNoise,
    TrainingRows,
    deviations,
    load_towers,
    make_embedder,
    turns,
)
from pinpoint_methods.pinpoint.towers import Block, Embedders

SMALL = replace(
    CONFIGS["mini"],
    hidden=24,
    embedding=16,
    frequencies=32,
    highest_frequency=16.0,
    location_hidden=24,
    batch=32,
    passes=4.8,  # 24 steps over both of DATA
    validations=4,
    input_noise=0.0,
    weight_decay=0.05,
    weight_average=0.0,
    keep="last",
)


def world(rows: Mapping[str, int], seed: int = 0) -> dict[str, TrainingRows]:
    """Features that are a fixed random map of the place, so that there is something to learn."""
    generator = np.random.default_rng(7)
    towards = generator.normal(size=(3, 12))
    random = np.random.default_rng(seed)
    data = {}
    for source, count in rows.items():
        xyz = unit_xyz(random.uniform([-60, -180], [60, 180], (count, 2)))
        features = np.sin(3 * xyz @ towards) + 0.1 * random.normal(size=(count, 12))
        data[source] = TrainingRows(
            torch.from_numpy(features.astype(np.float16)), torch.from_numpy(xyz.astype(np.float32))
        )
    return data


DATA = world({"photos": 100, "streetview": 60})


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Such small matrices are slower on several threads, far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_t_b_and_frequencies_move_at_rates_of_their_own_and_t_stays_within_its_bound() -> None:
    def moved(**changes: float) -> tuple[float, ...]:
        trainer = EmbedderTrainer(replace(SMALL, **changes), DATA, 1)
        towers, start = trainer.model, trainer.model.location.log_frequency.clone()
        directions = towers.location.direction.clone()
        trainer.run()
        assert torch.equal(towers.location.direction, directions)
        away = (towers.location.log_frequency - start).abs().max()
        return towers.log_temperature["photos"].exp().item(), towers.bias_of["photos"].item(), away.item()

    still = moved(scale_learning_rate=0.0, frequency_learning_rate=0.0)
    assert still == (pytest.approx(10.0), -10.0, 0.0)
    temperature, bias, away = moved(scale_learning_rate=0.5, frequency_learning_rate=0.01)
    assert abs(temperature - 10) > 0.5
    assert abs(bias + 10) > 1
    assert 0.01 < away < 0.5
    assert moved(scale_learning_rate=0.5, highest_temperature=10.5, bias=-30.0)[0] <= 10.5 + 1e-4


def test_a_source_alone_is_seen_as_often_as_among_both() -> None:
    both = EmbedderTrainer(SMALL, DATA, 1)
    passes = dict.fromkeys(DATA, 0.0)
    for name, _ in both.order:
        passes[name] += SMALL.batch / len(DATA[name])
    for name, rows in DATA.items():
        alone = EmbedderTrainer(SMALL, {name: rows}, 1)
        # Within the two batches by which rounding and taking turns may differ.
        assert len(alone.order) * SMALL.batch / len(rows) == pytest.approx(
            passes[name], abs=2 * SMALL.batch / len(rows)
        )
        assert alone.steps < 0.75 * both.steps


def test_learning_lowers_the_loss() -> None:
    curve = EmbedderTrainer(replace(SMALL, passes=12.0), DATA, 1).run()
    assert curve[-1]["loss_photos"] < 0.7 * curve[0]["loss_photos"]
    assert curve[-1]["temperature_photos"] != pytest.approx(10.0, abs=1e-4)
    assert curve[-1]["bias_streetview"] != -10.0


@pytest.mark.parametrize("free", [FreeMemory(1 << 40, 0), FreeMemory(9, 1 << 40), FreeMemory(9, 9)])
def test_wherever_features_lie_the_same_is_learned(free: FreeMemory) -> None:
    """On the device, in memory with the next batch fetched ahead, and mapped."""
    config = replace(SMALL, passes=4.0, input_noise=0.1)
    elsewhere = {
        name: TrainingRows(place(rows.features, "cpu", name, free=free), rows.xyz)
        for name, rows in DATA.items()
    }
    trained = []
    for data in (DATA, elsewhere):
        trainer = EmbedderTrainer(config, data, 1)
        trainer.run()
        trained.append(trainer.named)
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 10_000), min_size=1), st.integers(1, 300))
@settings(deadline=None)
def test_turns_stay_within_one_batch_of_each_source_s_share(sizes: dict[str, int], steps: int) -> None:
    order = list(turns(sizes, steps))
    taken = Counter(source for source, _ in order)
    for source, size in sizes.items():
        assert abs(taken[source] - steps * size / sum(sizes.values())) <= len(sizes) - 1 + 1e-9
        assert [number for name, number in order if name == source] == list(range(taken[source]))


def test_an_epoch_shows_each_row_at_most_once_and_the_next_another_order() -> None:
    shuffle = Shuffle(rows=10, batch=3, seed=1, device="cpu")
    epochs = [torch.cat([shuffle.batch(3 * epoch + n) for n in range(3)]).tolist() for epoch in range(4)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert epochs[0] != epochs[1]
    again = Shuffle(rows=10, batch=3, seed=1, device="cpu")
    assert again.batch(7).tolist() == epochs[2][3:6]  # whatever was asked for before
    with pytest.raises(UsageError, match="batch=5"):
        Shuffle(rows=10, batch=11, seed=1, device="cpu")


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    optimization = Optimization(steps=100, learning_rate=1.0, weight_decay=0.0, warmup_share=0.1)
    rates = [optimization.learning_rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5, abs=0.01)
    assert 0 < rates[99] < 0.001


def test_the_optimizer_moves_at_the_rate_of_the_step_also_after_a_restore() -> None:
    trainer = EmbedderTrainer(SMALL, DATA, 1)
    for step in range(5):
        rate = trainer.optimization.learning_rate_at(step)
        groups = [group["lr"] for group in trainer.optimizer.param_groups]
        assert groups[:2] == [rate, rate]
        own = [SMALL.scale_learning_rate, SMALL.scale_learning_rate, SMALL.frequency_learning_rate]
        assert groups[2:] == pytest.approx([rate * highest / SMALL.learning_rate for highest in own])
        trainer.step(step)
    again = EmbedderTrainer(SMALL, DATA, 1)
    again.restore(5, trainer.state())
    assert again.optimizer.param_groups[0]["lr"] == trainer.optimization.learning_rate_at(5)


def stage_context(folder: Path, processes: Processes | None = None) -> StageContext:
    artifact = Artifact.begin(folder, "pinpoint-embedder", {"of": "the tests"})

    def truth(name: str) -> pd.DataFrame:
        raise AssertionError("no table is needed")

    return StageContext(artifact, {}, Context(), truth, processes or Processes())


def finish(folder: Path, config: PinpointConfig = SMALL) -> dict[str, bytes]:
    work = stage_context(folder)
    with work.artifact.work():
        files = make_embedder(work, config, 3, DATA, None)
    work.artifact.finish(files)
    return {path.name: path.read_bytes() for path in sorted(work.artifact.folder.iterdir()) if path.is_file()}


def test_a_killed_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = finish(tmp_path / "whole")
    for checkpoints, first, last in ((1, 0, 5), (2, 6, 17)):  # looks are at steps 6, 12, 18 and 24
        with killed_after(checkpoints) as steps:
            finish(tmp_path / "killed")
        assert steps == list(range(first, last + 1))
    with watched_steps() as steps:
        assert finish(tmp_path / "killed") == whole
    assert steps == list(range(18, 24))
    assert {"model.safetensors", "config.json", "curve.csv", "curve.png", "manifest.json"} < {*whole}


def test_trained_towers_are_read_back_as_they_were(tmp_path: Path) -> None:
    trainer = EmbedderTrainer(SMALL, DATA, 3)
    trainer.run()
    finish(tmp_path)
    (folder,) = tmp_path.iterdir()
    towers = load_towers(folder, "cpu")["photos"]
    for name, weight in towers.state_dict().items():
        torch.testing.assert_close(weight, trainer.model.state_dict()[name], rtol=0, atol=0)
    record = json.loads((folder / "config.json").read_bytes())
    assert record["rows"] == {"photos": 100, "streetview": 60}


def test_noise_has_the_stated_share_of_each_number_s_deviation_and_is_new_each_step() -> None:
    random = np.random.default_rng(0)
    features = torch.from_numpy(random.normal(50, [0.0, 0.2, 3.0], (70_000, 3)).astype(np.float16))
    expected = features.double().std(dim=0, correction=0)
    torch.testing.assert_close(deviations(features).double(), expected, rtol=1e-5, atol=1e-6)
    noise = InputNoise(features, 0.15, seed=3)
    first, second = noise.of(7, 20_000), noise.of(8, 20_000)
    torch.testing.assert_close(first.double().std(dim=0), 0.15 * expected, rtol=0.02, atol=1e-6)
    torch.testing.assert_close(first.mean(dim=0), torch.zeros(3), rtol=0, atol=0.01)
    assert not torch.equal(first, second)
    assert torch.equal(noise.of(7, 20_000), first)  # whatever was drawn before
    assert torch.equal(InputNoise(features, 0.15, seed=3).of(8, 20_000), second)


def test_the_tower_sees_features_with_noise_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers = {noise: EmbedderTrainer(replace(SMALL, input_noise=noise), DATA, 1) for noise in (0.0, 0.5)}
    seen: dict[float, torch.Tensor] = {}
    for noise, trainer in trainers.items():
        tower = trainer.model.image.forward

        def watched(features: torch.Tensor, source: str, noise: float = noise, tower: Any = tower) -> Any:
            seen[noise] = features.clone()
            return tower(features, source)

        monkeypatch.setattr(trainer.model.image, "forward", watched)
        trainer.step(0)
    source, number = trainers[0.5].order[0]
    rows = trainers[0.5].shuffles[source].batch(number)
    clean = DATA[source].features[rows].float()
    assert torch.equal(seen[0.0], clean)
    assert torch.equal(seen[0.5], clean + trainers[0.5].noise[source].of(0, len(rows)))


def test_dropout_takes_a_share_of_the_inner_numbers_in_training_only() -> None:
    drop = BatchDropout(0.25, seed=3, device="cpu")
    ones = torch.ones(400, 50)

    def taken(step: int, rows: int = 400, first: int = 0) -> torch.Tensor:
        drop.begin(step, rows, first)
        return drop(ones[: rows - first])

    first = taken(0)
    assert first.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert (first == 0).double().mean() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(taken(0), first)  # whatever was drawn before
    assert not torch.equal(taken(1), first)
    assert torch.equal(taken(0, first=100), first[100:])  # the rows of a process are those of the batch
    plain, dropped = (EmbedderTrainer(replace(SMALL, dropout=share), DATA, 1) for share in (0.0, 0.5))
    losses = [[trainer.batch_loss(0)[1].item() for trainer in (plain, dropped)]]
    for trainer in (plain, dropped):
        for block in trainer.model.image.modules():
            if isinstance(block, Block):
                torch.nn.init.normal_(block.down.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    losses.append([trainer.batch_loss(0)[1].item() for trainer in (plain, dropped)])
    for trainer in (plain, dropped):
        trainer.model.eval()
    losses.append([trainer.batch_loss(0)[1].item() for trainer in (plain, dropped)])
    assert [one == other for one, other in losses] == [True, False, True]  # blocks begin as the identity


def test_the_average_of_the_weights_is_what_is_measured_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = EmbedderTrainer(replace(SMALL, weight_average=0.5), DATA, 3)
    name = "image.head.out.weight"
    expected, followed = trainer.named[name].detach().clone(), 0
    measured: list[torch.Tensor] = []
    step, measure = trainer.step, trainer.measure

    def watched_step(number: int) -> None:
        nonlocal expected, followed
        step(number)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * trainer.named[name].detach()
        followed += 1

    def watched_measure(number: int) -> Any:
        measured.append(trainer.named[name].detach().clone())
        torch.testing.assert_close(measured[-1], expected)
        return measure(number)

    monkeypatch.setattr(trainer, "step", watched_step)
    monkeypatch.setattr(trainer, "measure", watched_measure)
    trainer.run()
    assert (followed, len(measured)) == (24, 4)
    assert torch.equal(trainer.kept()[name], measured[-1])
    assert not torch.equal(trainer.named[name], measured[-1])  # training went on from the weights
    assert not torch.equal(EmbedderTrainer(SMALL, DATA, 3).kept()[name], measured[-1])


class Scripted:
    """A validation that finds the second of four points the best."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def look(self, model: torch.nn.Module) -> dict[str, float]:
        self.seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        worth = (0.2, 0.6, 0.5, 0.6)[len(self.seen) - 1]
        # The raw feature is the same at all points, and no reason to keep one of them.
        return {"photos_image_1km": worth, "photos_gps_1km": worth, "photos_raw_1km": 1 - worth}


@pytest.mark.parametrize(("keep", "point"), [("last", 3), ("best", 1)])
def test_the_weights_of_the_last_point_or_of_the_best_on_c_are_kept(keep: str, point: int) -> None:
    validation = Scripted()
    config = replace(SMALL, keep=keep, weight_average=0.9)
    trainer = EmbedderTrainer(config, DATA, 3, validation=cast("Any", validation))
    trainer.run()
    kept = trainer.kept()
    assert kept.keys() == trainer.named.keys()
    for name, value in validation.seen[point].items():
        assert torch.equal(kept[name], value), name


class BySource(Scripted):
    """Photos are placed best at the second point, street view at the third."""

    def look(self, model: torch.nn.Module) -> dict[str, float]:
        photos = super().look(model)
        street = (0.1, 0.2, 0.7, 0.3)[len(self.seen) - 1]
        channels = ("image", "gps", "raw")
        return photos | {f"streetview_{channel}_1km": street for channel in channels}


def test_each_source_can_have_the_weights_that_place_most_of_its_own(tmp_path: Path) -> None:
    """Also after a kill between the two, and as they are read back."""
    config = replace(SMALL, keep="best-of-source", weight_average=0.9)
    validation = BySource()
    with killed_after(2):
        made_with(tmp_path, config, validation)
    files = made_with(tmp_path, config, validation)
    assert json.loads(files["config.json"])["kept"] == {"photos": 12, "streetview": 18}
    (folder,) = tmp_path.iterdir()
    towers = load_towers(folder, "cpu")
    for source, point in (("photos", 1), ("streetview", 2)):
        for name, value in validation.seen[point].items():
            assert torch.equal(towers[source].state_dict()[name], value), name
    both = Embedders([towers])
    xyz = DATA["photos"].xyz
    for source in towers:
        assert torch.equal(both.location(xyz, source), towers[source].location(xyz))
    assert not torch.equal(both.location(xyz, "photos"), both.location(xyz, "streetview"))


def made_with(folder: Path, config: PinpointConfig, validation: Scripted) -> dict[str, bytes]:
    work = stage_context(folder)
    with work.artifact.work():
        files = make_embedder(work, config, 3, DATA, cast("Any", validation))
    work.artifact.finish(files)
    return {path.name: path.read_bytes() for path in work.artifact.folder.iterdir() if path.is_file()}


def test_a_training_with_all_that_is_drawn_that_is_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    noisy = replace(SMALL, input_noise=0.3, dropout=0.2, weight_average=0.9)
    whole, plain = finish(tmp_path / "whole", noisy), finish(tmp_path / "plain")
    with killed_after(2):
        finish(tmp_path / "killed", noisy)
    assert finish(tmp_path / "killed", noisy) == whole
    assert whole["model.safetensors"] != plain["model.safetensors"]


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**DATA}
    features = DATA["photos"].features.clone()
    config = replace(SMALL, learning_rate=0.0)
    work = stage_context(tmp_path)
    with work.artifact.work():
        trainer = EmbedderTrainer(config, broken, 3)
        step = trainer.step

        def poisoned(number: int) -> None:
            if number == 14:
                features[:] = torch.nan
                trainer.data = {**broken, "photos": TrainingRows(features, DATA["photos"].xyz)}
            step(number)

        monkeypatch.setattr(trainer, "step", poisoned)
        with pytest.raises(DataError, match=r"not finite at step 1[45] of 24") as stopped:
            trainer.run(Checkpoints(work))
        last = Checkpoints(work).last()
    assert last is not None
    assert last[0] == 12
    assert "of step 12" in str(stopped.value)
    assert "learning_rate" in str(stopped.value)
    assert all(torch.isfinite(tensor).all() for tensor in last[1].values())


def test_the_curve_is_a_table_with_a_line_for_each_look() -> None:
    curve: Curve = EmbedderTrainer(SMALL, DATA, 1).run()
    lines = curve_csv(curve).decode().splitlines()
    assert lines[0].startswith("step,samples,learning_rate,loss_photos")
    assert [line.split(",")[0] for line in lines[1:]] == ["6", "12", "18", "24"]


def test_bf16_learns_the_same_to_its_precision() -> None:
    exact, rounded = (
        EmbedderTrainer(SMALL, DATA, 1, dtype=dtype).run()[0] for dtype in ("float32", "bfloat16")
    )
    assert math.isclose(exact["loss_photos"], rounded["loss_photos"], rel_tol=0.03)


_TWO = """
import sys, json, torch
from dataclasses import replace
sys.path[:0] = json.loads(sys.argv[2])
from test_pinpoint_embedder import DATA, SMALL
from pinpoint_harness.processes import joined_processes
from pinpoint_methods.pinpoint.embedder import EmbedderTrainer
torch.set_num_threads(1)
with joined_processes("cpu") as processes:
    trainer = EmbedderTrainer(replace(SMALL, input_noise=0.2, dropout=0.2), DATA, 3, processes=processes)
    curve = trainer.run()
    if processes.first:
        from safetensors.torch import save_file
        save_file(trainer.state(), sys.argv[1])
        print(json.dumps(curve))
"""


def test_two_processes_with_gathered_negatives_are_like_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    alone = EmbedderTrainer(replace(SMALL, input_noise=0.2, dropout=0.2), DATA, 3)
    curve = alone.run()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = json.dumps([str(Path(__file__).parents[2]), str(Path(__file__).parent), *sys.path])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _TWO, str(tmp_path / "state"), paths],
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    shared = json.loads(printed[0])
    for one, two in zip(curve, shared, strict=True):
        for name in one:
            assert two[name] == pytest.approx(one[name], rel=1e-5), name
    weights = load_file(tmp_path / "state")
    for name, value in alone.state().items():
        if name.startswith("model/"):
            torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)
