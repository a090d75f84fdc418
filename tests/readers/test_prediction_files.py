"""Every shape answers come in, written the way its tool writes it, and the ways they go wrong."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness import api
from pinpoint_harness.errors import DataError, HarnessError, UsageError
from pinpoint_harness.readers import Answers, read_answers
from pinpoint_harness.running import predictions as stored
from pinpoint_harness.types import Predictions

NAN = float("nan")

TENSORFLOW = """\
img_id,gt_lat,predicted_lat,gt_long,predicted_long,great_circle_distance
1095548455_f636d22cbb_1277_8576809@N08.jpg,31.893581,30.600370,-85.141124,-89.321708,422.60
Aruba_00001_99110142_a573655582_34_50517642@N00.jpg,12.532151,12.340417,-70.051435,-69.617688,51.70

street acc (1km),city acc (25km),region acc (200km),country acc (750km),continent acc (2500km),mean deviation (km)
0.135021,0.350211,0.49789,0.64135,0.797468,1827.76
"""  # noqa: E501 (as the tool writes it)

PYTORCH = """\
img_id,p_key,pred_class,pred_lat,pred_lng
104123223_7410c654ba_19_19355699@N00,coarse,11,-16.5,145.5
104123223_7410c654ba_19_19355699@N00,fine,907,-16.25,145.75
97344248_30a4521091_32_77325609@N00,coarse,3,41.5,2.5
97344248_30a4521091_32_77325609@N00,fine,52,41.25,2.25
"""

G3 = """\
IMG_ID,AUTHOR,LAT,LON,S3_Label,LAT_pred,LON_pred,geodesic
1000269685_e60e9cdfb4_1125_78841376@N00.jpg,78841376@N00,32.325436,-64.764404,2,32.5,-64.5,31.6
1005977048_5ccf8b05d3_1201_91728102@N00.jpg,91728102@N00,29.976052,122.390356,1,30.5,122.5,59.1
"""

GLOBE = """\
IMG_ID,AUTHOR,LAT,LON,prediction,pred_city,pred_country,pred_LAT,pred_LON
10201275523.jpg,8@N00,43.649708,-79.365637,"Toronto, Canada",Toronto,Canada,43.65,-79.38
7289030198.jpg,9@N00,40.740067,-73.985495,"New York, United States",New York,United States,40.71,-74.0
"""


def written(folder: Path, text: str, name: str = "answers.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def as_json(folder: Path, value: Any) -> Path:
    return written(folder, json.dumps(value), "answers.json")


def found(answers: Answers) -> dict[str, tuple[float, ...]]:
    return dict(zip(answers.ids, map(tuple, answers.coordinates.tolist()), strict=True))


IMAGEO = (
    ("a", "38.8951", "-77.0364"),  # coordinates are text
    ("b", 35.0103, 135.7636),
    ("c", "No GPS data available", "No GPS data available"),
    ("d", "Unavailable", "Unavailable"),
    ("e", "Unavailable", "Unavailable"),
    ("f", None, None),
    ("g", "", ""),
    ("h", "Unknown", "Unknown"),
)


def imageo_line(image: str, latitude: Any, longitude: Any) -> dict[str, Any]:
    """A line of a results file of IMAGEO-Bench, as its repository holds them (analysis/result/)."""
    info = {
        "image_information": {"environment": "outdoor", "scene_type": "urban", "setting": "urban"},
        "reasoning": {"text_and_signage": "a sign at 12.5, 7.25"},
        "reverse_geocoding": {
            "confidence": "4",
            "address": {"street": "", "city": "Unknown", "state": None, "country": "USA"},
            "coordinates": {"latitude": latitude, "longitude": longitude},
        },
    }
    return imageo_record(image, info)


def imageo_record(image: str, info: dict[str, Any], error: str | None = None) -> dict[str, Any]:
    usage = {
        "input_tokens": 612,
        "output_tokens": 176,
        "total_tokens": 788,
        "cost_usd": 0.00014,
        "model": "m",
    }
    return {
        "image_file": f"{image}.jpg",
        "provider": "togetherai",
        "model_used": "m",
        "raw_response": None if error else f"Here is it: {json.dumps(info)}",
        "location_info": info,
        "error": error,
        "usage_info": usage,
    }


def test_lines_of_imageo_bench_are_read_and_every_refusal_is_a_counted_miss(tmp_path: Path) -> None:
    failed = imageo_record("i", {"address": "Parse Failed", "reasoning": "Could not parse output."})
    broken = imageo_record("j", {"address": "Error", "reasoning": "Error code: 400"}, "Error code: 400")
    lines = [*(imageo_line(*one) for one in IMAGEO), failed, broken]
    file = tmp_path / "dataset3_m.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = read_answers(file)
    assert found.ids.tolist() == [f"{image}.jpg" for image in "abcdefghij"]
    assert found.coordinates[:2].tolist() == [[38.8951, -77.0364], [35.0103, 135.7636]]
    assert found.status == ["ok", "ok", *["no prediction"] * 8]
    named = {"confidence": "location_info.reverse_geocoding.confidence"}
    confidence = read_answers(file, columns=named).confidence
    assert confidence is not None
    assert confidence[0] == 4
    assert "3 of 10 answers are words, as 'Unavailable': no prediction" in found.notes
    assert "5 of 10 answers are null: no prediction" in found.notes


def test_a_file_of_nothing_but_words_is_no_file_of_refusals(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f"{json.dumps(imageo_line(i, 'Rome', 'Italy'))}\n" for i in "ab"))
    with pytest.raises(UsageError, match="not understood"):
        read_answers(file)


def test_geoestimation_tensorflow_without_its_footer(tmp_path: Path) -> None:
    answers = read_answers(written(tmp_path, TENSORFLOW))
    assert found(answers) == {
        "1095548455_f636d22cbb_1277_8576809@N08.jpg": (30.60037, -89.321708),
        "Aruba_00001_99110142_a573655582_34_50517642@N00.jpg": (12.340417, -69.617688),
    }
    assert answers.notes == (
        "2 answers read from columns 'predicted_lat' and 'predicted_long' of answers.csv",
        "2 summary rows at the end left out, beginning with 'street acc (1km)'",
    )


def test_two_tensorflow_files_put_together_are_refused(tmp_path: Path) -> None:
    rows = TENSORFLOW.split("\n", 1)[1].replace("1095548455", "1095548456").replace("Aruba", "Cuba")
    with pytest.raises(DataError, match="summary row in its middle"):
        read_answers(written(tmp_path, TENSORFLOW + rows))


def test_geoestimation_pytorch_gives_the_partitioning_that_is_named(tmp_path: Path) -> None:
    answers = read_answers(written(tmp_path, PYTORCH), select="fine")
    assert found(answers) == {
        "104123223_7410c654ba_19_19355699@N00": (-16.25, 145.75),
        "97344248_30a4521091_32_77325609@N00": (41.25, 2.25),
    }
    assert "2 answers other than p_key 'fine' left out, of coarse (2), fine (2)" in answers.notes


def test_several_partitionings_must_be_chosen_from(tmp_path: Path) -> None:
    path = written(tmp_path, PYTORCH)
    for select in (None, "hierarchy"):
        with pytest.raises(UsageError, match=r"coarse \(2\), fine \(2\)"):
            read_answers(path, select=select)


def test_a_single_partitioning_needs_no_choice(tmp_path: Path) -> None:
    one = "".join(line + "\n" for line in PYTORCH.splitlines() if ",fine," not in line)
    assert len(read_answers(written(tmp_path, one))) == 2


def test_a_choice_where_there_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one answer per photo"):
        read_answers(written(tmp_path, G3), select="fine")


def test_g3_answers_are_not_the_truth_beside_them(tmp_path: Path) -> None:
    assert found(read_answers(written(tmp_path, G3))) == {
        "1000269685_e60e9cdfb4_1125_78841376@N00.jpg": (32.5, -64.5),
        "1005977048_5ccf8b05d3_1201_91728102@N00.jpg": (30.5, 122.5),
    }


def test_globe_answers_are_not_the_truth_beside_them(tmp_path: Path) -> None:
    assert found(read_answers(written(tmp_path, GLOBE))) == {
        "10201275523.jpg": (43.65, -79.38),
        "7289030198.jpg": (40.71, -74.0),
    }


@pytest.mark.parametrize(
    "header",
    [
        "id,latitude,longitude",
        "image,lat,lng",
        "IMG_ID,LAT,LON",
        "photo_id,Latitude,Long",
        "key,pred_latitude,pred_longitude",
        "file_name,predicted_lat,predicted_lon",
        "KEY,lat,long",
    ],
)
def test_plain_tables_in_many_spellings(tmp_path: Path, header: str) -> None:
    answers = read_answers(written(tmp_path, f"{header}\na.jpg,48.5,2.25\nb.jpg,-33.5,151.0\n"))
    assert found(answers) == {"a.jpg": (48.5, 2.25), "b.jpg": (-33.5, 151.0)}
    assert answers.status == ["ok", "ok"]
    assert answers.confidence is None


def test_a_truth_that_is_marked_as_such_leaves_no_doubt(tmp_path: Path) -> None:
    answers = read_answers(written(tmp_path, "id,gt_lat,gt_lon,lat,lon\na,1,2,48.5,2.25\n"))
    assert found(answers) == {"a": (48.5, 2.25)}


def test_columns_may_stand_in_any_order_and_be_separated_by_tabs(tmp_path: Path) -> None:
    path = written(tmp_path, "longitude\tconfidence\tid\tlatitude\n2.25\t0.5\ta.jpg\t48.5\n", "answers.tsv")
    answers = read_answers(path)
    assert found(answers) == {"a.jpg": (48.5, 2.25)}
    assert answers.confidence is not None
    assert answers.confidence.tolist() == [0.5]


def test_a_confidence_that_cannot_be_ranked_is_left_out_and_said(tmp_path: Path) -> None:
    rows = "a,1,2,0.5\nb,1,2,high\nc,1,2,-inf\nd,1,2,\n"
    answers = read_answers(written(tmp_path, f"id,lat,lon,confidence\n{rows}"))
    np.testing.assert_array_equal(answers.confidence, [0.5, NAN, NAN, NAN])
    assert answers.status == ["ok"] * 4
    assert answers.notes[-1] == "2 of 4 confidences are no finite number and were left out"


def test_ids_keep_every_digit(tmp_path: Path) -> None:
    ids = ["1207955469639614", "0012", "9007199254740993"]
    rows = "".join(f"{name},1.5,2.5\n" for name in ids)
    assert read_answers(written(tmp_path, f"id,latitude,longitude\n{rows}")).ids.tolist() == ids


@pytest.mark.parametrize(
    "header",
    [
        "id,latitude,longitude,LAT_guess,LON_guess",
        "id,latitude,longitude,lat_bin,lon_bin",
        "id,latitude,longitude,my_lat",
        "id,latitude,longitude,bestpred",
        "id,latitude,longitude,prediction",
        "id,lat,lon,geodesic",
        "id,LAT,LON,LAT_pred",
        "id,gt_lat,gt_lon,lat,lon,long_guess",
    ],
)
def test_a_pair_that_may_be_the_truth_is_not_taken_for_the_answer(tmp_path: Path, header: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(UsageError, match="may be the truth"):
        read_answers(written(tmp_path, f"{header}\n{row}\n"))


@pytest.mark.parametrize(
    "header",
    [
        "id,LAT_pred,LON_pred,pred_LAT,pred_LON",
        "id,pred_lat,pred_lng,pred_lon",
        "id,lat,latitude,longitude",
    ],
)
def test_two_pairs_that_may_be_the_answer_are_refused(tmp_path: Path, header: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(UsageError, match="several pairs of columns"):
        read_answers(written(tmp_path, f"{header}\n{row}\n"))


def test_a_file_without_answers_or_ids_lists_its_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no columns of answers\n.*id, gt_lat, gt_lon"):
        read_answers(written(tmp_path, "id,gt_lat,gt_lon\na,1,2\n"))
    with pytest.raises(UsageError, match=r"no column of ids\n.*name, lat, lon"):
        read_answers(written(tmp_path, "name,lat,lon\na,1,2\n"))


def test_named_columns_come_before_recognised_ones(tmp_path: Path) -> None:
    text = "photo,id,lat,lon,LAT_guess,LON_guess,score,run\na.jpg,x,1,2,48.5,2.25,0.75,one\n"
    columns = {
        "id": "photo",
        "latitude": "lat_guess",
        "longitude": "LON_guess",
        "confidence": "score",
        "select": "run",
    }
    answers = read_answers(written(tmp_path, text), columns=columns, select="one")
    assert found(answers) == {"a.jpg": (48.5, 2.25)}
    assert answers.confidence is not None
    assert answers.confidence.tolist() == [0.75]


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"latitude": "lat"}, "half of a coordinate"),
        ({"latitude": "lat", "longitude": "east"}, "no column 'east' for the longitude"),
        ({"lat": "lat"}, "no column role 'lat'"),
    ],
)
def test_named_columns_that_do_not_fit_are_refused(
    tmp_path: Path, columns: dict[str, str], word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        read_answers(written(tmp_path, "id,lat,lon\na,1,2\n"), columns=columns)


def test_json_with_several_answers_per_photo(tmp_path: Path) -> None:
    path = as_json(
        tmp_path,
        {
            "a.jpg": {
                "greedy": [48.5, 2.25],
                "vote": [1.5, 2.5],
                "text": "Paris",
                "names": ["Paris", "France"],
            },
            "b.jpg": {"greedy": None, "vote": [3.5, 4.5], "text": None},
            "c.jpg": {"vote": [5.5, 6.5]},
        },
    )
    with pytest.raises(UsageError, match=r"greedy \(2\), vote \(3\)"):
        read_answers(path)
    answers = read_answers(path, select="greedy")
    assert answers.ids.tolist() == ["a.jpg", "b.jpg"]
    assert answers.status == ["ok", "no prediction"]
    np.testing.assert_array_equal(answers.coordinates, [(48.5, 2.25), (NAN, NAN)])
    assert "1 of 2 answers are null: no prediction" in answers.notes


def test_json_with_one_named_answer_and_a_photo_that_is_null(tmp_path: Path) -> None:
    answers = read_answers(as_json(tmp_path, {"a": {"greedy": [48.5, 2.25]}, "b": None}))
    assert dict(zip(answers.ids, answers.status, strict=True)) == {"a": "ok", "b": "no prediction"}


def test_json_with_bare_pairs(tmp_path: Path) -> None:
    value = {
        "a": [48.5, 2.25],
        "b": None,
        "c": [1, 2, 3],
        "d": [1.5, None],
        "e": ["1.5", "2.5"],
        "f": [True, 1],
        "g": [3, 4],
    }
    answers = read_answers(as_json(tmp_path, value))
    bad = "invalid coordinate"
    assert dict(zip(answers.ids, answers.status, strict=True)) == {
        "a": "ok",
        "b": "no prediction",
        "c": bad,
        "d": bad,
        "e": "ok",
        "f": bad,
        "g": "ok",
    }


def test_json_records(tmp_path: Path) -> None:
    value = {
        "a": {"id": "inner", "latitude": 48.5, "longitude": 2.25, "confidence": 0.5},
        "b": {"latitude": None, "longitude": None, "confidence": None},
        "c": None,
    }
    answers = read_answers(as_json(tmp_path, value))
    assert answers.ids.tolist() == ["a", "b", "c"]
    assert answers.status == ["ok", "no prediction", "no prediction"]
    np.testing.assert_array_equal(answers.confidence, [0.5, NAN, NAN])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"a": [1, 2], "a": [1, 2]}', "same key more than once\n.*found: a"),
        ('{"a": {"greedy": [1, 2], "greedy": [3, 4]}}', "same key more than once"),
        ('{"a": [1, 2]', "not valid JSON"),
        ('[["a", 1, 2]]', "no JSON file of photos and places\n.*list"),
        ('{"a": [1, 2], "b": {"latitude": 1, "longitude": 2}}', "dict, list"),
        ('{"a": "Paris"}', "not understood[\\s\\S]*method place-names"),
        ('{"a": {"city": "Paris"}}', "no columns of answers"),
        ("{}", "holds no answers"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"id": "a", "lat": 1, "lon": 2}\n\n{"id": "b", "lat"', "not valid JSON\n.*line 3: "),
    ],
)
def test_json_that_is_no_file_of_answers(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(HarnessError, match=word):
        read_answers(written(tmp_path, text, "answers.json"))


def test_json_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeff \n{"a": [48.5, 2.25]}', "answers.txt")
    assert found(read_answers(path)) == {"a": (48.5, 2.25)}


def test_our_own_run_can_be_read_back(tmp_path: Path) -> None:
    truth = pd.DataFrame(
        {"id": ["a", "b"], "latitude": [1.0, 2.0], "longitude": [3.0, 4.0], "author": ["x", None]}
    )
    predictions = Predictions(np.array([[0.1 + 0.2, 2.25], [NAN, NAN]]), confidence=np.array([0.5, NAN]))
    path = tmp_path / "predictions.parquet"
    path.write_bytes(stored.encode(stored.build(truth, predictions, ["ok", "missing"])))
    answers = read_answers(path)
    assert answers.ids.tolist() == ["a", "b"]
    np.testing.assert_array_equal(answers.coordinates, predictions.coordinates)
    np.testing.assert_array_equal(answers.confidence, [0.5, NAN])
    assert answers.status == ["ok", "no prediction"]


def test_any_parquet_with_ids_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "answers.parquet"
    frame = pd.DataFrame(
        {"id": [1207955469639614, 2], "lat": np.array([1.1, 2.5], np.float32), "lon": [3.5, NAN]}
    )
    frame.to_parquet(path)
    answers = read_answers(path)
    assert answers.ids.tolist() == ["1207955469639614", "2"]
    assert answers.coordinates[0].tolist() == pytest.approx([1.1, 3.5], abs=1e-6)
    assert answers.status == ["ok", "invalid coordinate"]


@pytest.mark.parametrize("null", ["", "nan", "NaN", "None", "null", "NULL", " "])
def test_every_spelling_of_null_is_no_prediction(tmp_path: Path, null: str) -> None:
    answers = read_answers(written(tmp_path, f"id,lat,lon\na,1.5,2.5\nb,{null},{null}\n"))
    assert answers.status == ["ok", "no prediction"]


@pytest.mark.parametrize(
    "pair", ["1.5,", ",2.5", "north,2.5", "90.5,170", "0,-180.5", "inf,0", "1_0,5", "12.5x,3"]
)
def test_what_is_no_place_is_an_invalid_coordinate(tmp_path: Path, pair: str) -> None:
    answers = read_answers(written(tmp_path, f"id,lat,lon\na,1.5,2.5\nb,{pair}\n"))
    assert answers.status == ["ok", "invalid coordinate"]
    assert np.isnan(answers.coordinates[1]).all()
    assert "1 of 2 answers are no place on Earth: invalid coordinate" in answers.notes


def test_longitudes_from_0_to_360_are_turned_where_none_is_negative(tmp_path: Path) -> None:
    path = written(tmp_path, "id,lat,lon\na,40,285.5\nb,40,359\nc,40,20\n")
    answers = read_answers(path)
    assert answers.coordinates[:, 1].tolist() == [-74.5, -1.0, 20.0]
    assert answers.notes[-1] == "2 of 3 longitudes count from 0 to 360: 360 subtracted"


def test_longitudes_that_mix_both_ranges_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"{row},40,{285 + row}\n" for row in range(3)) + "d,40,-20\n" * 1
    with pytest.raises(UsageError, match=r"from 0 to 360, but others are negative"):
        read_answers(written(tmp_path, f"id,lat,lon\n{rows}"))


def test_exchanged_axes_are_refused_and_the_fix_works(tmp_path: Path) -> None:
    path = written(tmp_path, "id,lat,lon\na,-122.5,37.5\nb,2.25,48.5\n")
    with pytest.raises(UsageError, match=r"--set latitude_column=lon --set longitude_column=lat"):
        read_answers(path)
    assert found(read_answers(path, columns={"latitude": "lon", "longitude": "lat"})) == {
        "a": (37.5, -122.5),
        "b": (48.5, 2.25),
    }


def radians(count: int) -> str:
    rows = (f"{row},{math.radians(row)},{math.radians(2 * row)}\n" for row in range(count))
    return "id,lat,lon\n" + "".join(rows)


def test_twenty_answers_that_look_like_radians_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, radians(20))
    with pytest.raises(
        UsageError, match=r"look like radians[\s\S]*--set units=radians, or --set units=degrees"
    ):
        read_answers(path)
    assert read_answers(path, units="degrees").coordinates[19, 0] == math.radians(19)
    converted = read_answers(path, units="radians")
    np.testing.assert_allclose(converted.coordinates, [(row, 2 * row) for row in range(20)], atol=1e-12)
    assert converted.notes[0].endswith("in radians")


def test_a_few_sentinels_do_not_hide_radians_and_many_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="look like radians"):
        read_answers(written(tmp_path, radians(40) + "far,90,180\nfarther,-90,-180\n"))
    far = "".join(f"far{row},8{row},0\n" for row in range(5))
    assert len(read_answers(written(tmp_path, radians(40) + far))) == 45


def test_of_few_answers_all_must_look_computed_to_be_radians(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="look like radians"):
        read_answers(written(tmp_path, radians(4)))
    assert len(read_answers(written(tmp_path, radians(4) + "far,48.5,2\n"))) == 5
    assert len(read_answers(written(tmp_path, "id,lat,lon\na,0.5,1\nb,1.25,2\nc,1,0.125\n"))) == 3
    with pytest.raises(UsageError, match="look like radians"):
        read_answers(written(tmp_path, radians(3)))  # one of them is (0, 0)
    assert len(read_answers(written(tmp_path, "id,lat,lon\na,0.5125,1.25\n"))) == 1


def test_degrees_read_as_radians_are_refused_and_not_wrapped(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 of 1 rows hold no place on Earth"):
        read_answers(written(tmp_path, "id,lat,lon\na,48.5,2.25\n"), units="radians")


def test_unknown_units_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no units 'gradians'"):
        read_answers(written(tmp_path, G3), units="gradians")  # type: ignore[arg-type]


@pytest.mark.parametrize("second", ["1,2", "3,4"])
def test_an_id_answered_twice_is_refused_even_if_the_answers_agree(tmp_path: Path, second: str) -> None:
    with pytest.raises(DataError, match=r"1 ids more than once\n.*found: a\.jpg"):
        read_answers(written(tmp_path, f"id,lat,lon\na.jpg,1,2\nb.jpg,5,6\na.jpg,{second}\n"))


def test_a_row_without_an_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 2 rows without an id"):
        read_answers(written(tmp_path, "id,lat,lon\na,1,2\n,3,4\n"))


def test_a_table_without_rows_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_answers(written(tmp_path, "id,lat,lon\n"))
    with pytest.raises(DataError, match="no file"):
        read_answers(tmp_path / "absent.csv")


@settings(max_examples=50, deadline=None)
@given(
    rows=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8).map(
            "x".__add__
        ),
        st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
        min_size=1,
        max_size=8,
    )
)
def test_csv_and_json_give_the_same_answers_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, tuple[float, float]]
) -> None:
    folder = tmp_path_factory.mktemp("same")
    with (folder / "answers.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "latitude", "longitude"])
        table.writerows(
            (name, repr(latitude), repr(longitude)) for name, (latitude, longitude) in rows.items()
        )
    for path in (folder / "answers.csv", as_json(folder, rows)):
        assert found(read_answers(path)) == rows


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(
    ("value", "words"),
    [("[" * 100_000 + "]" * 100_000, "nested a thousand levels deep"), ("1" * 5000, "thousands of digits")],
)
def test_json_beyond_what_is_read_is_no_sign_of_a_program_that_was_stopped(
    value: str, words: str, lines: bool, tmp_path: Path
) -> None:
    text = f'{{"id": "b", "latitude": 1.5, "longitude": {value}}}'
    text = f'{{"id": "a", "latitude": 1.5, "longitude": 2.5}}\n{text}\n' if lines else f"[{text}]"
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=words) as refused:
        read_answers(path)
    assert "stopped" not in str(refused.value)


def test_negative_ids_as_floats_are_the_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "id,latitude,longitude\n-7.0,1.5,2.5\n8.0,1.5,2.5\n")
    assert read_answers(path).ids.tolist() == ["-7", "8"]
    with pytest.raises(DataError, match="have lost digits"):
        read_answers(written(tmp_path, "id,latitude,longitude\n-1.23457E+09,1.5,2.5\n8.0,1.5,2.5\n"))


def zeros(first: int, width: int) -> pd.DataFrame:
    rows = range(first, 60)
    return pd.DataFrame(
        {
            "id": [f"{row:0{width}}" for row in rows],
            "latitude": [10.5 + row / 2 for row in rows],
            "longitude": [5.25 + row for row in rows],
        }
    )


def test_ids_of_which_some_lost_their_leading_zeros_are_refused() -> None:
    truth = zeros(0, 2)
    answers = zeros(0, 1).assign(latitude=lambda it: it["latitude"] + 1)
    with pytest.raises(DataError, match=r"10 of 60 ids have lost the zeros[\s\S]*like '00'"):
        api.score(answers, truth)
    with pytest.raises(DataError, match="10 of 60 ids have lost the zeros"):
        api.score(answers, truth.assign(image=truth["id"] + ".jpg"))
    with pytest.raises(DataError, match="lost the zeros"):
        api.score(answers, zeros(0, 3))
    whole = api.score(answers.assign(id=truth["id"]), truth)
    assert whole.counts["ok"] == 60


def test_shorter_ids_that_no_zeros_explain_are_answers_to_no_photo() -> None:
    answers = zeros(0, 1).assign(latitude=lambda it: it["latitude"] + 1)
    assert api.score(answers, zeros(10, 2)).counts["ok"] == 50  # a part of the photos, none with zeros
    mixed = pd.concat([zeros(0, 2), zeros(0, 1).iloc[:5].assign(id=["a", "bb", "ccc", "d", "e"])])
    assert api.score(answers, mixed).counts["missing"] == 15
