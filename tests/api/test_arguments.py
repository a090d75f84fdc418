"""Arguments from Python that are none: refused by name, whatever function they are given to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pinpoint_harness import api
from pinpoint_harness.errors import DataError, HarnessError, UsageError

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return api.load_dataset("capitals")


@pytest.fixture(scope="module")
def answers(truth: pd.DataFrame) -> pd.DataFrame:
    return truth[["id", "latitude", "longitude"]].head(50)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"radii_km": "200"}, r"radii_km of score\(\) must be a list of numbers\n.*found: str: '200'"),
        ({"radii_km": ["200"]}, "radii_km of"),
        ({"radii_km": []}, "radii_km is empty"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"seed": 1.5}, "seed of"),
        ({"resamples": "many"}, "resamples of"),
        ({"protocol": ["wgs84-lt"]}, r"protocol of score\(\) must be a text"),
        ({"units": 5}, "units of"),
        ({"columns": ["id"]}, r"columns of score\(\) must be a dict of texts"),
    ],
)
def test_score_names_the_argument(
    named: dict[str, Any], words: str, answers: pd.DataFrame, truth: pd.DataFrame
) -> None:
    with pytest.raises(UsageError, match=words):
        api.score(answers, truth, allow_truth=True, **named)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((5,), "name of load_dataset"),
        (("capitals", 5), "data of load_dataset.* a text or a path"),
        (("table", 3.5), "data of"),
        (("table", b"x"), "data of"),
        (("table", "file.csv", ["a"]), "columns of"),
        (("table", "file.csv", {"latitude": 5}), "columns of"),
    ],
)
def test_load_dataset_names_the_argument(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        api.load_dataset(*given)


@pytest.mark.parametrize(
    ("call", "given", "named", "words"),
    [
        (api.table, ("capitals",), {"runs": "constant"}, "runs of table.. must be a list"),
        (api.table, ("capitals",), {"home": 5}, "home of"),
        (api.evaluate, ("constant", "capitals"), {"images": "folder"}, "images of .* a list of paths"),
        (api.evaluate, ("constant", "capitals"), {"parameters": [("latitude", 5)]}, "parameters of"),
        (api.compare, ("constant",), {}, "runs of compare"),
    ],
)
def test_so_do_the_others(call: Call, given: tuple[Any, ...], named: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call(*given, **named)


def test_numbers_of_numpy_and_any_collection_fit(answers: pd.DataFrame, truth: pd.DataFrame) -> None:
    radii, seed = np.array([25.0, 200.0]), np.int64(3)
    by_numpy = api.score(answers, truth, allow_truth=np.bool_(True), radii_km=radii, seed=seed)  # type: ignore[arg-type]
    plain = api.score(answers, truth, allow_truth=True, radii_km=(25, 200), seed=3)
    assert by_numpy == plain


def test_what_python_says_of_a_call_stays_what_it_is() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'radius'"):
        api.load_dataset("capitals", radius=5)  # type: ignore[call-arg]


def test_a_column_twice_and_a_truth_without_rows_are_refused(
    answers: pd.DataFrame, truth: pd.DataFrame
) -> None:
    def twice(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, frame[["latitude"]]], axis=1)

    cases: list[tuple[pd.DataFrame, pd.DataFrame, str]] = [
        (twice(answers), truth, "the answers: there is more than one column 'latitude'"),
        (answers, twice(truth), "the truth table: there is more than one column 'latitude'"),
        (answers, truth[:0], "the truth table has no rows"),
    ]
    for given, against, words in cases:
        with pytest.raises(DataError, match=words) as refused:
            api.score(given, against, allow_truth=True)
        assert isinstance(refused.value, HarnessError)
        assert refused.value.fix


def test_paths_of_any_kind_are_paths(tmp_path: Path) -> None:
    file = tmp_path / "truth.csv"
    file.write_text("id,latitude,longitude\na,1.5,2.5\n")
    assert len(api.load_dataset("table", file)) == len(api.load_dataset("table", str(file))) == 1
