"""A run's file: schema, bytes, round trips; and the contract of an answer."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from geopy.distance import geodesic
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pinpoint_harness.errors import ArtifactError, PluginError
from pinpoint_harness.running import check_predictions
from pinpoint_harness.running import predictions as stored
from pinpoint_harness.types import Candidates, Predictions

NAN = float("nan")
PARIS = (48.8566, 2.3522)
LONDON = (51.5074, -0.1278)


def truth_of(n: int) -> pd.DataFrame:
    rows = np.arange(n)
    return pd.DataFrame(
        {
            "id": [f"photo {row}" for row in rows],
            "latitude": rows % 90.0,
            "longitude": -(rows % 180.0),
            "author": [None if row % 3 == 0 else f"author {row % 5}" for row in rows],
        }
    )


def one_row(coordinates: tuple[float, float], **more: Any) -> Predictions:
    return Predictions(np.array([coordinates]), **more)


def frame_of(truth: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    return stored.to_frame(stored.build(truth, predictions, stored.statuses(predictions)))


@st.composite
def answers(draw: st.DrawFn) -> Predictions:
    """Valid answers of any size, with holes, and candidates of ragged length."""
    n, k = draw(st.integers(0, 6)), draw(st.integers(0, 4))
    latitude = draw(hnp.arrays(np.float64, (n, k + 1), elements=st.floats(-90, 90)))
    longitude = draw(hnp.arrays(np.float64, (n, k + 1), elements=st.floats(-180, 180)))
    places = np.stack([latitude, longitude], axis=-1)
    answered = draw(hnp.arrays(np.bool_, n))
    kept = np.arange(k) < draw(hnp.arrays(np.int64, n, elements=st.integers(0, k)))[:, None]
    named = draw(st.booleans())
    candidates = Candidates(
        coordinates=np.where(kept[..., None], places[:, 1:], NAN),
        probability=np.where(kept, 1 / (k + 1), NAN) if draw(st.booleans()) else None,
        source=np.where(kept, "gallery", "") if named else None,
        photo_id=np.where(kept, "7.jpg", "") if named and draw(st.booleans()) else None,
        score=np.where(kept, places[:, 1:, 0], NAN) if draw(st.booleans()) else None,
        found_by=np.where(kept, "image 1, location 3", "") if draw(st.booleans()) else None,
    )
    return Predictions(
        coordinates=np.where(answered[:, None], places[:, 0], NAN),
        confidence=draw(hnp.arrays(np.float64, n, elements=st.floats(-9, 9) | st.just(NAN)))
        if draw(st.booleans())
        else None,
        candidates=candidates if draw(st.booleans()) else None,
        within=draw(statements(answered)) if draw(st.booleans()) else None,
    )


@st.composite
def statements(draw: st.DrawFn, answered: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities within five radii for some answers, NaN for the others."""
    shares = np.sort(draw(hnp.arrays(np.float64, (len(answered), 5), elements=st.floats(0, 1))), axis=1)
    stated = answered & draw(hnp.arrays(np.bool_, len(answered)))
    return np.where(stated[:, None], shares, NAN)


def test_the_schema_is_the_documented_one() -> None:
    candidate = "struct<latitude: double not null, longitude: double not null, probability: double, "
    assert [f"{field.name} {field.type}" for field in stored.SCHEMA] == [
        "id string",
        "latitude double",
        "longitude double",
        "predicted_latitude double",
        "predicted_longitude double",
        "error_km double",
        "confidence double",
        "status string",
        "author string",
        f"candidates list<element: {candidate}source: string, photo_id: string, score: double, "
        "found_by: string> not null>",
        "within list<element: double not null>",
        "cluster string",
    ]


def test_an_answer_stands_beside_its_truth_with_the_wgs84_distance() -> None:
    truth = pd.DataFrame({"id": ["a"], "latitude": [PARIS[0]], "longitude": [PARIS[1]], "author": ["x"]})
    row = frame_of(truth, one_row(LONDON, confidence=np.array([0.25]))).iloc[0]
    assert (row["predicted_latitude"], row["predicted_longitude"]) == LONDON
    assert row["error_km"] == pytest.approx(geodesic(PARIS, LONDON).km, abs=1e-9)
    assert (row["id"], row["author"], row["confidence"], row["status"]) == ("a", "x", 0.25, "ok")


def test_without_an_answer_coordinate_and_error_are_null_not_nan() -> None:
    table = stored.build(truth_of(1), one_row((NAN, NAN), confidence=np.array([NAN])), ["no prediction"])
    nulls = [
        *["predicted_latitude", "predicted_longitude", "error_km", "confidence", "author", "candidates"],
        *["within", "cluster"],
    ]
    assert [name for name in table.column_names if table.column(name).null_count] == nulls


def test_a_photo_that_could_not_be_read_has_no_answer_whatever_the_method_said() -> None:
    said = one_row(PARIS, within=np.full((1, 5), 0.5))
    table = stored.build(truth_of(1), said, ["unreadable: truncated"])
    row = stored.to_frame(table).iloc[0]
    assert np.isnan(row["predicted_latitude"])
    assert np.isnan(row["error_km"])
    assert table.column("within").to_pylist() == [None]
    assert row["status"] == "unreadable: truncated"


def test_answers_of_another_length_than_the_truth_are_refused() -> None:
    with pytest.raises(ArtifactError, match="2 truth rows, 1 answers"):
        stored.build(truth_of(2), one_row(PARIS), ["ok"])


@settings(max_examples=60, deadline=None)
@given(predictions=answers())
def test_what_is_built_and_written_is_read_back(predictions: Predictions) -> None:
    check_predictions(predictions, len(predictions))
    table = stored.build(truth_of(len(predictions)), predictions, stored.statuses(predictions))
    back = pq.ParquetFile(io.BytesIO(stored.encode(table))).read()
    assert back.schema.equals(stored.SCHEMA)
    frame = stored.to_frame(back)
    np.testing.assert_array_equal(
        frame[["predicted_latitude", "predicted_longitude"]].to_numpy(np.float64), predictions.coordinates
    )
    confidence = np.full(len(frame), NAN) if predictions.confidence is None else predictions.confidence
    np.testing.assert_array_equal(frame["confidence"].to_numpy(np.float64), confidence)
    pd.testing.assert_frame_equal(frame, stored.to_frame(table))
    assert_same_candidates(predictions.candidates, stored.candidates_of(back))
    within = stored.within_of(back)
    if predictions.within is None or np.isnan(predictions.within).all():
        assert within is None
    else:
        np.testing.assert_array_equal(within, predictions.within)


def assert_same_candidates(given: Candidates | None, found: Candidates | None) -> None:
    """Equal but for columns of padding, which the file does not keep."""
    if given is None or not len(given.coordinates):
        assert found is None
        return
    assert found is not None
    width = int((~np.isnan(given.coordinates[..., 0])).sum(axis=1).max())
    np.testing.assert_array_equal(found.coordinates, given.coordinates[:, :width])
    for name in ("probability", "source", "photo_id", "score", "found_by"):
        before, after = getattr(given, name), getattr(found, name)
        if before is None or width == 0:
            assert after is None
        else:
            np.testing.assert_array_equal(after, before[:, :width])


def test_candidates_are_stored_row_by_row_without_their_padding() -> None:
    candidates = Candidates(
        coordinates=np.array([[PARIS, LONDON], [LONDON, (NAN, NAN)]]),
        probability=np.array([[0.5, 0.25], [1.0, NAN]]),
        source=np.array([["photos", ""], ["photos", ""]]),
        photo_id=np.array([["é3", ""], ["0", ""]]),
        score=np.array([[-2.5, 7.0], [NAN, NAN]]),
    )
    predictions = Predictions(np.array([PARIS, LONDON]), candidates=candidates)
    table = stored.build(truth_of(2), predictions, ["ok", "ok"])
    paris = {"latitude": PARIS[0], "longitude": PARIS[1]}
    london = {"latitude": LONDON[0], "longitude": LONDON[1]}
    unknown = {"found_by": None}
    assert table.column("candidates").to_pylist() == [
        [
            {**paris, "probability": 0.5, "source": "photos", "photo_id": "é3", "score": -2.5, **unknown},
            {**london, "probability": 0.25, "source": None, "photo_id": None, "score": 7.0, **unknown},
        ],
        [{**london, "probability": 1.0, "source": "photos", "photo_id": "0", "score": None, **unknown}],
    ]


def test_tiles_with_and_without_candidates_make_one_table() -> None:
    candidates = Candidates(np.array([[PARIS]]))
    tables = [
        stored.build(truth_of(1), one_row(PARIS), ["ok"]),
        stored.build(truth_of(1), one_row(PARIS, candidates=candidates), ["ok"]),
    ]
    found = stored.candidates_of(stored.concatenate(tables))
    assert found is not None
    np.testing.assert_array_equal(found.coordinates, [[(NAN, NAN)], [PARIS]])


def test_what_is_stated_within_the_radii_is_stored_row_by_row_and_null_for_none() -> None:
    within = np.array([[0.125, 0.25, 0.5, 0.5, 1.0], [NAN] * 5, [0.0] * 5])
    predictions = Predictions(np.array([PARIS, LONDON, PARIS]), within=within)
    table = stored.build(truth_of(3), predictions, ["ok"] * 3)
    assert table.column("within").to_pylist() == [[0.125, 0.25, 0.5, 0.5, 1.0], None, [0.0] * 5]
    for rows, expected in (((1, 2), within[1:]), ((0, 2), within[:2])):
        np.testing.assert_array_equal(stored.within_of(table.slice(*rows)), expected)
    assert stored.within_of(table.slice(1, 1)) is None
    assert "within" not in stored.to_frame(table)


def test_a_stored_statement_of_another_number_of_radii_is_refused() -> None:
    table = stored.build(truth_of(2), Predictions(np.zeros((2, 2))), ["ok"] * 2)
    field = stored.SCHEMA.field("within")
    uneven = table.set_column(10, field, pa.array([[0.1] * 4, [0.1] * 6], field.type))
    with pytest.raises(ArtifactError, match="lists of 4, 6"):
        stored.within_of(uneven)


def test_tiles_with_and_without_statements_make_one_table() -> None:
    sure = np.full((1, 5), 0.75)
    tables = [stored.build(truth_of(1), one_row(PARIS, within=one), ["ok"]) for one in (None, sure)]
    np.testing.assert_array_equal(stored.within_of(stored.concatenate(tables)), [[NAN] * 5, [0.75] * 5])


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=4))
def test_bytes_do_not_depend_on_the_tiles_a_run_was_made_of(cuts: list[int]) -> None:
    n = 40
    truth = truth_of(n)
    places = np.stack([truth["latitude"], truth["longitude"]], axis=1)
    both, names = np.stack([places, places[::-1]], axis=1), np.arange(2 * n).reshape(n, 2).astype(np.str_)
    candidates = Candidates(both, photo_id=names)
    within = np.where(np.arange(n)[:, None] % 3 == 0, NAN, np.arange(5) / 4)
    edges = [0, *sorted(cuts), n]
    tables = [
        stored.build(
            truth.iloc[start:stop],
            Predictions(
                places[start:stop],
                candidates=Candidates(both[start:stop], photo_id=names[start:stop]),
                within=within[start:stop],
            ),
            ["ok"] * (stop - start),
        )
        for start, stop in pairwise(edges)
    ]
    whole = stored.build(truth, Predictions(places, candidates=candidates, within=within), ["ok"] * n)
    read_back = [pq.ParquetFile(io.BytesIO(stored.encode(table))).read() for table in tables]
    assert stored.encode(stored.concatenate(read_back)) == stored.encode(whole)


def test_rows_cut_from_a_longer_tile_give_the_bytes_of_those_rows_alone() -> None:
    truth = truth_of(9)
    places = np.stack([truth["latitude"], truth["longitude"]], axis=1)
    whole, cut = (
        stored.build(
            truth.iloc[:n],
            Predictions(
                places[:n],
                candidates=Candidates(places[:n, None]),
                within=np.where(np.arange(n)[:, None] % 3 == 1, NAN, 0.5 * np.ones((n, 5))),
            ),
            ["missing" if row % 4 == 0 else "ok" for row in range(n)],
        )
        for n in (9, 6)
    )
    assert stored.encode(whole.slice(0, 6)) == stored.encode(cut)


def test_two_writes_are_byte_identical_and_carry_no_pandas_metadata(tmp_path: Path) -> None:
    table = stored.build(truth_of(5), Predictions(np.zeros((5, 2))), ["ok"] * 5)
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(stored.encode(table))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert set(pq.ParquetFile(tmp_path / "first").metadata.metadata) == {b"ARROW:schema"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "seed=1"
    folder.mkdir()
    table = stored.build(truth_of(2), Predictions(np.zeros((2, 2))), ["ok"] * 2)
    (folder / "predictions.parquet").write_bytes(stored.encode(table))
    assert stored.read(folder / "predictions.parquet").equals(table)


def test_a_file_whose_candidates_are_rows_of_a_gallery_is_refused(tmp_path: Path) -> None:
    table = stored.build(truth_of(1), one_row(PARIS), ["ok"])
    rows = pa.struct([("latitude", pa.float64()), ("longitude", pa.float64()), ("row", pa.int64())])
    older = table.set_column(9, "candidates", pa.nulls(1, pa.list_(rows)))
    pq.write_table(older, tmp_path / "predictions.parquet")
    with pytest.raises(ArtifactError, match=r"candidates is list.*row: int64"):
        stored.read(tmp_path / "predictions.parquet")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda table: table.drop_columns(["status"]), "without status"),
        (lambda table: table.drop_columns(["status", "within"]), "without status, within"),
        (lambda table: table.drop_columns(["author"]), "without author"),
        (lambda table: table.append_column("extra", pa.array([1, 2])), "with extra"),
        (lambda table: table.select(table.column_names[::-1]), "another order"),
        (
            lambda table: table.set_column(5, "error_km", table.column("error_km").cast(pa.float32())),
            "error_km is float",
        ),
        (
            lambda table: table.set_column(10, "within", pa.nulls(2, pa.list_(pa.float32()))),
            "within is list<element: float>",
        ),
    ],
)
def test_a_file_of_another_schema_is_refused_with_the_difference(
    tmp_path: Path, damage: Any, word: str
) -> None:
    table = stored.build(truth_of(2), Predictions(np.zeros((2, 2))), ["ok"] * 2)
    pq.write_table(damage(table), tmp_path / "predictions.parquet")
    with pytest.raises(ArtifactError, match=word):
        stored.read(tmp_path / "predictions.parquet")


def test_a_file_that_is_cut_off_or_absent_is_refused(tmp_path: Path) -> None:
    table = stored.build(truth_of(2), Predictions(np.zeros((2, 2))), ["ok"] * 2)
    (tmp_path / "cut.parquet").write_bytes(stored.encode(table)[:-20])
    for name in ("cut.parquet", "absent.parquet"):
        with pytest.raises(ArtifactError, match=name):
            stored.read(tmp_path / name)


def test_statuses_follow_from_the_coordinates() -> None:
    coordinates = [PARIS, (NAN, NAN), (NAN, 1.0), (1.0, NAN), (90.5, 0.0), (0.0, -180.5), (np.inf, 0.0)]
    assert stored.statuses(Predictions(np.array(coordinates))) == [
        "ok",
        "no prediction",
        *["invalid coordinate"] * 5,
    ]


def test_poles_and_antimeridian_are_places() -> None:
    coordinates = np.array([(90.0, 180.0), (-90.0, -180.0)])
    assert stored.statuses(Predictions(coordinates)) == ["ok", "ok"]


def test_a_methods_own_status_wins_except_that_ok_is_not_taken_on_trust() -> None:
    predictions = Predictions(
        np.array([(NAN, NAN), (NAN, NAN), (99.0, 0.0), PARIS]), status=["missing", "ok", "ok", "ok"]
    )
    assert stored.statuses(predictions) == ["missing", "no prediction", "invalid coordinate", "ok"]


def test_an_answer_off_the_globe_is_a_status_not_a_broken_contract() -> None:
    predictions = one_row((91.0, 0.0))
    check_predictions(predictions, 1)
    row = frame_of(truth_of(1), predictions).iloc[0]
    assert row["status"] == "invalid coordinate"
    assert np.isnan(row["predicted_latitude"])


GOOD = Predictions(
    coordinates=np.array([PARIS, LONDON]),
    confidence=np.array([0.5, NAN]),
    candidates=Candidates(
        coordinates=np.array([[PARIS, LONDON], [LONDON, (NAN, NAN)]]),
        probability=np.array([[0.5, 0.5], [1.0, NAN]]),
        source=np.array([["photos", "photos"], ["photos", ""]]),
        photo_id=np.array([["0", "1"], ["2", ""]]),
    ),
    status=["ok", "ok"],
    within=np.array([[0.0, 0.25, 0.25, 0.5, 1.0], [NAN] * 5]),
)
assert GOOD.candidates is not None


def changed(**changes: Any) -> Predictions:
    return replace(GOOD, **changes)


def with_candidates(**changes: Any) -> Predictions:
    assert GOOD.candidates is not None
    return replace(GOOD, candidates=replace(GOOD.candidates, **changes))


def stating(*shares: float) -> Predictions:
    """That of the second answer."""
    return changed(within=np.array([[NAN] * 5, shares]))


def test_a_good_answer_passes() -> None:
    check_predictions(GOOD, 2)


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (changed(coordinates=[PARIS, LONDON]), "coordinates must be a numpy array"),
        (changed(coordinates=GOOD.coordinates.astype(np.float32)), "float32 of shape"),
        (changed(coordinates=GOOD.coordinates.T[:1]), r"shape \(2, 2\)"),
        (changed(coordinates=GOOD.coordinates[:1]), r"of shape \(1, 2\)"),
        (changed(confidence=np.array([0.5])), "confidence must be"),
        (changed(confidence=np.array([1, 2])), "confidence must be"),
        (changed(confidence=np.array([0.5, np.inf])), "confidence must be finite"),
        (changed(status=["ok"]), "status must have 2 entries"),
        (changed(status=["ok", "lost"]), "found: 'lost'"),
        (changed(status=["ok", "missing"]), "must have NaN coordinates"),
        (changed(notes=(1,)), "notes must be a tuple of strings"),
        (changed(within=[[0.5] * 5] * 2), "within must be a numpy array"),
        (changed(within=np.full((2, 4), 0.5)), r"within must be .* shape \(2, 5\)"),
        (changed(within=np.full((1, 5), 0.5)), r"of shape \(1, 5\)"),
        (changed(within=np.zeros((2, 5), np.float32)), "float32 of shape"),
        (stating(0.1, 0.2, 0.3, 0.4, 1.1), "within must lie in 0 to 1.*\n.*first is 1"),
        (stating(-0.1, 0.2, 0.3, 0.4, 0.5), "within must lie in 0 to 1"),
        (stating(0.1, 0.3, 0.2, 0.4, 0.5), "within must not fall with a growing radius.*\n.*first is 1"),
        (stating(NAN, 0.2, 0.3, 0.4, 0.5), "for all radii or for none"),
        (with_candidates(coordinates=np.zeros((2, 2))), "candidates.coordinates must be"),
        (with_candidates(coordinates=np.zeros((3, 2, 2))), r"shape \(2, 2, 2\)"),
        (with_candidates(coordinates=np.full((2, 2, 2), 91.0)), "candidates.coordinates must be places"),
        (
            with_candidates(coordinates=np.array([[(NAN, NAN), PARIS], [PARIS, LONDON]])),
            "padded at the end",
        ),
        (with_candidates(probability=np.array([[0.5, 0.5]])), "candidates.probability must be"),
        (with_candidates(probability=np.array([[0.5, 0.6], [0.1, NAN]])), "sum to at most 1"),
        (with_candidates(probability=np.array([[-0.1, 0.5], [0.1, NAN]])), "lie in 0 to 1"),
        (with_candidates(probability=np.array([[NAN, 0.5], [0.1, NAN]])), "first is 0"),
        (with_candidates(source=np.array(["a", "b"])), "candidates.source must be"),
        (with_candidates(photo_id=np.array([[0, 1], [2, 3]])), "candidates.photo_id must be"),
        (with_candidates(photo_id=np.array([["0", "1"], ["2", "3"]])), "beside the source.*\n.*first is 1"),
        (with_candidates(source=None), "beside the source"),
    ],
)
def test_a_broken_answer_is_refused_by_name(broken: Predictions, word: str) -> None:
    with pytest.raises(PluginError, match=word):
        check_predictions(broken, 2)


def test_probabilities_may_miss_one_by_rounding_only() -> None:
    just_above = np.array([[0.5, 0.5 + 5e-7], [1.0, NAN]])
    check_predictions(with_candidates(probability=just_above), 2)


def test_a_statement_may_fall_by_rounding_only() -> None:
    check_predictions(stating(0.5, 0.5 - 5e-7, 0.6, 0.7, 0.8), 2)
    with pytest.raises(PluginError, match="must not fall"):
        check_predictions(stating(0.5, 0.5 - 5e-6, 0.6, 0.7, 0.8), 2)


def test_something_else_than_predictions_is_refused() -> None:
    with pytest.raises(PluginError, match="must return Predictions"):
        check_predictions(np.zeros((2, 2)), 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["coordinates", "confidence"])
def test_masked_arrays_are_refused_since_what_they_hide_would_be_stored(name: str) -> None:
    arrays = {"coordinates": np.zeros((2, 2)), "confidence": np.zeros(2)}
    arrays[name] = np.ma.masked_less(arrays[name], 1)
    with pytest.raises(PluginError, match=rf"{name} must be[\s\S]*a masked array[\s\S]*NaN"):
        check_predictions(Predictions(**arrays), 2)


def test_matrices_are_refused_whose_rows_are_no_rows() -> None:
    coordinates = np.zeros((2, 2)).view(np.matrix)
    with pytest.raises(PluginError, match=r"coordinates must be a numpy array[\s\S]*matrix"):
        check_predictions(Predictions(coordinates), 2)
