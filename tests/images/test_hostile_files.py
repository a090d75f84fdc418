"""Two thousand damaged files, each made from its number alone, so that a failing one can be made again."""

from __future__ import annotations

import faulthandler
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from tests.support.hostile import MEMBERS, damaged_container, damaged_image, member_name, sound_images

from pinpoint_harness.errors import DataError
from pinpoint_harness.images import Failure, ImageStore
from pinpoint_harness.images.decode import FORMATS, decode
from pinpoint_harness.images.positions import Position, position_of

IMAGE_CASES = 1600
CONTAINER_CASES = 400
GROUP = 40
SLOWEST_CASE_S = 5.0
HANGING_S = 120.0
MAX_PIXELS = 4_000_000


@pytest.fixture(autouse=True)
def _a_hang_ends_with_a_traceback() -> Iterator[None]:
    assert sys.__stderr__ is not None
    faulthandler.dump_traceback_later(HANGING_S, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("first", range(0, IMAGE_CASES, GROUP))
def test_a_damaged_picture_is_decoded_or_has_a_reason(first: int, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(first, first + GROUP):
        name, data = damaged_image(number)
        started = time.process_time()
        result = decode(data, max_pixels=MAX_PIXELS)
        position = position_of(data)
        assert time.process_time() - started < SLOWEST_CASE_S, (number, name)
        if isinstance(result, Failure):
            assert result.kind == "unreadable", (number, name)
            assert 0 < len(result.reason) <= 160, (number, name)
            assert result.reason.isprintable(), (number, name)
        else:
            assert result.dtype == np.uint8, (number, name)
            assert result.shape[2] == 3, (number, name)
            assert 0 < result.shape[0] * result.shape[1] <= MAX_PIXELS, (number, name)
            assert result.flags.c_contiguous, (number, name)
            assert result.flags.writeable, (number, name)
        if isinstance(position, Position):
            assert abs(position.latitude) <= 90, (number, name)
            assert abs(position.longitude) <= 180, (number, name)
        else:
            assert position.reason, (number, name)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize("first", range(0, CONTAINER_CASES, GROUP))
def test_a_damaged_container_gives_its_pictures_or_says_why_not(first: int, tmp_path: Path) -> None:
    for number in range(first, first + GROUP):
        name, files = damaged_container(number)
        folder = tmp_path / str(number)
        folder.mkdir()
        for file_name, data in files.items():
            (folder / file_name).write_bytes(data)
        started = time.process_time()
        _read_everything(folder, f"{number} {name}")
        assert time.process_time() - started < SLOWEST_CASE_S, (number, name)


def test_most_damage_is_noticed_and_some_leaves_a_picture() -> None:
    # Were every case refused, or none, the two thousand cases would test nothing.
    results = [decode(damaged_image(number)[1], max_pixels=MAX_PIXELS) for number in range(0, IMAGE_CASES, 8)]
    refused = sum(isinstance(result, Failure) for result in results)
    assert 0.3 < refused / len(results) < 0.9


def test_a_case_is_the_same_whenever_it_is_made() -> None:
    assert damaged_image(17) == damaged_image(17)
    assert damaged_container(17) == damaged_container(17)
    assert len({damaged_image(number)[1] for number in range(200)}) > 190


def _read_everything(folder: Path, case: str) -> None:
    wanted = pd.Series([member_name(index) for index in range(MEMBERS)])
    with ImageStore.open([folder]) as store:
        try:
            refs = store.find(wanted)
        except DataError:
            return  # damage to a name made two alike, which is an error by design
        for ref in refs:
            data = store.read(int(ref))
            if isinstance(data, Failure):
                assert data.status in ("missing", f"unreadable: {data.reason}"), case
            else:
                assert isinstance(decode(data), np.ndarray | Failure), case
        for entry in store.skipped:
            assert entry.reason, case
            assert entry.count > 0, case
            assert "\n" not in str(entry), case


def test_every_accepted_format_is_among_the_damaged_ones() -> None:
    formats = {PIL.Image.open(io.BytesIO(data)).format for data in sound_images().values()}
    assert formats == set(FORMATS)
