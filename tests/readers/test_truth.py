"""Finding, reading and refusing truth files: `pinpoint_harness.readers.truth`."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness import load_dataset
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.photo_ids import truth_hash
from pinpoint_harness.readers import Layout, Refusal, TableDataset, TableForm, Truth, TruthSpec
from pinpoint_harness.readers.prediction_files import read_answers
from pinpoint_harness.readers.truth import read_truth
from pinpoint_harness.types import DataLocation, DatasetInfo

INFO = DatasetInfo(title="Toy", source="example.org/toy.zip", licence="none")
VERBATIM = TruthSpec(name="toy", info=INFO, files=("toy.csv", "toy.txt"), folders=("sub",), ids="verbatim")
FLICKR = replace(VERBATIM, ids="flickr")

PLAIN = "IMG_ID,LAT,LON\na.jpg,48.85,2.35\nb.jpg,-33.87,151.21\n"


def read(
    content: str, folder: Path, spec: TruthSpec = VERBATIM, name: str = "toy.csv", **columns: str
) -> Truth:
    (folder / name).write_text(content, encoding="utf-8")
    return read_truth(spec, DataLocation(folder / name, columns))


def refused(content: str, folder: Path, spec: TruthSpec = VERBATIM, **columns: str) -> DataError:
    with pytest.raises(DataError) as caught:
        read(content, folder, spec, **columns)
    return caught.value


def first(frame: pd.DataFrame, *names: str) -> list[object]:
    """The named cells of the first row."""
    return [frame[name].iloc[0] for name in names]


# The frame


def test_a_truth_has_six_columns_and_one_row_per_photo(tmp_path: Path) -> None:
    frame = read(PLAIN, tmp_path).frame
    assert list(frame.columns) == ["id", "image", "latitude", "longitude", "author", "source"]
    assert frame["id"].tolist() == frame["image"].tolist() == ["a.jpg", "b.jpg"]
    assert frame["latitude"].tolist() == [48.85, -33.87]
    assert frame["longitude"].tolist() == [2.35, 151.21]
    assert frame["author"].isna().all()
    assert frame["source"].tolist() == ["photos", "photos"]
    assert frame["latitude"].dtype == frame["longitude"].dtype == np.float64


def test_the_truth_knows_its_file(tmp_path: Path) -> None:
    truth = read(PLAIN, tmp_path)
    assert truth.path == tmp_path / "toy.csv"
    assert truth.sha256 == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert truth.notes == ()


def test_a_flickr_truth_is_keyed_by_the_digits_and_keeps_the_spelling(tmp_path: Path) -> None:
    frame = read("IMG_ID,LAT,LON\n47/5d/97.jpg,1,2\n", tmp_path, FLICKR).frame
    assert first(frame, "id", "image") == ["97", "47/5d/97.jpg"]


@pytest.mark.parametrize(
    "header",
    [
        "IMG_ID,LAT,LON", "img_id,lat,lng", "IMG_FILE,Latitude,Longitude", "image,lat,long",
        "image_path,gt_lat,gt_long", "file_name,lat,lon", "photo_id,latitude,longitude",
        "id,latitude,longitude", "key,LAT,LNG",
    ],
)  # fmt: skip
def test_every_alias_of_a_role_is_known_whatever_its_case(tmp_path: Path, header: str) -> None:
    frame = read(f"extra,{header}\nx,a,1.5,-2.5\n", tmp_path).frame
    assert first(frame, "id", "latitude", "longitude") == ["a", 1.5, -2.5]


def test_of_two_possible_columns_the_one_used_is_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pinpoint_harness.readers.truth"):
        truth = read("id,IMG_ID,LAT,LON\n0,a.jpg,1,2\n", tmp_path)
    assert truth.frame["id"].tolist() == ["a.jpg"]
    assert truth.notes == ("the id is taken from column 'IMG_ID', not from 'id'",)
    assert caplog.messages == [f"toy.csv: {truth.notes[0]}"]
    assert read("id,IMG_ID,LAT,LON\n0,a.jpg,1,2\n", tmp_path, id="id").notes == ()


def test_columns_can_be_chosen_by_name(tmp_path: Path) -> None:
    content = "name,y,x,who,kind,file,LAT\na,1,2,me,streetview,p/a.png,9\nb,3,4,,,p/b.png,9\n"
    frame = read(
        content,
        tmp_path,
        id="name",
        latitude="Y",
        longitude="x",
        author="who",
        source="kind",
        image="file",
    ).frame
    assert frame["id"].tolist() == ["a", "b"]
    assert frame[["latitude", "longitude"]].to_numpy().tolist() == [[1, 2], [3, 4]]
    assert frame["author"].isna().tolist() == [False, True]
    assert frame["author"][0] == "me"
    assert frame["source"].tolist() == ["streetview", "photos"]
    assert frame["image"].tolist() == ["p/a.png", "p/b.png"]


def test_columns_of_a_file_without_header_are_chosen_by_number(tmp_path: Path) -> None:
    frame = read("x,a.jpg,1,2\nx,b.jpg,3,4\n", tmp_path, id="1", latitude="2", longitude="3").frame
    assert frame["id"].tolist() == ["a.jpg", "b.jpg"]
    assert frame["longitude"].tolist() == [2, 4]


def test_a_file_without_header_asks_for_the_numbers(tmp_path: Path) -> None:
    error = refused("a.jpg,1,2\n", tmp_path)
    assert "no column for: id, latitude, longitude" in error.problem
    assert error.found == "3 columns without a header; the first row is a.jpg, 1, 2"
    options = "--column id=NUMBER --column latitude=NUMBER --column longitude=NUMBER"
    assert error.fix == f"choose the columns: {options}, counted from 0"


def test_a_message_shows_coordinates_as_the_file_spells_them(tmp_path: Path) -> None:
    error = refused("id,lat,lon\n1,10.50,20\n2,95.500,1e1\n3,3,4\n", tmp_path)
    assert "line 3: '2' (95.500, 1e1)" in str(error)


def test_numbers_as_ids_are_checked_like_other_ids(tmp_path: Path) -> None:
    assert "id" in read("id,lat,lon\n007,1,2\n7,3,4\n8,5,6\n", tmp_path).frame
    for broken, words in [("7,1,2\n7,3,4", "more than once"), (" 7,1,2\n7 ,3,4", "more than once")]:
        assert words in str(refused(f"id,lat,lon\n{broken}\n", tmp_path))
    assert "no id" in str(refused("id,lat,lon\n1,1,2\n,3,4\n", tmp_path))


def test_an_author_is_one_however_the_cell_is_spelled(tmp_path: Path) -> None:
    rows = "".join(f"{row},1,{row},{who}\n" for row, who in enumerate(["7.0", "7", " 7 ", "", "NaN", "8.5"]))
    author = read(f"id,lat,lon,author\n{rows}", tmp_path).frame["author"]
    assert author.fillna("").tolist() == ["7", "7", "7", "", "", "8.5"]


def test_a_lacking_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    error = refused("id,lat,y\na,1,2\n", tmp_path)
    assert error.problem.endswith("has no column for: longitude")
    assert error.found == "the columns id, lat, y"
    assert error.fix == "choose the columns: --column longitude=NAME"


def test_an_unknown_column_or_role_is_an_error(tmp_path: Path) -> None:
    assert refused(PLAIN, tmp_path, latitude="y").found == "the columns IMG_ID, LAT, LON"
    assert "roles are: id, latitude" in str(refused(PLAIN, tmp_path, altitude="LAT"))


def test_extra_columns_are_kept_where_asked_for_and_present(tmp_path: Path) -> None:
    content = "id,lat,lon,country,region,junk\na,1,2,NA,NaN,x\nb,3,4,FR,,y\n"
    spec = replace(VERBATIM, extras=("country", "region", "city"), hole="NaN")
    frame = read(content, tmp_path, spec).frame
    assert list(frame.columns[6:]) == ["country", "region"]
    assert frame["country"].tolist() == ["NA", "FR"]  # Namibia is a country
    assert frame["region"].isna().all()


def test_all_columns_can_be_kept_and_none_is_lost_to_a_name(tmp_path: Path) -> None:
    content = "IMG_ID,lat,lon,id,note,longitude\na,1,2,7,NaN,east\n"
    frame = read(content, tmp_path, replace(VERBATIM, extras=None)).frame
    assert first(frame, "id", "id (file)", "note", "longitude", "longitude (file)") == [
        "a", "7", "NaN", 2.0, "east",
    ]  # fmt: skip


def test_parquet_is_read_without_losing_digits(tmp_path: Path) -> None:
    table = pa.table({"id": [4887875507910938, 87], "latitude": [0.1, 1 / 3], "longitude": [1e-9, -179.9]})
    pq.write_table(table, tmp_path / "toy.csv")
    frame = read_truth(VERBATIM, DataLocation(tmp_path)).frame
    assert frame["id"].tolist() == ["4887875507910938", "87"]
    assert frame[["latitude", "longitude"]].to_numpy().tolist() == [[0.1, 1e-9], [1 / 3, -179.9]]


@given(
    st.lists(
        st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.integers(0, 10**16)),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[2],
    )
)
@settings(max_examples=50, deadline=None)
def test_coordinates_and_ids_survive_to_the_last_digit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, int]]
) -> None:
    content = "id,lat,lon\n" + "".join(f"{key},{lat!r},{lon!r}\n" for lat, lon, key in rows)
    frame = read(content, tmp_path_factory.mktemp("truth")).frame
    assert frame["id"].tolist() == [str(key) for _, _, key in rows]
    assert list(zip(frame["latitude"], frame["longitude"], strict=True)) == [row[:2] for row in rows]


# Authors


def test_an_author_that_was_a_float_loses_the_point(tmp_path: Path) -> None:
    content = "id,lat,lon,creator_id\na,1,2,102042145433290.0\nb,3,4,NaN\nc,5,6,\nd,7,8,12.5\ne,7,8,x.0\n"
    author = read(content, tmp_path).frame["author"]
    assert author.isna().tolist() == [False, True, True, False, False]
    assert author.dropna().tolist() == ["102042145433290", "12.5", "x.0"]


def test_authors_with_holes_survive_a_parquet_file(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "lat": [1.0, 2], "lon": [1.0, 2], "creator_id": [1234567890123456.0, None]}
    pq.write_table(pa.table(columns), tmp_path / "toy.csv")
    author = read_truth(VERBATIM, DataLocation(tmp_path)).frame["author"]
    assert author[0] == "1234567890123456"
    assert author.isna().tolist() == [False, True]


def test_a_flickr_name_tells_its_author_where_the_column_does_not(tmp_path: Path) -> None:
    content = "image,lat,lng\n1_ab_2_78841376@N00.jpg,1,2\n47/5d/97.jpg,3,4\n"
    author = read(content, tmp_path, FLICKR).frame["author"]
    assert author[0] == "78841376@N00"
    assert author.isna().tolist() == [False, True]


def test_the_authors_im2gps_gets_wrong_are_corrected_and_noted(tmp_path: Path) -> None:
    content = (
        "IMG_ID,AUTHOR,LAT,LON\n"
        "Ankara_00003_601190107_9f05b2251e_1292_8504005@N07.jpg,9f05b2251e_1292_8504005@N07,39.9,32.8\n"
        "104123223_7410c654ba_19_19355699@N00.jpg,19355699@N00,-16.6,145.5\n"
    )
    truth = read(content, tmp_path, FLICKR)
    assert truth.frame["author"].tolist() == ["8504005@N07", "19355699@N00"]
    assert truth.notes == ("1 authors are taken from the image names, which contradict column 'AUTHOR'",)


# Rows that cannot be scored


def test_duplicate_ids_are_named_side_by_side_with_their_lines(tmp_path: Path) -> None:
    error = refused("IMG_ID,LAT,LON\n1.jpg,1,2\n2.jpg,1,2\naa/bb/1.jpg,5,6\n", tmp_path, FLICKR)
    assert "2 of 3 ids occur more than once" in error.problem
    assert error.found == "line 2: '1.jpg', line 4: 'aa/bb/1.jpg'"


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [("12079554.0", "12079554"), ("5.", "5"), ("1.20e+1", "12"), ("'7'", "7"), ('"x.5"', "x.5")],
)
def test_an_id_that_was_a_whole_float_or_is_in_quotes_is_read(
    tmp_path: Path, spelled: str, plain: str
) -> None:
    truth = read(f"id\tlat\tlon\na\t1\t2\n{spelled}\t1\t2\n", tmp_path)
    assert truth.frame["id"].tolist() == ["a", plain]


@pytest.mark.parametrize("name", ["1.2079554696396e+15", "1.20796E+15", "12079554.5", "4E+15", "2e+16"])
def test_an_id_that_was_a_float_and_lost_digits_is_refused(tmp_path: Path, name: str) -> None:
    error = refused(f"id,lat,lon\na,1,2\n{name},1,2\n", tmp_path)
    assert "floating point" in error.problem
    assert error.found == f"line 3: '{name}'"


@pytest.mark.parametrize("name", ["1e5", "00e9", "v1.0.jpg", "1.2.3", "1207955469639614"])
def test_an_id_that_only_resembles_a_float_is_kept(tmp_path: Path, name: str) -> None:
    # Hexadecimal names look like `1e5`; programs that write floats write `1e+05`.
    assert read(f"id,lat,lon\n{name},1,2\n", tmp_path).frame["id"].tolist() == [name]


def test_a_float_id_in_parquet_is_refused_once_its_digits_are_lost(tmp_path: Path) -> None:
    columns = {"id": [1.0, 2.0**54], "lat": [1.0, 2.0], "lon": [1.0, 2.0]}
    pq.write_table(pa.table(columns), tmp_path / "toy.csv")
    with pytest.raises(DataError, match="lose digits") as caught:
        read_truth(VERBATIM, DataLocation(tmp_path))
    assert str(caught.value.found).startswith("row 2: '1.80143985")


def test_a_row_without_id_is_refused(tmp_path: Path) -> None:
    assert refused("id,lat,lon\na,1,2\n,3,4\n", tmp_path).found == "line 3: ''"


def test_a_flickr_set_refuses_other_names(tmp_path: Path) -> None:
    error = refused("id,lat,lon\n1.jpg,1,2\nphoto.jpg,3,4\n", tmp_path, FLICKR)
    assert "1 of 2 ids hold no Flickr photo number" in error.problem
    assert error.found == "line 3: 'photo.jpg'"


@pytest.mark.parametrize("cell", ["", "NaN", "nan", "inf", "north", "1.2.3", "0x10", "--1"])
def test_a_row_without_coordinate_is_refused_with_line_and_id(tmp_path: Path, cell: str) -> None:
    error = refused(f"id,lat,lon\na,1,2\n\nb,{cell},4\n", tmp_path)
    assert "1 of 2 rows have no usable coordinate" in error.problem
    assert error.found == f"line 4: 'b' ({cell}, 4)"


def test_only_the_first_offending_rows_are_listed(tmp_path: Path) -> None:
    error = refused("id,lat,lon\n" + "".join(f"{i},x,0\n" for i in range(2007)), tmp_path)
    assert str(error.found).count("line") == 5
    assert str(error.found).endswith("and 2,002 more")


def test_a_decimal_comma_is_read_and_noted(tmp_path: Path) -> None:
    truth = read("id;lat;lon\na;48,85;-2,35\n", tmp_path)
    assert first(truth.frame, "latitude", "longitude") == [48.85, -2.35]
    assert truth.notes == ("coordinates are read as decimal commas",)


def test_blanks_around_a_number_do_not_matter(tmp_path: Path) -> None:
    frame = read("id, lat, lon\n a , 1.5 ,\t-2\n", tmp_path).frame
    assert first(frame, "id", "latitude", "longitude") == ["a", 1.5, -2.0]


@pytest.mark.parametrize(("lat", "lon"), [("90", "180"), ("-90", "-180"), ("+1e1", ".5")])
def test_the_edges_of_the_globe_belong_to_it(tmp_path: Path, lat: str, lon: str) -> None:
    frame = read(f"id,lat,lon\na,{lat},{lon}\n", tmp_path).frame
    assert first(frame, "latitude", "longitude") == [float(lat), float(lon)]


def test_a_coordinate_off_the_globe_is_refused(tmp_path: Path) -> None:
    error = refused("id,lat,lon\na,1,-100\nb,90.001,150\nc,1,-180.5\n", tmp_path)
    assert "2 of 3 coordinates are out of range" in error.problem
    assert error.found == "line 3: 'b' (90.001, 150), line 4: 'c' (1, -180.5)"


def test_exchanged_axes_are_recognised_and_never_scored(tmp_path: Path) -> None:
    swapped = "IMG_ID,LON,LAT\n1.jpg,48.85,2.35\n2.jpg,-33.87,151.21\n3.jpg,40.71,-74.0\n"
    error = refused(swapped, tmp_path, FLICKR)
    assert "1 of 3 latitudes lie beyond 90 degrees" in error.problem
    assert "2018-2020" in error.problem
    assert "--column latitude=LON --column longitude=LAT" in str(error.fix)
    # Said explicitly, it is read the other way round.
    frame = read(swapped, tmp_path, FLICKR, latitude="LON", longitude="LAT").frame
    assert frame["longitude"].tolist() == [2.35, 151.21, -74.0]


def test_longitudes_from_0_to_360_are_explained_and_not_converted(tmp_path: Path) -> None:
    error = refused("id,lat,lon\na,1,350\nb,2,10\n", tmp_path)
    assert "from 0 to 360" in error.problem
    assert error.found == "line 2: 'a' (1, 350)"


# Which file


def test_the_folder_itself_comes_before_its_named_folders(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "toy.csv").write_text(PLAIN)
    assert read_truth(VERBATIM, DataLocation(tmp_path)).path == tmp_path / "sub" / "toy.csv"
    (tmp_path / "toy.txt").write_text(PLAIN)
    assert read_truth(VERBATIM, DataLocation(tmp_path)).path == tmp_path / "toy.txt"


def test_two_truth_files_in_one_folder_are_an_error_that_names_them(tmp_path: Path) -> None:
    for name in VERBATIM.files:
        (tmp_path / name).write_text(PLAIN)
    with pytest.raises(DataError, match="holds 2 truth files of toy") as caught:
        read_truth(VERBATIM, DataLocation(tmp_path))
    assert caught.value.found == "toy.csv, toy.txt"
    assert len(read_truth(VERBATIM, DataLocation(tmp_path / "toy.txt")).frame) == 2


def test_nothing_deeper_than_the_named_folders_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "other" / "sub").mkdir(parents=True)
    (tmp_path / "other" / "sub" / "toy.csv").write_text(PLAIN)
    with pytest.raises(DataError, match="truth of toy was not found") as caught:
        read_truth(VERBATIM, DataLocation(tmp_path))
    assert caught.value.found == f"no toy.csv or toy.txt in '{tmp_path}', '{tmp_path / 'sub'}'"
    assert "example.org/toy.zip" in str(caught.value.fix)


def test_without_a_path_the_shared_folder_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PINPOINT_DATA", str(tmp_path))
    (tmp_path / "toy.csv").write_text(PLAIN)
    assert read_truth(VERBATIM, DataLocation()).path == tmp_path / "toy.csv"
    (tmp_path / "toy" / "sub").mkdir(parents=True)
    (tmp_path / "toy" / "sub" / "toy.csv").write_text(PLAIN)
    assert read_truth(VERBATIM, DataLocation()).path == tmp_path / "toy" / "sub" / "toy.csv"


def test_without_any_path_the_error_says_how_to_get_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINPOINT_DATA", raising=False)
    with pytest.raises(DataError, match="PINPOINT_DATA is not set") as caught:
        read_truth(VERBATIM, DataLocation())
    assert (
        caught.value.fix
        == "--data PATH names toy.csv or toy.txt, or its folder; published at example.org/toy.zip"
    )


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        read_truth(VERBATIM, DataLocation(tmp_path / "absent"))


# What a declaration can say


def test_a_layout_applies_to_its_file_name_only(tmp_path: Path) -> None:
    layout = Layout("toy.txt", delimiter=" ", positions={"id": 0, "latitude": 2, "longitude": 1})
    spec = replace(VERBATIM, layouts=(layout,))
    truth = read("p/a.jpg   2.35  48.85\np/b.jpg 151.21 -33.87\n", tmp_path, spec, name="toy.txt")
    assert truth.frame["latitude"].tolist() == [48.85, -33.87]
    assert read(PLAIN, tmp_path, spec).frame["latitude"].tolist() == [48.85, -33.87]


def test_a_choice_of_column_goes_before_the_layout(tmp_path: Path) -> None:
    layout = Layout("toy.csv", positions={"id": 0, "latitude": 1, "longitude": 2})
    frame = read("a,1,2,3\n", tmp_path, replace(VERBATIM, layouts=(layout,)), longitude="3").frame
    assert frame["longitude"].tolist() == [3.0]


def test_a_refusal_is_raised_before_the_columns_are_looked_at(tmp_path: Path) -> None:
    def is_odd(form: TableForm) -> bool:
        return form.sample[0][0] == "odd"

    spec = replace(VERBATIM, refusals=(Refusal("a well-known wrong file", "get the right one", is_odd),))
    error = refused("name,x\nodd,1\n", tmp_path, spec)
    assert (error.found, error.fix) == ("a well-known wrong file", "get the right one")
    assert "not the truth of toy" in error.problem


def test_a_refusal_can_go_by_the_number_of_rows(tmp_path: Path) -> None:
    spec = replace(VERBATIM, refusals=(Refusal("this is another set", "use that", rows=2),))
    assert refused(PLAIN, tmp_path, spec).found == "2 rows: this is another set"


def test_an_unexpected_count_is_a_warning_with_its_known_cause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = replace(VERBATIM, info=replace(INFO, expected_rows=3), row_counts={2: "one has vanished"})
    with caplog.at_level(logging.WARNING, "pinpoint_harness.readers.truth"):
        truth = read(PLAIN, tmp_path, spec)
    assert truth.notes == ("2 rows where toy has 3: one has vanished",)
    assert caplog.messages == [f"toy.csv: {truth.notes[0]}"]
    assert read(PLAIN + "c,1,2\n", tmp_path, spec).notes == ()
    assert "published results" in read("id,lat,lon\nd,1,2\n", tmp_path, spec).notes[0]
    assert "4 rows, more than the 3" in str(refused(PLAIN + "c,1,2\nd,1,2\n", tmp_path, spec).found)


def test_a_table_without_rows_is_an_error(tmp_path: Path) -> None:
    assert "has no rows" in refused("id,lat,lon\n", tmp_path).problem


def test_the_readers_notes_are_the_truths_notes(tmp_path: Path) -> None:
    (tmp_path / "toy.csv").write_bytes("id,lat,lon,city\na,1,2,Zürich\n".encode("cp1252"))
    truth = read_truth(replace(VERBATIM, extras=None), DataLocation(tmp_path))
    assert truth.frame["city"].tolist() == ["Zürich"]
    assert "Windows-1252" in truth.notes[0]


def test_a_dataset_is_a_class_with_a_declaration(tmp_path: Path) -> None:
    class Toy(TableDataset):
        spec = VERBATIM

    (tmp_path / "toy.csv").write_text(PLAIN)
    dataset = Toy(DataLocation(tmp_path))
    assert dataset.info is INFO
    pd.testing.assert_frame_equal(dataset.truth(), dataset.read().frame)
    assert truth_hash(dataset.truth()) == truth_hash(dataset.truth().iloc[::-1])


# What stands or falls together


def test_a_declared_cluster_column_is_what_intervals_are_by(tmp_path: Path) -> None:
    from tests.support.truth_runs import run_of

    from pinpoint_harness.evaluation import score_run

    info = replace(INFO, cluster_column="sequence")
    rows = "".join(f"{row}.jpg,{row},1,ann,s{row // 2}\n" for row in range(1, 9))
    for header, words in (("sequence", "5 clusters by sequence"), ("other", "1 cluster by author")):
        path = tmp_path / f"{header}.csv"
        path.write_text(f"id,lat,lon,author,{header}\n{rows}")
        run = run_of(replace(VERBATIM, info=info), path, tmp_path / "runs")
        assert score_run(run, "wgs84-lt").clusters.startswith(words)
        assert set(run.predictions()["author"]) == {"ann"}


def test_every_spelling_of_unknown_is_no_photographer(tmp_path: Path) -> None:
    words = ["None", "null", "N/A", "unknown", "-", "NaN", "#N/A", " Unknown ", "\\N"]
    rows = "".join(f"{row},1,2,{word}\n" for row, word in enumerate(["x", *words]))
    assert (
        read(f"id,lat,lon,author\n{rows}", tmp_path).frame["author"].isna().tolist() == [False] + [True] * 9
    )


def test_one_author_of_most_rows_is_noted(tmp_path: Path) -> None:
    def notes(first: int) -> tuple[str, ...]:
        rows = "".join(f"{row},1,{row},{'me' if row < first else row}\n" for row in range(40))
        return read(f"id,lat,lon,author\n{rows}", tmp_path).notes

    assert notes(10) == ()
    assert notes(11)[0].startswith("one author, 'me', holds 11 of 40 rows")


def test_rows_at_null_island_are_named(tmp_path: Path) -> None:
    truth = read("id,lat,lon\na,48.85,2.35\nb,0.0,0\nc,-0.0,0e0\n", tmp_path)
    assert "2 of 3 rows lie at exactly (0, 0)" in truth.notes[0]
    assert truth.notes[0].endswith("line 3: 'b', line 4: 'c'")


@pytest.mark.parametrize("sentinels", [0, 2])
def test_a_truth_in_radians_is_refused(sentinels: int, tmp_path: Path) -> None:
    rows = "".join(f"{row},{row / 40 - 0.7},{row / 20 - 1}\n" for row in range(60))
    rows += "".join(f"far{row},90,180\n" for row in range(sentinels))
    assert "look like radians" in refused(f"id,lat,lon\n{rows}", tmp_path).args[0]


@pytest.mark.parametrize(("count", "decimals"), [(1, 6), (2, 15), (3, 3), (12, 3)])
def test_a_truth_of_few_rows_in_radians_is_refused_as_answers_are(
    count: int, decimals: int, tmp_path: Path
) -> None:
    places = [(math.radians(48.8566 - 7 * row), math.radians(2.3522 + 11 * row)) for row in range(count)]
    rows = "".join(f"p{row},{a:.{decimals}f},{b:.{decimals}f}\n" for row, (a, b) in enumerate(places))
    assert "look like radians" in refused(f"id,lat,lon\n{rows}", tmp_path).args[0]
    (tmp_path / "answers.csv").write_text(f"id,lat,lon\n{rows}")
    with pytest.raises(UsageError, match="look like radians"):
        read_answers(tmp_path / "answers.csv")


def test_an_example_within_a_few_degrees_of_null_island_is_no_radians(tmp_path: Path) -> None:
    for rows in ("a,0.5,1.25\n", "a,0.5125,1\nb,1,2\n", "a,0.25,1\nb,0.5,2.75\nc,1.5,3\n"):
        assert len(read(f"id,lat,lon\n{rows}", tmp_path).frame) == rows.count("\n")
    table = pd.DataFrame({"id": ["a"], "lat": np.float32([0.1]), "lon": np.float32([3.1])})
    table.to_parquet(tmp_path / "t.parquet")
    assert len(load_dataset("table", tmp_path / "t.parquet")) == 1


def test_places_near_null_island_and_many_at_it_are_no_radians(tmp_path: Path) -> None:
    rows = "".join(f"{row},0,0\n" for row in range(50)) + "".join(
        f"x{row},4{row % 9},2\n" for row in range(10)
    )
    assert len(read(f"id,lat,lon\n{rows}", tmp_path).frame) == 60


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ("\u221233,9\t151,2", (-33.9, 151.2)),
        ("48.8°\t2.35°", (48.8, 2.35)),
        ("33.9S\t151.2 E", (-33.9, 151.2)),
        ("48°51'24\"N\t2°21'7.2\"W", (48 + 51 / 60 + 24 / 3600, -(2 + 21 / 60 + 7.2 / 3600))),
    ],
)
def test_every_clear_notation_is_read(cells: str, place: tuple[float, float], tmp_path: Path) -> None:
    frame = read(f"id\tlat\tlon\na\t{cells}\nb\t1\t2\n", tmp_path).frame
    assert first(frame, "latitude", "longitude") == pytest.approx(place)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("48.853.412,2.350", "dots or commas between thousands"),
        ("488534120,23522190", "1e-7 degree"),
        ("33.9~,151.2", "not known, with '~'"),
        ("-33.9S,151.2", "not known"),
    ],
)
def test_a_notation_that_is_not_clear_is_refused_with_what_it_looks_like(
    pair: str, words: str, tmp_path: Path
) -> None:
    assert words in str(refused(f"id,lat,lon\na,{pair}\n", tmp_path))
