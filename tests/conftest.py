"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from pinpoint_harness.devices import sleep_while_waiting
from pinpoint_harness.home import HOME_VARIABLE, OLD_VARIABLES

sleep_while_waiting()  # several workers share the cores

# Tests raise KeyboardInterrupt in place of the user's, which is not believed in a job in the background,
# whose shell has SIGINT ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("search", deadline=None)
# The same examples everywhere and for as long as they take, so that a red suite is the change's fault;
# `search` draws others.
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# Tables are as wide as the terminal, of which workers of xdist have one of 80 columns and others none.
os.environ["COLUMNS"] = "100"

if TYPE_CHECKING:
    from tests.support.pinpoint_world import World


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of small real files, or a skip that says how to provide it."""
    folder = os.environ.get("PINPOINT_REAL_DATA")
    if not folder:
        pytest.skip("set PINPOINT_REAL_DATA to the folder of real files to run this test")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"PINPOINT_REAL_DATA names {folder}, which is not a folder")
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root of the test's own, below which runs, stores, models and audits lie; no data of this machine."""
    for name in ("PINPOINT_DATA", *OLD_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def any_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of a few rows, for tests of how tiles are cut, resumed and shared: as if a block were one row."""
    monkeypatch.setattr("pinpoint_harness.batching.ROW_BLOCK", 1)


@pytest.fixture(scope="session")
def pinpoint_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Photos and street view of a small world, and Pinpoint trained on them."""
    from tests.support.pinpoint_world import World

    made = World(tmp_path_factory.mktemp("world"))
    made.train()
    return made
