"""Reading any table as text: `pinpoint_harness.readers.delimited`."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness.errors import DataError
from pinpoint_harness.readers import Table, pick_column, read_table, sniff

Write = Callable[[str | bytes], Path]

PLAIN = "IMG_ID,LAT,LON\n1.jpg,48.85,2.35\n2.jpg,-33.87,151.21\n"
ROWS = {"IMG_ID": ["1.jpg", "2.jpg"], "LAT": ["48.85", "-33.87"], "LON": ["2.35", "151.21"]}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts bytes into a file whose name says nothing about them."""

    def put(content: str | bytes) -> Path:
        path = tmp_path / "table"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def cells(table: Table) -> dict[str, list[str]]:
    result: dict[str, list[str]] = table.cells.to_pydict()
    return result


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", "   "),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        PLAIN.replace("\n", "\n\n"),
        "\n\r\n" + PLAIN,
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", " ").encode("utf-16"),
        PLAIN.encode("utf-32"),
        b"\x00\x00\xfe\xff" + PLAIN.replace(",", " ").encode("utf-32-be"),
        "sep=;\r\n" + PLAIN.replace(",", ";"),
        b'\xef\xbb\xbf"sep=;"\n\n' + PLAIN.replace(",", ";").encode(),
        ("sep=\t\n" + PLAIN.replace(",", "\t")).encode("utf-16"),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(PLAIN.replace(",", "  ").encode("utf-16"), mtime=0),
    ],
    ids=[
        "comma", "tab", "semicolon", "pipe", "blanks", "CRLF", "CR", "no last line end", "blank lines",
        "blank lines first", "BOM", "UTF-16", "UTF-16 and blanks", "UTF-32", "UTF-32 and blanks",
        "sep", "sep in quotes", "sep, UTF-16", "gzip", "gzip, UTF-16 and blanks",
    ],
)  # fmt: skip
def test_the_same_table_is_read_however_it_is_written(write: Write, content: str | bytes) -> None:
    table = read_table(write(content))
    assert cells(table) == ROWS
    assert table.notes == ()


def test_lines_are_counted_as_an_editor_does_below_excels_first_line(write: Write) -> None:
    table = read_table(write("sep=;\n\n" + PLAIN.replace(",", ";")))
    assert table.where([0, 1]) == ["line 4", "line 5"]
    with pytest.raises(DataError, match="line 5 has 2 cells, the header 3"):
        read_table(write("sep=,\n" + PLAIN + "a,b\n"))


@pytest.mark.parametrize("columns", [None, ["IMG_ID"], ["LAT", "LON"]])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_header_within_a_joined_table_is_refused(
    write: Write, columns: list[str] | None, mark: str, encoding: str
) -> None:
    path = write((PLAIN + mark + PLAIN).encode(encoding))
    with pytest.raises(DataError, match=r"joined from several files\n.*line 4 repeats the header\n.*without"):
        read_table(path, columns, numbers=["LAT", "LON"])


def test_a_mark_within_a_joined_table_is_refused_and_never_a_part_of_an_id(write: Write) -> None:
    for columns in (None, ["IMG_ID"]):
        with pytest.raises(DataError, match=r"line 4 holds a byte order mark \(U\+FEFF\)"):
            read_table(write(PLAIN + "\ufeff3.jpg,1.5,2.5\n"), columns)
    with pytest.raises(DataError, match=r"line 2 holds a byte order mark"):
        read_table(write("id\na\ufeffb\n"))
    assert cells(read_table(write("id,name\na,b\ufeffc\nid,x\n")))["name"] == ["b\ufeffc", "x"]


def test_a_table_without_header_has_numbered_columns(write: Write) -> None:
    table = read_table(write(b"\xef\xbb\xbf1.jpg,48.85,2.35\n2.jpg,-33.87,151.21\n"))
    assert not table.form.has_header
    assert cells(table) == {"0": ["1.jpg", "2.jpg"], "1": ["48.85", "-33.87"], "2": ["2.35", "151.21"]}


def test_a_list_of_addresses_has_no_header(write: Write) -> None:
    form = sniff(write("aa/bb/1,https://farm1.example.org/1.jpg\ncc/dd/2,https://farm1.example.org/2.jpg\n"))
    assert not form.has_header
    assert form.sample[0] == ("aa/bb/1", "https://farm1.example.org/1.jpg")


def test_a_known_name_makes_a_header_even_beside_a_number(write: Write) -> None:
    assert sniff(write("id,2019\nx,1\n")).names == ("id", "2019")


def test_what_the_caller_knows_is_not_guessed(write: Write) -> None:
    form = sniff(write('id\tlat"\n1\t2"3\n'), delimiter="\t", header=False, quoting=False)
    assert cells(read_table(form)) == {"0": ["id", "1"], "1": ['lat"', '2"3']}


def test_every_cell_stays_text(write: Write) -> None:
    content = "id,country,region,empty,number\n4887875507910938,NA,NaN,,007\n1,null,None,,1e5\n"
    assert cells(read_table(write(content))) == {
        "id": ["4887875507910938", "1"],
        "country": ["NA", "null"],
        "region": ["NaN", "None"],
        "empty": ["", ""],
        "number": ["007", "1e5"],
    }


def test_a_quoted_cell_may_hold_the_delimiter_quotes_and_line_ends(write: Write) -> None:
    content = 'id,cell,title\n1,"(12, 34)","say ""hi"""\n2,"(5, 6)","two\nlines"\n'
    assert cells(read_table(write(content))) == {
        "id": ["1", "2"],
        "cell": ["(12, 34)", "(5, 6)"],
        "title": ['say "hi"', "two\nlines"],
    }


def test_only_the_named_columns_are_read_in_the_order_asked(write: Write) -> None:
    assert list(cells(read_table(write(PLAIN), ["LON", "IMG_ID"]))) == ["LON", "IMG_ID"]


def test_plain_numbers_and_repeated_cells_take_less_where_asked(write: Write) -> None:
    path = write('id,lat,who\n1,"48.85",ann\n2, -33.87 ,ben\n3,1e1,ann\n')
    table = read_table(path, numbers=["lat"], repeated=["who"])
    assert table.column("lat").to_pylist() == [48.85, -33.87, 10.0]
    assert table.column("lat").type == pa.float64()
    assert pa.types.is_dictionary(table.column("who").type)
    assert table.column("who").to_pylist() == ["ann", "ben", "ann"]
    assert table.column("id").to_pylist() == ["1", "2", "3"]
    assert [cell.strip() for cell in table.text("lat").to_pylist()] == ["48.85", "-33.87", "1e1"]


@pytest.mark.parametrize("odd", ["", "48,85", "N 48.85", "12.5 km", "0x10", "\u221248"])
def test_a_single_cell_that_is_no_plain_number_leaves_the_column_text(odd: str, write: Write) -> None:
    path = write(f'id,lat,who\n1,48.85,ann\n2,"{odd}",ben\n')
    table = read_table(path, numbers=["lat"], repeated=["who"])
    assert cells(table) == {"id": ["1", "2"], "lat": ["48.85", odd], "who": ["ann", "ben"]}
    assert {column.type for column in table.cells.columns} == {pa.large_string()}


def test_odd_bytes_are_read_as_ever_beside_numbers(write: Write) -> None:
    path = write(b"id,lat,who\n1,48.85,Andr\xe9\n")
    table = read_table(path, numbers=["lat"], repeated=["who"])
    assert cells(table) == {"id": ["1"], "lat": ["48.85"], "who": ["André"]}
    assert "Windows-1252" in table.notes[0]


def test_a_column_that_is_not_there_is_named_with_those_that_are(write: Write) -> None:
    with pytest.raises(DataError, match=r"no column 'lat'\n.*IMG_ID, LAT, LON"):
        read_table(write(PLAIN), ["lat"])


def test_a_column_name_that_occurs_twice_cannot_be_asked_for(write: Write) -> None:
    path = write("id,lat,lat\n1,2,3\n")
    assert cells(read_table(path, ["id"])) == {"id": ["1"]}
    with pytest.raises(DataError, match="2 columns called 'lat'"):
        read_table(path, ["lat"])


def test_a_header_alone_is_a_table_without_rows(write: Write) -> None:
    for content in ("id,lat,lon", "id,lat,lon\n"):
        assert len(read_table(write(content))) == 0


def test_columns_are_picked_by_alias_whatever_their_case() -> None:
    names = ["Latitude", "foo", "LAT", "lat"]
    assert pick_column(names, ("lat", "latitude")) == ["LAT", "lat", "Latitude"]
    assert pick_column(names, ("lon",)) == []


# Encodings


def test_a_late_byte_that_is_not_utf8_is_read_as_windows_1252_and_noted(write: Write) -> None:
    rows = [f"{number},ok\n".encode() for number in range(20_000)]
    rows[15_000] = "15000,Montréal €\n".encode("cp1252")
    rows[15_001] = "15001,Zürich\n".encode()  # UTF-8 in the same column stays UTF-8
    table = read_table(write(b"id,city\n" + b"".join(rows)))
    assert cells(table)["city"][15_000:15_002] == ["Montréal €", "Zürich"]
    assert len(table.notes) == 1
    assert "1 cells of column 'city' are not UTF-8" in table.notes[0]
    assert "Montréal €" in table.notes[0]


def test_a_byte_that_windows_1252_lacks_is_read_as_latin_1(write: Write) -> None:
    assert cells(read_table(write(b"id,city\n1,a\x81b\n")))["city"] == ["a\x81b"]


def test_an_odd_byte_in_a_column_nobody_asked_for_is_no_matter(write: Write) -> None:
    assert read_table(write(b"id,city\n1,Z\xfcrich\n"), ["id"]).notes == ()


def test_a_header_may_have_odd_bytes_too(write: Write) -> None:
    assert sniff(write("id,größe\n1,2\n".encode("cp1252"))).names == ("id", "größe")


# Lines


def test_a_ragged_row_is_an_error_that_names_its_line(write: Write) -> None:
    content = 'id,title,lat\n1,"two\nlines",3\n\n2,b\n3,c,4\n'
    with pytest.raises(DataError, match="line 5 has 2 cells, the header 3") as caught:
        read_table(write(content))
    assert caught.value.found == "2,b"


def test_a_ragged_row_is_found_however_late_it_comes(write: Write) -> None:
    with pytest.raises(DataError, match="line 100002 has 4 cells"):
        read_table(write("id,lat,lon\n" + "1,2,3\n" * 100_000 + "1,2,3,4\n"))


@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_a_ragged_row_is_found_without_header_and_quotes(write: Write, delimiter: str) -> None:
    content = "a/1.jpg 2 3\nb/2.jpg 2 3 4\n".replace(" ", delimiter)
    with pytest.raises(DataError, match="line 2 has 4 cells, the first row 3"):
        read_table(sniff(write(content), delimiter=delimiter, quoting=False))


def test_a_quote_that_never_closes_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="line 3 has 2 cells"):
        read_table(write('id,a,b\n1,2,3\n2,"open,4\n5,6,7\n8,9,10\n'))


def test_rows_are_found_again_by_line(write: Write) -> None:
    table = read_table(write('\nid,title\n1,"two\nlines"\n\n2,b\n3,c\n'))
    assert table.where([2, 0, 1]) == ["line 7", "line 3", "line 6"]
    assert read_table(write("1 2\n\n3 4\n")).where([1]) == ["line 3"]


# Parquet


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_is_known_by_its_content_and_read_as_text(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "truth.csv",
        id=pa.array([4887875507910938, 2**63 - 1, None]),
        lat=pa.array([48.123456789012345, -0.1, None]),
        country=pa.array(["NA", None, "NaN"]).dictionary_encode(),
        flag=pa.array([True, False, None]),
        name=pa.array([b"Z\xfcrich", b"x", None]),
    )
    table = read_table(path)
    assert cells(table) == {
        "id": ["4887875507910938", "9223372036854775807", ""],
        "lat": ["48.123456789012344", "-0.1", ""],
        "country": ["NA", "", "NaN"],
        "flag": ["true", "false", ""],
        "name": ["Zürich", "x", ""],
    }
    assert float(cells(table)["lat"][0]) == 48.123456789012345
    assert table.where([1]) == ["row 2"]


def test_whole_floats_in_parquet_become_integers_while_they_are_exact(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "t",
        double=pa.array([1207955469639614.0, 2.0**53, 1.5, float("nan"), None]),
        single=pa.array([16777215.0, 16777216.0, 0.5, float("inf"), None], pa.float32()),
    )
    table = cells(read_table(path))
    assert table["double"] == ["1207955469639614", "9.007199254740992e+15", "1.5", "nan", ""]
    assert table["single"][0] == "16777215"
    assert table["single"][2:] == ["0.5", "inf", ""]


def test_pictures_and_features_in_parquet_are_left_out_with_a_note(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t", id=["a"], embedding=[[0.123] * 100], image=[{"bytes": b"x", "path": "p"}])
    table = read_table(path)
    assert cells(table) == {"id": ["a"], "image.path": ["p"]}
    assert table.notes == ("columns that hold long lists or pictures are left out: embedding, image.bytes",)


def test_a_damaged_parquet_file_is_a_data_error(write: Write) -> None:
    with pytest.raises(DataError, match="cannot read"):
        sniff(write(b"PAR1 and then nothing of the kind"))


# What is no table


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b" \r\n\n", "an empty file"),
        (b"\xef\xbb\xbf", "an empty file"),
        (b"\xff\xfe", "an empty file"),
        (gzip.compress(b"", mtime=0), "an empty file"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b"\n <HTML lang=en>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b'{"a.jpg": [1, 2]}', "JSON"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "binary data"),
        (b"PK\x03\x04\x14\x00\x06\x00", r"an archive \(zip"),
        (b"x" * 70_000, "no row ends within 65,536 bytes"),
        (b"id,lat\n" + b"1," + b"x" * 70_000, "no row ends within 65,536 bytes"),
        (gzip.compress(PLAIN.encode() * 9, mtime=0)[:40], "EOFError"),
    ],
)
def test_a_file_that_is_no_table_is_called_by_its_name(write: Write, content: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_table(write(content))


def test_a_gzip_file_that_breaks_off_later_is_an_error(write: Write) -> None:
    whole = "id,lat,lon\n" + "".join(f"{i},{i * 7919 % 90},{i * 104729 % 180}\n" for i in range(50_000))
    with pytest.raises(DataError, match="cannot read"):
        read_table(write(gzip.compress(whole.encode())[:-2000]))


def test_a_file_that_is_not_there_is_a_data_error(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "absent.csv", "cannot read"), (tmp_path, "holds no Parquet files")):
        with pytest.raises(DataError, match=words):
            sniff(path)


# Any table that Python's csv module writes


_CHARACTER = st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufeff")
_CELL = st.text(_CHARACTER | st.just("\n"), max_size=8)


@given(
    rows=st.lists(st.lists(_CELL, min_size=3, max_size=3), min_size=1, max_size=6),
    delimiter=st.sampled_from([",", "\t", ";"]),
    newline=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(max_examples=60, deadline=None)
def test_what_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    delimiter: str,
    newline: str,
    encoding: str,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows([["id", "lat", "lon"], *rows])
    path = tmp_path_factory.mktemp("csv") / "table"
    path.write_bytes(text.getvalue().encode(encoding))
    assert list(zip(*cells(read_table(path)).values(), strict=True)) == [tuple(row) for row in rows]


PACKED = b"id,latitude,longitude\n" + b"".join(b"%d,%d.5,2.5\n" % (row, row) for row in range(60))


def zipped() -> bytes:
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("table.csv", PACKED)
        return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (zipped(), "zip"),
        (bz2.compress(PACKED), "bzip2"),
        (lzma.compress(PACKED), "xz"),
        (b"\x28\xb5\x2f\xfd" + b"\x04\0\xfe" * 20, "zstd"),
        (b"7z\xbc\xaf\x27\x1c" + b"\x04\0\xfe" * 20, "7z"),
    ],
)
def test_a_packed_table_is_refused_with_the_word_to_unpack_it(
    content: bytes, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "table").write_bytes(content)
    with pytest.raises(DataError, match=rf"an archive \({kind}.*\n.*fix:   unpack it"):
        sniff(tmp_path / "table")


def test_a_table_that_begins_like_an_archive_is_read(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("BZh,latitude,longitude\n1,2.5,3.5\n")
    assert sniff(tmp_path / "table.csv").names[0] == "BZh"
