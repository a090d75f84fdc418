"""Splits against md5 sums worked out by hand, the spelling trap, and who must not be in B and C."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint_datasets.mini_earth import splits as mini_earth
from pinpoint_harness.errors import DataError
from pinpoint_methods.common.splits import md5_number
from pinpoint_methods.pinpoint.config import CONFIGS
from pinpoint_methods.pinpoint.splits import (
    LEFT_OUT,
    A,
    B,
    C,
    cell_names,
    leave_out_look_alikes,
    leave_out_near_a,
    leave_out_people,
    leave_out_places,
    spelled,
    split_photos,
    split_store,
    split_streetview,
)

FULL, MINI = CONFIGS["full"], CONFIGS["mini"]


def bucket(text: str, size: int) -> int:
    """By Python's own arithmetic on the printed digest."""
    return (
        sum(
            int(digit, 16) * pow(16, 31 - place, size)
            for place, digit in enumerate(hashlib.md5(text.encode()).hexdigest())
        )
        % size
    )


def test_md5_buckets_are_those_of_the_command_line() -> None:
    # printf 00_12_3456789.jpg | md5sum, read as hexadecimal by bc: ... % 100
    known = {
        "00_12_3456789.jpg": 81,  # 6686a7da115eb115d4e8b50435cd36cd
        "00/12/3456789.jpg": 62,  # e92be2e19a17791be4bf2a17f4b01802
        "3456789": 16,  # b2130cc690a15a0ed214904cfa7460d0
        "78841376@N00": 47,  # 17002319cac90f05761024f75e4f32bf
    }
    for text, of_hundred in known.items():
        assert bucket(text, 100) == md5_number(text) % 100 == of_hundred


def test_photos_fall_by_name_and_then_by_author() -> None:
    names = [f"{n % 256:02x}_{n // 256:02x}_{n}.jpg" for n in range(3000)]
    authors = [f"{n % 40}@N00" for n in range(3000)]
    labels = split_photos(names, authors, FULL)
    for name, author, label in zip(names, authors, labels, strict=True):
        expected = A if bucket(name, 100) < 99 else C if bucket(author, 10) == 0 else B
        assert label == expected
    assert {A, B, C} == set(labels.tolist())


def test_another_spelling_of_a_photo_falls_elsewhere_and_is_written_alike_first() -> None:
    names = [f"{n % 256:02x}/{n // 256:02x}/{n}.jpg" for n in range(2000)]
    as_hashed = [name.replace("/", "_") for name in names]
    authors = ["7@N00"] * 2000
    slashed = split_photos(names, authors, replace(FULL, photos_spelling="verbatim"))
    right = split_photos(as_hashed, authors, FULL)
    assert (slashed != right).any()  # the trap is real
    np.testing.assert_array_equal(split_photos(names, authors, FULL), right)
    with pytest.raises(DataError, match="another spelling"):
        spelled(["3456789.jpg"], FULL.photos_spelling)
    with pytest.raises(DataError, match="aa_bb_id"):
        spelled(["3456789"], FULL.photos_spelling)


def test_a_photo_without_author_is_in_a_or_nowhere() -> None:
    names = [f"{n % 256:02x}_{n // 256:02x}_{n}.jpg" for n in range(1000)]
    labels = split_photos(names, [None] * 1000, FULL)
    assert set(labels.tolist()) == {A, LEFT_OUT}


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 60)), min_size=1, max_size=80))
def test_no_creator_of_c_stands_in_a_or_b(rows: list[tuple[int, int]]) -> None:
    names, creators = [str(name) for name, _ in rows], [str(creator) for _, creator in rows]
    labels = split_streetview(names, creators, MINI)
    by_label = {
        label: {c for c, found in zip(creators, labels, strict=True) if found == label} for label in (A, B, C)
    }
    assert not by_label[C] & (by_label[A] | by_label[B])


def test_mini_divides_the_world_as_it_was_drawn() -> None:
    photos = mini_earth.photo_names(1, "photos", 1500)
    people = mini_earth.photographer_names(np.arange(1500) // 7)
    streets = mini_earth.streetview_names(1, "streetview", 1500)
    creators = mini_earth.creator_names(np.arange(1500) // 9)
    expected = mini_earth.split_photos(photos, people)
    assert [
        "ABC"[label] for label in split_photos(photos.tolist(), people.tolist(), MINI)
    ] == expected.tolist()
    expected = mini_earth.split_streetview(streets, creators)
    assert [
        "ABC"[label] for label in split_streetview(streets.tolist(), creators.tolist(), MINI)
    ] == expected.tolist()


@dataclass
class Store:
    """What is asked of a feature store here."""

    table: pa.Table
    matrix: Any = None
    dataset: str = "toy"
    places: Any = None

    def coordinates(self) -> Any:
        return self.places

    def __len__(self) -> int:
        return len(self.table)


def test_names_are_joined_to_the_store_by_id() -> None:
    ids = [str(n) for n in range(400)]
    truth = pd.DataFrame({"id": ids, "image": [f"ab_cd_{n}.jpg" for n in ids]}).sample(frac=1, random_state=1)
    store = Store(pa.table({"id": ids, "author": ["5@N00"] * 400}))
    labels = split_store(store, truth, "photos", FULL)  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        labels, split_photos([f"ab_cd_{n}.jpg" for n in ids], ["5@N00"] * 400, FULL)
    )
    with pytest.raises(DataError, match="does not"):
        split_store(store, truth.iloc[:100], "photos", FULL)  # type: ignore[arg-type]


def test_photographers_and_look_alikes_of_a_benchmark_leave_b_and_c() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(6, 32)).astype(np.float16)
    test = random.normal(size=(2, 32)).astype(np.float16)
    test[1] = 3 * matrix[4]  # the same photo, brighter
    store: Any = Store(pa.table({"id": list("abcdef"), "author": ["x", "y", "x", None, "z", "y"]}), matrix)
    benchmark: Any = Store(pa.table({"id": ["1", "2"], "author": ["x", None]}), test)
    labels = np.array([A, B, C, B, C, B], dtype=np.uint8)
    # Row 0 is by x, too, but in A: it stays. Two unknown authors are not the same person.
    assert leave_out_people(labels, store, benchmark) == 1
    assert labels.tolist() == [A, B, LEFT_OUT, B, C, B]
    assert leave_out_look_alikes(labels, store, benchmark, 0.95, "cpu") == 1
    assert labels.tolist() == [A, B, LEFT_OUT, B, LEFT_OUT, B]


KM = 1 / 111.195
"""A kilometre in degrees of latitude."""


def test_what_has_a_row_of_a_within_the_radius_leaves_b_and_c() -> None:
    places = np.array([[50.0, 180.0], [50 + 0.98 * KM, 180.0], [50 - 1.02 * KM, 180.0], [50.0, -179.999]])
    store: Any = Store(pa.table({"id": list("abcd")}), places=places)
    labels = np.array([A, B, C, B], dtype=np.uint8)
    assert leave_out_near_a(labels, store, 1.0) == 2  # the last lies 70 m away, beyond the antimeridian
    assert labels.tolist() == [A, LEFT_OUT, C, LEFT_OUT]
    for everyone in (A, B):  # with nobody to leave, or nobody to be near
        labels = np.full(4, everyone, dtype=np.uint8)
        assert leave_out_near_a(labels, store, 1.0) == 0


def test_street_view_near_a_benchmark_leaves_b_and_c_by_its_place() -> None:
    places = np.array([[10.0, 20.0], [10.0, 20.0], [10 + 2 * KM, 20.0]])
    store: Any = Store(pa.table({"id": list("abc")}), places=places)
    benchmark: Any = Store(
        pa.table({"id": ["1", "2"]}), places=np.array([[10 + 0.5 * KM, 20.0], [np.nan, np.nan]])
    )
    labels = np.array([A, B, C], dtype=np.uint8)
    assert leave_out_places(labels, store, benchmark, 1.0) == 1
    assert labels.tolist() == [A, LEFT_OUT, C]


def test_cells_are_about_as_wide_as_high_wherever_they_lie() -> None:
    random = np.random.default_rng(0)
    near = random.uniform([-89.9, -180], [89.9, 180], (3000, 2))
    for edge in (5.0, 300.0):
        cells = cell_names(near, edge)
        again = cell_names(near + np.array([0.0, 360.0]), edge)
        assert cells == again  # however a longitude is written
    groups: dict[str, list[np.ndarray]] = {}
    for place in random.uniform([59, 10], [61, 14], (20_000, 2)):
        groups.setdefault(cell_names(place[None], 20.0)[0], []).append(place)
    full = [np.array(group) for group in groups.values() if len(group) > 80]
    assert len(full) > 50
    spans = np.array([np.ptp(group, axis=0) * [1, np.cos(np.radians(60))] / KM for group in full])
    assert (spans < 21).all()
    assert (spans.mean(axis=0) > 18).all()
    assert len(set(cell_names(np.array([[90.0, 0.0], [90.0, 179.0]]), 20.0))) == 1


def test_street_view_is_held_out_by_whole_cells() -> None:
    random = np.random.default_rng(1)
    places = random.uniform([40, 0], [50, 15], (6000, 2))
    config = replace(FULL, streetview_cell_km=50.0, streetview_b_percent=20, streetview_c_one_in=4)
    creators = [None if n % 3 == 0 else str(n) for n in range(6000)]
    ids = [f"{n}" for n in range(6000)]
    truth = pd.DataFrame({"id": ids, "image": ids})
    store: Any = Store(pa.table({"id": ids, "author": creators}), places=places)
    labels = split_store(store, truth, "streetview", config)
    known = np.array([creator is not None for creator in creators])
    by_cell: dict[str, set[int]] = {}
    for cell, label in zip(cell_names(places, 50.0), np.where(known, labels, A), strict=True):
        by_cell.setdefault(cell, set()).add(label)
    for cell, found in by_cell.items():
        number = bucket(cell, 100 * 4)
        expected = B if number % 100 < 20 else C if number // 100 == 0 else A
        assert found <= {expected, A}
    assert set(labels[~known].tolist()) == {A, LEFT_OUT}
    shares = [(labels[known] == label).mean() for label in (A, B, C)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.08)
