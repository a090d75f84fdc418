"""Which photos of a dataset are run, and what of that stands in the key of an artifact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint_harness.artifacts import Selection, Subset
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.photo_ids import rows_sha256, truth_hash


def truth(count: int = 10) -> pd.DataFrame:
    rows = np.arange(count)
    return pd.DataFrame(
        {
            "id": [f"p{row}" for row in rows],
            "image": [f"p{row}.jpg" for row in rows],
            "latitude": rows * 1.0,
            "longitude": -rows * 1.0,
            "author": ["ann" if row % 2 else None for row in rows],
            "source": "photos",
        }
    )


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        (None, [f"p{n}" for n in range(10)]),
        (Subset(limit=3), ["p0", "p1", "p2"]),
        (Subset(ids=["p7.jpg", "p2"]), ["p2", "p7"]),
        (Subset(limit=1, ids=["p7", "p2"]), ["p2"]),
        (Subset(limit=99), [f"p{n}" for n in range(10)]),
    ],
)
def test_a_selection_keeps_the_order_of_the_truth(subset: Subset | None, expected: Sequence[str]) -> None:
    selection = Selection.of(truth(), subset)
    assert selection.truth["id"].tolist() == expected
    assert selection.truth.index.tolist() == list(range(len(expected)))
    pd.testing.assert_frame_equal(selection.full, truth())


def test_a_listed_id_that_is_not_in_the_dataset_is_an_error() -> None:
    with pytest.raises(DataError, match=r"1 of 2 listed ids[\s\S]*'p99'"):
        Selection.of(truth(), Subset(ids=["p1", "p99"]))


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(UsageError, match="no photo is left"):
        Selection.of(truth(), Subset(ids=[]))


def test_the_spec_names_the_dataset_and_the_chosen_photos() -> None:
    whole = Selection.of(truth()).spec()
    assert set(whole) == {"dataset_hash", "dataset_rows", "authors_sha256", "sources_sha256", "subset"}
    assert whole["dataset_hash"] == truth_hash(truth())
    assert whole["subset"] is None
    first = Selection.of(truth(), Subset(limit=2)).spec()
    assert (first["dataset_hash"], first["dataset_rows"]) == (whole["dataset_hash"], 10)
    ids = rows_sha256(["p0", "p1"])
    assert first["subset"] == {"rows": 2, "ids_sha256": ids, "limit": 2}
    assert first["authors_sha256"] == rows_sha256(["p1"], ["ann"])
    listed = Selection.of(truth(), Subset(ids=["p1", "p0"])).record()
    assert listed == {"rows": 2, "ids_sha256": ids}


@given(order=st.permutations(range(6)), limit=st.none() | st.integers(1, 6))
def test_the_order_of_the_chosen_rows_is_not_in_the_spec(order: list[int], limit: int | None) -> None:
    selection = Selection.of(truth(6).iloc[order], Subset(limit))
    by_id = selection.by_id()
    assert by_id.truth["id"].tolist() == sorted(selection.truth["id"])
    assert by_id.spec() == selection.spec()
