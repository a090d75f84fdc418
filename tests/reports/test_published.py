"""Published figures: all of them are read, and a file that cannot be right is refused by line."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import pytest

from pinpoint_harness.errors import DataError
from pinpoint_harness.reports.tables import published, render
from pinpoint_harness.reports.tables.published import read_published, read_rows

FOLDER = Path(__file__).parents[2] / "results" / "pinpoint_results" / "published"
COLUMNS = "method,source,mllm,web,acc_1km,acc_25km,protocol,views,n,gallery,author_filter,verified,note"
GOOD = "GeoX,arXiv:1,yes,no,1.5,20,wgs84-lt,1,4536,MP-16,no,copied,a remark"


def write(folder: Path, *lines: str, columns: str = COLUMNS) -> Path:
    file = folder / "extra.csv"
    file.write_text("\n".join([columns, *lines]) + "\n", encoding="utf-8")
    return file


def records(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("im2gps3k.csv", 40),
        ("yfcc4k.csv", 31),
        ("osv5m.csv", 9),
        ("osv5m_admin.csv", 13),
        ("im2gps.csv", 4),
        ("yfcc26k.csv", 3),
        ("gws15k.csv", 10),
    ],
)
def test_every_row_and_every_cell_of_the_published_files_is_read(name: str, count: int) -> None:
    rows = read_rows(FOLDER / name)
    assert len(rows) == count
    for row, record in zip(rows, records(name), strict=True):
        texts = ("method", "source", "mllm", "web", "protocol", "views", "n", "gallery", "author_filter")
        for column in (*texts, "verified", "note"):
            assert getattr(row, column) == record[column]
        figures = {
            column: text for column, text in record.items() if column.startswith(("acc_", "mean", "geo"))
        }
        assert {name: cell.value for name, cell in row.cells.items()} == {
            name: float(text) for name, text in figures.items() if text
        }
        assert row.kind == "published"


@pytest.mark.parametrize(
    ("dataset", "count"), [("im2gps3k", 40), ("yfcc4k", 31), ("osv5m", 20), ("im2gps", 4), ("gws15k", 10)]
)
def test_a_datasets_files_are_found_by_its_name(dataset: str, count: int) -> None:
    assert len(read_published(dataset)) == count


def test_rows_of_one_method_in_two_files_become_one_and_other_rows_stay_apart() -> None:
    rows = {row.method: row for row in read_published("osv5m")}
    assert {name: cell.value for name, cell in rows["Pinpoint"].cells.items()} == {
        "acc_25km": 35.6,
        "acc_200km": 67.5,
        "acc_750km": 83.7,
        "acc_2500km": 93.2,
        "geoscore": 4114.0,
        "mean_km": 743.0,
        "acc_city": 26.0,
    }
    assert set(rows["Pinpoint, retrieval only"].cells) >= {"acc_25km", "geoscore"}
    assert set(rows["StreetCLIP zero-shot"].cells).isdisjoint({"acc_25km"})


def test_a_row_is_merged_only_where_nothing_it_says_differs(tmp_path: Path) -> None:
    columns = COLUMNS.replace("acc_1km,acc_25km", "geoscore")
    same = "Pinpoint,arXiv:2606.04133,no,no,4000,wgs84-lt,1,4536,MP16-Pro,no,copied,"
    rows = read_published("yfcc4k", extra=[write(tmp_path, same, columns=columns)])
    assert [sorted(row.cells)[-1] for row in rows if row.method == "Pinpoint"] == ["geoscore"]
    filtered = same.replace(",no,copied", ",yes,copied")
    rows = read_published("yfcc4k", extra=[write(tmp_path, filtered, columns=columns)])
    assert [row.author_filter for row in rows if row.method == "Pinpoint"] == ["no", "yes"]
    other = same.replace("4000", "30.0")
    rows = read_published(
        "yfcc4k", extra=[write(tmp_path, other, columns=columns.replace("geoscore", "acc_1km"))]
    )
    assert [row.value("acc_1km") for row in rows if row.method == "Pinpoint"] == [33.0, 30.0]


def test_every_published_row_stands_in_the_table_of_its_dataset() -> None:
    metrics = ("acc_1km", "acc_25km", "acc_200km", "acc_750km", "acc_2500km", "geoscore", "acc_country")
    for dataset, files in {"im2gps3k": ["im2gps3k.csv"], "osv5m": ["osv5m.csv", "osv5m_admin.csv"]}.items():
        rows = read_published(dataset)
        text = render(rows, metrics, "csv", title=dataset)
        shown = {line["method"] for line in csv.DictReader(text.splitlines())}
        assert shown == {record["method"] for file in files for record in records(file)}
        assert "**" not in render(rows, metrics, "md", title=dataset)


def test_a_dataset_without_published_figures_has_no_rows() -> None:
    assert read_published("mini-earth") == []
    assert read_published("mp16") == []


def test_the_files_are_read_from_inside_a_zip_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(FOLDER / "yfcc4k.csv", "published/yfcc4k.csv")
    with zipfile.ZipFile(archive) as file:
        monkeypatch.setattr(published, "files", lambda package: zipfile.Path(file))
        assert len(read_published("yfcc4k")) == 31


def test_a_users_own_file_follows_the_published_rows(tmp_path: Path) -> None:
    row = read_published("yfcc4k", extra=[write(tmp_path, GOOD)], total=4536)[-1]
    assert (row.method, row.note, row.total, row.cells["acc_25km"].n) == ("GeoX", "a remark", 4536, 4536)


def test_blank_figures_are_absent_and_blank_words_unstated(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, "GeoX,,,,,20,,,,,,,"))
    assert set(row.cells) == {"acc_25km"}
    assert {row.mllm, row.web, row.protocol, row.views, row.n, row.gallery, row.author_filter} == {"?"}
    assert row.verified == "?"


def test_the_number_a_count_begins_with_is_its_n(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, GOOD.replace("4536", "4096 (last batch dropped)")))
    assert (row.n, row.cells["acc_1km"].n) == ("4096 (last batch dropped)", 4096)


@pytest.mark.parametrize(
    ("found", "put", "message"),
    [
        ("1.5", "101", r"extra.csv, line 3: acc_1km is '101'"),
        ("1.5", "-1", r"extra.csv, line 3: acc_1km is '-1'"),
        ("1.5", "nan", r"extra.csv, line 3: acc_1km is 'nan'"),
        ("1.5", "1_5", r"extra.csv, line 3: acc_1km is '1_5'"),
        ("1.5", "7 %", r"extra.csv, line 3: acc_1km is '7 %'"),
        ("1.5", "20.1", r"extra.csv, line 3: acc_1km is above acc_25km"),
        (",yes,", ",maybe,", r"extra.csv, line 3: mllm 'maybe' is unknown"),
        (",no,1.5", ",No,1.5", r"extra.csv, line 3: web 'No' is unknown"),
        (",no,copied", ",some,copied", r"extra.csv, line 3: author_filter 'some' is unknown"),
        ("copied", "checked", r"extra.csv, line 3: verified 'checked' is unknown"),
        ("a remark", "a, remark", r"extra.csv, line 3: 13 cells expected"),
        ("a remark", '"a remark', r"extra.csv, line 3: not CSV"),
        ("GeoX", "", r"extra.csv, line 3: the row has no method"),
        ("GeoX", "Other", r"extra.csv, line 3: 'Other' \(arXiv:1\) stands there twice"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(tmp_path: Path, found: str, put: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path, GOOD.replace("GeoX", "Other"), GOOD.replace(found, put, 1)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (COLUMNS.replace(",web", ""), "line 1: no column web"),
        (COLUMNS.replace("acc_1km", "acc_1mi"), "line 1: unknown column acc_1mi"),
        (COLUMNS.replace("acc_1km", "acc_25km"), "line 1: column acc_25km occurs more than once"),
        ("", "line 1: no column method"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, columns: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path, columns=columns))


def test_line_numbers_count_the_lines_of_quoted_cells(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 4: mllm"):
        read_rows(write(tmp_path, GOOD.replace("a remark", '"two\nlines"'), GOOD.replace(",yes,", ",maybe,")))


def test_measured_rows_do_not_pass_for_published_ones(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD + ",measured", columns=COLUMNS + ",kind")
    with pytest.raises(DataError, match=r"line 1: unknown column kind[\s\S]*of measured rows"):
        read_published("yfcc4k", extra=[file])


def test_a_file_that_is_absent_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent\.csv"):
        read_rows(tmp_path / "absent.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"method\xff")
    with pytest.raises(DataError, match=r"cannot read .*binary\.csv'[\s\S]*utf-8"):
        read_rows(binary)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = tmp_path / "excel.csv"
    file.write_text(f"{COLUMNS}\r\n{GOOD}\r\n", encoding="utf-8-sig", newline="")
    assert read_rows(file)[0].note == "a remark"
