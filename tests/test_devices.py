"""Which device `auto` means among several processes, which torch will do, and products in whole float32."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from pinpoint_harness import devices
from pinpoint_harness.devices import (
    OLDEST_TORCH_ON_CUDA,
    check_products,
    default_device,
    own_gpu,
    usable_cores,
)
from pinpoint_harness.errors import UsageError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "SLURM_LOCALID", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize("variable", ["LOCAL_RANK", "SLURM_LOCALID"])
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_of_a_machine_gets_its_own_gpu(
    variable: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_device(device) == "cuda"
    monkeypatch.setenv(variable, "3")
    assert default_device(device) == "cuda:3"
    assert default_device("cuda:1") == "cuda:1"
    assert default_device("cpu") == "cpu"


def test_torchrun_within_srun_counts_and_a_single_visible_gpu_is_the_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_LOCALID", "0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert own_gpu(4) == ":2"
    assert own_gpu(1) == ":0"
    with pytest.raises(UsageError, match=r"process 2 of this machine has no GPU[\s\S]*at most 2 processes"):
        own_gpu(2)


def test_a_torch_whose_products_cannot_give_float32_is_refused_on_cuda() -> None:
    check_products(torch.ops.aten.mm.overloads(), torch.__version__)  # the one that is installed can
    with pytest.raises(UsageError, match=rf"torch {OLDEST_TORCH_ON_CUDA} or newer[\s\S]*torch 2\.7\.1"):
        check_products(["default", "out"], "2.7.1")


def test_processes_of_a_machine_share_the_cores_they_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert usable_cores() == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert usable_cores() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert usable_cores() == 1


@pytest.mark.parametrize("way", ["old", "new"])
def test_whole_float32_holds_within_and_gives_back_what_the_program_had_set(way: str) -> None:
    """In a process of its own: torch refuses to forget in which way it was set."""
    program = f"""
import torch
from pinpoint_harness.devices import whole_float32
matmul = torch.backends.cuda.matmul
if {way == "old"}:
    torch.set_float32_matmul_precision("medium")
else:
    matmul.fp32_precision = "tf32"
coarse = matmul.fp32_precision
with whole_float32():
    assert matmul.fp32_precision == "ieee", matmul.fp32_precision
assert matmul.fp32_precision == coarse == "tf32", matmul.fp32_precision
if {way == "old"}:
    assert torch.get_float32_matmul_precision() == "medium"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(("given", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_command_lets_threads_sleep_that_wait_unless_the_user_says_otherwise(
    given: str | None, kept: str
) -> None:
    """In a process of its own: what it leaves its environment as, before torch was loaded and read it."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    program = """
import atexit, os, sys
from pinpoint_harness.cli.main import main
atexit.register(lambda: sys.stderr.write(f"{os.environ['OMP_WAIT_POLICY']} {'torch' in sys.modules}"))
sys.argv[1:] = ["--version"]
main()
"""
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert told.stderr.decode().endswith(f"{kept} False")


@pytest.mark.parametrize(
    ("device", "features", "dtype"),
    [
        ("cuda:1", (), "bfloat16"),
        ("cpu", ("avx512_f", "avx512_bf16"), "float32"),
        ("cpu", ("avx512_bf16", "amx_bf16"), "bfloat16"),
    ],
)
def test_towers_are_trained_in_bf16_where_there_are_matrix_units_for_it(
    device: str, features: tuple[str, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cpu_features", lambda: frozenset(features))
    assert devices.training_context(device).dtype == dtype
    assert devices.training_context(device, "float32").dtype == "float32"
