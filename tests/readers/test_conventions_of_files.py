"""Files of answers in other people's habits: the right figure, or a refusal whose fix works."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from pinpoint_harness import api
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import UsageError
from pinpoint_harness.readers.cells import read_place
from pinpoint_harness.types import RADII_KM

ROWS = 60
HITS = [0, 12, 24, 36, 48]
"""Answers 13 km, 130 km, 600 km, 2,000 km and far off, twelve of each."""


def world() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A truth all over the globe, and answers of which HITS are right."""
    generator = np.random.default_rng(3)
    latitude = generator.uniform(-60, 60, ROWS)
    truth = pd.DataFrame(
        {
            "id": [f"{546314506564628 + 7 * row}" for row in range(ROWS)],
            "latitude": latitude,
            "longitude": generator.uniform(-170, 170, ROWS),
        }
    )
    shift = np.repeat([0.12, 1.2, 5.4, 18.0, 60.0], ROWS // 5) * np.where(latitude < 0, 1, -1)
    return truth, truth.assign(latitude=latitude + shift).round(6)


def score(folder: Path, file: Path, *options: str, dataset: str = "table", data: Path | None = None) -> Any:
    words = ["score", str(file), "--dataset", dataset, "--data", str(data or folder / "truth.csv")]
    command = [*words, "--home", str(folder), "--json", "--protocol", "haversine-6371-lt", *options]
    return CliRunner().invoke(cli, command, prog_name="pinpoint")


def hits(result: Any) -> list[int]:
    assert result.exit_code == 0, result.stderr
    (scores,) = json.loads(result.stdout)["scores"]
    cells = [scores["estimates"][f"acc_{radius:g}km"] for radius in RADII_KM]
    return [round(cell["value"] * cell["n"] / 100) for cell in cells]


def refusal(result: Any) -> str:
    """The message of a command that printed no figure."""
    assert result.exit_code == 2, result.stdout
    assert result.stdout == ""
    return str(result.stderr)


def fixed(message: str) -> list[str]:
    """The options of the fix, as a shell reads them."""
    (fix,) = re.findall(r"fix: +(.*)", message)
    options = re.findall(r"--(?:set|column) (?:'[^']*'|[^\s,;]+)", fix.split(" or ")[0])
    return shlex.split(" ".join(options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    world()[0].to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path


Writer = Callable[[Path, pd.DataFrame], None]


def delimited(
    separator: str, cell: Callable[[float, str], str], header: str = "id latitude longitude"
) -> Writer:
    def write(path: Path, answers: pd.DataFrame) -> None:
        rows = [
            [name, cell(latitude, "NS"), cell(longitude, "EW")]
            for name, latitude, longitude in answers.itertuples(index=False)
        ]
        lines = [separator.join(row) for row in [["id", "latitude", "longitude"], *rows]]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


def with_ids(spell: Callable[[str], str]) -> Writer:
    def write(path: Path, answers: pd.DataFrame) -> None:
        rows = [f"{spell(name)},{lat},{lon}" for name, lat, lon in answers.itertuples(index=False)]
        path.write_text("\n".join(["id,latitude,longitude", *rows]) + "\n")

    return write


def one_cell(cell: Callable[[float, float], str], name: str = "prediction") -> Writer:
    def write(path: Path, answers: pd.DataFrame) -> None:
        cells = [cell(*pair) for pair in answers[["latitude", "longitude"]].to_numpy().tolist()]
        pd.DataFrame({"id": answers["id"], name: cells}).to_csv(path, index=False)

    return write


def as_json(value: Callable[[list[tuple[str, float, float]]], Any]) -> Writer:
    def write(path: Path, answers: pd.DataFrame) -> None:
        path.write_text(json.dumps(value(list(answers.itertuples(index=False, name=None)))))

    return write


def json_lines(record: Callable[[str, float, float], Any]) -> Writer:
    def write(path: Path, answers: pd.DataFrame) -> None:
        lines = [json.dumps(record(*row)) for row in answers.itertuples(index=False, name=None)]
        path.write_text("\n".join(lines) + "\n")

    return write


def in_parquet(column: Callable[[pd.DataFrame], Any]) -> Writer:
    return lambda path, answers: pq.write_table(
        pa.table({"id": answers["id"].tolist(), "prediction": column(answers)}), path
    )


def place(latitude: object, longitude: object) -> dict[str, object]:
    return {"lat": latitude, "lon": longitude}


def told(latitude: float, longitude: float) -> dict[str, object]:
    return {"gt": [1.5, 2], "response": f"lat: {latitude}, lng: {longitude}"}


def record(name: str, latitude: float, longitude: float) -> dict[str, object]:
    return {"image_id": name, "latitude": latitude, "longitude": longitude}


def dms(value: float, letters: str) -> str:
    size = abs(value)
    minutes = size % 1 * 60
    letter = letters[int(value < 0)]
    return f"{int(size)}°{int(minutes)}'{minutes % 1 * 60:.4f}\"{letter}"


def comma(value: float, letters: str) -> str:
    return f"{value:.6f}".replace(".", ",")


READ: dict[str, Writer] = {
    "decimal comma, semicolon": delimited(";", comma),
    "decimal comma, tab": delimited("\t", comma),
    "decimal comma, quoted": delimited(",", lambda value, _: f'"{comma(value, "")}"'),
    "printed minus": delimited(",", lambda value, _: str(value).replace("-", "\u2212")),
    "en dash": delimited(",", lambda value, _: str(value).replace("-", "\u2013")),
    "full-width minus": delimited(",", lambda value, _: str(value).replace("-", "\uff0d")),
    "degree sign": delimited(",", lambda value, _: f"{value}°"),
    "hemisphere after": delimited(",", lambda value, letters: f"{abs(value)} {letters[int(value < 0)]}"),
    "hemisphere before": delimited(",", lambda value, letters: f"{letters[int(value < 0)]}{abs(value)}"),
    "hemisphere and degree": delimited(",", lambda value, letters: f"{abs(value)}°{letters[int(value < 0)]}"),
    "dms": delimited("\t", dms),
    "dms, printed marks": delimited(
        "\t", lambda value, letters: dms(value, letters).replace("'", "\u2032").replace('"', "\u2033")
    ),
    "dms, colons": delimited(
        ",", lambda value, _: f"{'-' * (value < 0)}{int(abs(value))}:{abs(value) % 1 * 60:.5f}"
    ),
    "ids as floats": with_ids(lambda one: f"{one}.0"),
    "ids of numpy.savetxt": with_ids(lambda one: f"{int(one):.18e}"),
    "ids in quotes": with_ids(lambda one: f"'{one}'"),
    "ids as bytes": with_ids(lambda one: f"b'{one}.jpg'"),
    "ids of a spreadsheet": with_ids(lambda one: f'"=""{one}"""'),
    "longitude from 0 to 360": delimited(
        ",", lambda value, letters: str(value % 360 if letters == "EW" else value)
    ),
    "list": one_cell(lambda lat, lon: f"[{lat}, {lon}]"),
    "tuple": one_cell(lambda lat, lon: f"({lat}, {lon})"),
    "tuple, semicolon": one_cell(lambda lat, lon: f"({lat}; {lon})"),
    "list, semicolon, decimal comma": one_cell(lambda lat, lon: f"[{lat}; {lon}]".replace(".", ",")),
    "tuple of hemispheres": one_cell(
        lambda lat, lon: f"({abs(lat)}{'NS'[lat < 0]}, {abs(lon)}{'EW'[lon < 0]})"
    ),
    "WKT": one_cell(lambda lat, lon: f"POINT({lon} {lat})", "geometry"),
    "WKT of PostGIS, with a height": one_cell(lambda lat, lon: f"SRID=4326;POINT Z ({lon} {lat} 35)"),
    "numpy array": one_cell(lambda lat, lon: f"[{lat}  {lon}]"),
    "list with probability": one_cell(lambda lat, lon: f"[{lat}, {lon}, 0.25]"),
    "top-k list": one_cell(lambda lat, lon: f"[[{lat}, {lon}], [1.5, 2.5]]"),
    "top-k tuples, ranked": one_cell(lambda lat, lon: f"[({lat}, {lon}, 0.5), (1.5, 2.5, 0.1)]"),
    "dictionary of Python": one_cell(lambda lat, lon: f"{{'lat': {lat}, 'lng': {lon}}}"),
    "two numbers": one_cell(lambda lat, lon: f"{lat}, {lon}", "coordinates"),
    "longitude first by name": one_cell(lambda lat, lon: f"[{lon}, {lat}]", "lonlat"),
    "GeoJSON point in a cell": one_cell(
        lambda lat, lon: json.dumps({"type": "Point", "coordinates": [lon, lat]})
    ),
    "records": as_json(lambda rows: [record(*row) for row in rows]),
    "records under a name": as_json(
        lambda rows: {"model": "x", "predictions": [record(*row) for row in rows]}
    ),
    "columns of pandas": as_json(
        lambda rows: {
            name: {str(index): row[place] for index, row in enumerate(rows)}
            for place, name in enumerate(("id", "latitude", "longitude"))
        }
    ),
    "top-k by image": as_json(lambda rows: {one: [[lat, lon, 0.5], [1, 2, 0.25]] for one, lat, lon in rows}),
    "text by image": as_json(lambda rows: {one: f"{lat}, {lon}" for one, lat, lon in rows}),
    "GeoJSON": as_json(
        lambda rows: {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {"id": one},
                    "geometry": {"type": "Point", "coordinates": [lon, lat]},
                }
                for one, lat, lon in rows
            ],
        }
    ),
    "lines": json_lines(record),
    "lines, nested": json_lines(
        lambda one, lat, lon: {
            "image_file": f"{one}.jpg",
            "a": {"b": place(str(lat), str(lon))},
            "error": None,
        }
    ),
    "lines, pair": json_lines(lambda one, lat, lon: {"id": one, "prediction": [lat, lon], "text": "x"}),
    "lines, truth beside": json_lines(
        lambda one, lat, lon: {"id": one, "gt": place(1.5, 2), "prediction": place(lat, lon)}
    ),
    "struct": in_parquet(lambda answers: answers[["latitude", "longitude"]].to_dict("records")),
    "struct in a struct": in_parquet(
        lambda answers: [{"best": one} for one in answers[["latitude", "longitude"]].to_dict("records")]
    ),
    "list column": in_parquet(lambda answers: answers[["latitude", "longitude"]].to_numpy().tolist()),
    "top-k column": in_parquet(
        lambda answers: [[one, [1.5, 2.5]] for one in answers[["latitude", "longitude"]].to_numpy().tolist()]
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_clear_is_read_and_scores_as_plain_numbers_do(name: str, folder: Path) -> None:
    path = folder / "answers.any"
    READ[name](path, world()[1])
    assert hits(score(folder, path)) == HITS


def exchanged(path: Path, answers: pd.DataFrame) -> None:
    answers.rename(columns={"latitude": "longitude", "longitude": "latitude"}).to_csv(path, index=False)


def radians(path: Path, answers: pd.DataFrame, sentinels: int = 0) -> None:
    values = np.radians(answers[["latitude", "longitude"]])
    values.iloc[ROWS - sentinels :] = (90.0, 180.0)
    answers.assign(**values).to_csv(path, index=False)


def truth_beside(cell: Callable[[float, float], str], name: str, digits: int = 5) -> Writer:
    """The truth in plain columns, as the scripts of G3 and GeoRanker write it, and the answer in another."""

    def write(path: Path, answers: pd.DataFrame) -> None:
        cells = [cell(*pair) for pair in answers[["latitude", "longitude"]].to_numpy().tolist()]
        truth = (
            world()[0].rename(columns={"id": "IMG_ID", "latitude": "LAT", "longitude": "LON"}).round(digits)
        )
        truth.assign(**{name: cells}).to_csv(path, index=False)

    return write


REFUSED_WITH_FIX: dict[str, tuple[Writer, str]] = {
    "exchanged columns": (exchanged, "two columns exchanged"),
    "exchanged pairs in JSON": (
        as_json(lambda rows: {one: [lon, lat] for one, lat, lon in rows}),
        "two columns exchanged",
    ),
    "exchanged pairs in cells": (one_cell(lambda lat, lon: f"({lon}, {lat})"), "two columns exchanged"),
    "radians": (radians, "look like radians"),
    "radians and sentinels": (lambda path, answers: radians(path, answers, 3), "look like radians"),
    "radians in JSON": (
        as_json(lambda rows: {one: np.radians([lat, lon]).tolist() for one, lat, lon in rows}),
        "look like radians",
    ),
    "truth and a dictionary": (
        truth_beside(lambda lat, lon: json.dumps(place(lat, lon)), "response"),
        "may be the truth",
    ),
    "truth and a sentence": (
        truth_beside(lambda lat, lon: f"I guess latitude: {lat}, longitude: {lon}.", "my answer"),
        "may be the truth",
    ),
    "truth and a sentence with hemispheres": (
        truth_beside(
            lambda lat, lon: f"On I-95 N, at {abs(lat)}° {'NS'[lat < 0]}, {abs(lon)}° {'EW'[lon < 0]}.",
            "output",
        ),
        "may be the truth",
    ),
    "truth and a list": (truth_beside(lambda lat, lon: f"[{lat}, {lon}]", "coordinates"), "may be the truth"),
    "truth and a tuple in words": (
        truth_beside(lambda lat, lon: f"The place is ({lat}, {lon})", "output", 4),
        "may be the truth",
    ),
    "truth and text in JSON": (
        as_json(lambda rows: {one: told(lat, lon) for one, lat, lon in rows}),
        "may be the answer",
    ),
}


@pytest.mark.parametrize("name", REFUSED_WITH_FIX)
def test_what_is_not_clear_is_refused_and_the_first_fix_works_as_printed(name: str, folder: Path) -> None:
    path = folder / "answers.any"
    write, words = REFUSED_WITH_FIX[name]
    write(path, world()[1])
    message = refusal(score(folder, path))
    assert words in message
    assert hits(score(folder, path, *fixed(message))) == HITS


def changed(**columns: Callable[[pd.DataFrame], Any]) -> Writer:
    def write(path: Path, answers: pd.DataFrame) -> None:
        answers.assign(**columns).to_csv(path, index=False)

    return write


def truth_with(**columns: object) -> Writer:
    return lambda path, _: world()[0].round(5).assign(**columns).to_csv(path, index=False)


def every_other_from_0(answers: pd.DataFrame) -> Any:
    longitude = answers["longitude"]
    return np.where(np.arange(ROWS) % 2, longitude % 360, longitude)


REFUSED: dict[str, tuple[Writer, str]] = {
    "truth, and columns nobody knows": (truth_with(generated="Paris"), "the truth itself"),
    "truth, and other numbers": (truth_with(loss=0.5, Prob_indoor=0.1), "the truth itself"),
    "truth in JSON lines": (
        json_lines(lambda one, lat, lon: {"id": one, **truth_of(one), "text": "no idea"}),
        "the truth itself",
    ),
    "sign of the longitudes": (
        changed(longitude=lambda it: -it["longitude"]),
        "sign of the longitudes turned",
    ),
    "sign of the latitudes": (changed(latitude=lambda it: -it["latitude"]), "sign of the latitudes turned"),
    "mixed ranges": (changed(longitude=every_other_from_0), "from 0 to 360, but others are negative"),
    "negatives marked": (
        changed(latitude=lambda it: it["latitude"].astype(str).str.replace("-", "\u00ac")),
        "notation that is not known, with '\u00ac'",
    ),
    "negatives in words": (
        changed(longitude=lambda it: it["longitude"].astype(str).str.replace("-", "minus ")),
        "notation that is not known, with",
    ),
    "a minus and a letter": (
        changed(latitude=lambda it: [f"{one}{'NS'[one < 0]}" for one in it["latitude"]]),
        "notation that is not known",
    ),
    "a minus behind": (
        changed(longitude=lambda it: [f"{abs(one)}{'-' * (one < 0)}" for one in it["longitude"]]),
        "notation that is not known",
    ),
    "negatives in brackets": (
        changed(longitude=lambda it: [f"({-one})" if one < 0 else f"{one}" for one in it["longitude"]]),
        "notation that is not known",
    ),
    "hemispheres in columns of their own": (
        changed(
            lat_ref=lambda it: np.where(it["latitude"] < 0, "S", "N"),
            lon_ref=lambda it: np.where(it["longitude"] < 0, "W", "E"),
            latitude=lambda it: it["latitude"].abs(),
            longitude=lambda it: it["longitude"].abs(),
        ),
        "hemispheres in a column of their own, 'lat_ref'",
    ),
    "thousands": (
        changed(latitude=lambda it: [f"{int(one * 1e6):,}".replace(",", ".") for one in it["latitude"]]),
        "between thousands",
    ),
    "ids that lost digits": (
        changed(id=lambda it: [f"{int(one):.5E}" for one in it["id"]]),
        "turned into floats and have lost digits",
    ),
    "WKT the wrong way round": (
        one_cell(lambda lat, lon: f"POINT({lat} {lon})"),
        "exchange the two in a copy",
    ),
    "names the wrong way round": (
        as_json(lambda rows: {one: place(lon, lat) for one, lat, lon in rows}),
        "name them the other way round",
    ),
    "from the pole": (changed(latitude=lambda it: 90 - it["latitude"]), "counted from the pole"),
    "gradians": (
        changed(latitude=lambda it: it["latitude"] / 0.9, longitude=lambda it: -199.5 + it.index * 6.5),
        "seem to be gradians",
    ),
    "times 1e7": (
        changed(latitude=lambda it: it["latitude"] * 1e7, longitude=lambda it: it["longitude"] * 1e7),
        "1e-7 degree",
    ),
    "words": (changed(latitude=lambda it: "north", longitude=lambda it: "east"), "not understood"),
    "places": (as_json(lambda rows: {one: "Paris, France" for one, *_ in rows}), "method place-names"),
}


def truth_of(name: str) -> dict[str, float]:
    row = world()[0].set_index("id").loc[name]
    return {"latitude": float(row["latitude"]), "longitude": float(row["longitude"])}


@pytest.mark.parametrize("name", REFUSED)
def test_no_figure_is_printed_for_what_is_not_understood(name: str, folder: Path) -> None:
    path = folder / "answers.any"
    write, words = REFUSED[name]
    write(path, world()[1])
    assert words in refusal(score(folder, path))


def test_exchanged_axes_are_refused_where_no_latitude_gives_them_away(tmp_path: Path) -> None:
    """As in a set of one continent: only the truth tells."""
    truth = world()[0]
    truth["longitude"] /= 3
    truth.to_csv(tmp_path / "truth.csv", index=False)
    exchanged(tmp_path / "answers.csv", truth.assign(latitude=truth["latitude"] + 1))
    message = refusal(score(tmp_path, tmp_path / "answers.csv"))
    assert "latitude and longitude exchanged" in message
    assert hits(score(tmp_path, tmp_path / "answers.csv", *fixed(message)))[2] == ROWS


def test_a_column_that_is_named_and_holds_the_truth_is_refused_beside_another_that_holds_places(
    folder: Path,
) -> None:
    path = folder / "answers.csv"
    truth_beside(lambda lat, lon: f"[{lat}, {lon}]", "response")(path, world()[1])
    named = ["--set", "latitude_column=LAT", "--set", "longitude_column=LON"]
    assert "--column answer=response" in refusal(score(folder, path, *named))


def test_a_plain_file_of_the_truth_is_refused_unless_it_is_meant(folder: Path) -> None:
    world()[0].round(5).to_csv(folder / "answers.csv", index=False)
    message = refusal(score(folder, folder / "answers.csv"))
    assert "are the truth itself" in message
    result = score(folder, folder / "answers.csv", *fixed(message))
    assert hits(result) == [ROWS] * 5
    assert "was the truth file given" in " ".join(json.loads(result.stdout)["notes"])


def test_the_same_few_answers_as_the_truth_are_right(folder: Path) -> None:
    world()[0].iloc[:19].to_csv(folder / "truth.csv", index=False)
    world()[0].iloc[:19].to_csv(folder / "answers.csv", index=False)
    assert json.loads(score(folder, folder / "answers.csv").stdout)["scores"]


def test_tables_in_python_are_held_to_the_same(folder: Path) -> None:
    truth, answers = world()
    with pytest.raises(UsageError, match="allow_truth=True"):
        api.score(truth, truth)
    assert api.score(truth, truth, allow_truth=True).estimates["acc_1km"].value == 100.0
    with pytest.raises(UsageError, match="columns="):
        api.score(answers.rename(columns={"latitude": "longitude", "longitude": "latitude"}), truth)
    with pytest.raises(UsageError, match="from the pole"):
        api.score(answers.assign(latitude=90 - answers["latitude"]), truth)


OTHER_CIRCLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "from the north pole": (lambda it: it.assign(latitude=90 - it["latitude"]), "90 minus each latitude"),
    "from the south pole": (lambda it: it.assign(latitude=90 + it["latitude"]), "subtract 90"),
    "gradians": (
        lambda it: it.assign(latitude=it["latitude"] / 0.9, longitude=it["longitude"] / 0.9),
        "by 0.9",
    ),
    "radians": (
        lambda it: it.assign(latitude=np.radians(it["latitude"]), longitude=np.radians(it["longitude"])),
        "--set units=radians",
    ),
    "from the antimeridian": (lambda it: it.assign(longitude=it["longitude"] + 180), "subtract 180 from"),
    "from the antimeridian, wrapped": (
        lambda it: it.assign(longitude=(it["longitude"] + 360) % 360 - 180),
        "subtract 180 from",
    ),
    "latitudes in radians": (
        lambda it: it.assign(latitude=np.radians(it["latitude"])),
        "multiply each latitude by 57.29577951",
    ),
    "longitudes in radians": (
        lambda it: it.assign(longitude=np.radians(it["longitude"])),
        "multiply each longitude by 57.29577951",
    ),
}


@pytest.mark.parametrize("rows", [6, 19, 24, ROWS])
@pytest.mark.parametrize("name", OTHER_CIRCLES)
def test_angles_of_another_circle_are_refused_where_no_value_gives_them_away(
    name: str, rows: int, folder: Path
) -> None:
    """North of the equator and away from the date line: only the truth tells."""
    truth = world()[0].iloc[:rows].reset_index(drop=True)
    truth["latitude"], truth["longitude"] = truth["latitude"].abs() % 35 + 2, truth["longitude"] / 2
    truth.to_csv(folder / "truth.csv", index=False)
    change, fix = OTHER_CIRCLES[name]
    answers = truth.assign(latitude=truth["latitude"] + 0.1)
    assert hits(score(folder, answers_file(folder, answers)))[1] == rows
    message = refusal(score(folder, answers_file(folder, change(answers))))
    if "exchanged" in message:  # no latitude beyond 180, no longitude beyond 90: it may well be so
        message = refusal(score(folder, answers_file(folder, change(answers)), *fixed(message)))
    assert fix in message


def answers_file(folder: Path, answers: pd.DataFrame) -> Path:
    answers.to_csv(folder / "answers.csv", index=False)
    return folder / "answers.csv"


def test_sentences_without_a_number_are_no_prediction(folder: Path) -> None:
    _, answers = world()
    cells = [f"({lat}, {lon})" for _, lat, lon in answers.itertuples(index=False)]
    cells[:3] = ["I cannot tell.", "unknown", ""]
    pd.DataFrame({"id": answers["id"], "reply": cells}).to_csv(folder / "answers.csv", index=False)
    result = score(folder, folder / "answers.csv", "--column", "answer=reply")
    (scores,) = json.loads(result.stdout)["scores"]
    assert (scores["counts"]["ok"], scores["counts"]["no prediction"]) == (ROWS - 3, 3)


def test_an_answer_column_is_not_an_option_for_a_run(folder: Path) -> None:
    words = ["score", "some@run", "--column", "answer=x", "--home", str(folder)]
    assert "scored as a run" in CliRunner().invoke(cli, words).stderr
    words = ["score", "some@run", "--set", "order=lonlat", "--home", str(folder)]
    assert "scored as a run" in CliRunner().invoke(cli, words).stderr


# The examples that were reported

CASES: Sequence[tuple[str, tuple[str, ...]]] = [
    *(
        (name, ())
        for name in ("03-semicolon-decimal-comma.csv", "18-struct-column.parquet", "19-list-string.csv")
    ),
    *((name, ()) for name in ("20-dms.csv", "21-unicode-minus.csv", "26-lon-0-360.csv", "30-records.json")),
    *((name, ()) for name in ("31-records.jsonl", "7-imageo.jsonl")),
    ("29-dict-lonlat.json", ("--set", "order=lonlat")),
    ("1-gt-pair-and-text.json", ("--column", "answer=response")),
]


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "fix"), CASES)
def test_reported_answers_score_as_the_baseline_they_are_made_of(
    name: str, fix: tuple[str, ...], real_data: Path, tmp_path: Path
) -> None:
    file = real_data.parent / "cases" / "answers" / name
    if not file.exists():
        pytest.skip(f"the folder beside {os.environ['PINPOINT_REAL_DATA']} holds no {name}")
    where: dict[str, Any] = {"dataset": "osv5m", "data": real_data / "osv5m"}
    if fix:
        message = refusal(score(tmp_path, file, **where))
        assert shlex.join(fix) in message
    assert hits(score(tmp_path, file, *fix, **where)) == [0, 17, 34, 45, 59]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("48 N 2 W", None),  # a number without sign or point may be a road
        ("at 48.85° N and 2.35° W", (48.85, -2.35)),
        ("at -48.85° N and 2.35° W", None),
        ("at 48.85° N, 2.35° W, not 48.95° N", None),
        ("Take I-95 N to exit 40 E", None),
        ("5 N 3 E of Paris (48.1, 2.3)", (48.1, 2.3)),
    ],
)
def test_a_sentence_names_a_place_by_letters_only_where_it_names_one(text: str, place: Any) -> None:
    assert read_place(f"Perhaps {text}.", prose=True) == place
