"""The built-in datasets, each with files in the shapes people hold: `pinpoint_datasets`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pinpoint_datasets import DATASETS
from pinpoint_datasets.capitals import Capitals
from pinpoint_datasets.flickr import MP16, AnyTable, Im2GPS, Im2GPS3k, MP16Pro, YFCC4k, YFCC26k
from pinpoint_datasets.osv5m import OSV5MTest, OSV5MTrain
from pinpoint_harness.errors import DataError
from pinpoint_harness.photo_ids import truth_hash
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.readers import TableDataset, Truth
from pinpoint_harness.types import DataLocation

PHOTOS = (
    # Flickr id, the rest of the name, owner, latitude, longitude: shapes seen in IM2GPS3k.
    ("1000269685", "e60e9cdfb4_1125", "78841376@N00", "32.325436", "-64.764404"),
    ("104123223", "7410c654ba_19", "19355699@N00", "-16.663606", "145.563537"),
    ("1095548455", "f636d22cbb_1277", "8576809@N08", "31.893581", "-85.141124"),
)


def read(dataset: type[TableDataset], path: Path) -> Truth:
    return dataset(DataLocation(path)).read()


def refused(dataset: type[TableDataset], path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(dataset, path)
    return str(caught.value)


def write(path: Path, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def long_name(photo: Sequence[str]) -> str:
    number, middle, owner, *_ = photo
    return f"{number}_{middle}_{owner}.jpg"


def places365(path: Path, names: Sequence[str], author: str = "AUTHOR", header: str = "LAT,LON") -> Path:
    """A `*_places365.csv` of the photos above under other names."""
    columns = ["IMG_ID", author, *header.split(","), "S3_Label", "Prob_indoor"]
    rows = [
        [name, owner, latitude, longitude, 2, 0.274]
        for name, (_, _, owner, latitude, longitude) in zip(names, PHOTOS, strict=True)
    ]
    return write(path, [columns, *rows])


def plain(path: Path, count: int, name: str = "{}.jpg") -> Path:
    rows = [[name.format(1000 + number), 4 + number / 1000, number / 1000] for number in range(count)]
    return write(path, [["IMG_ID", "LAT", "LON"], *rows])


# IM2GPS3k and Im2GPS


def test_im2gps3k_reads_its_usual_table(tmp_path: Path) -> None:
    path = places365(tmp_path / "im2gps3k_places365.csv", [long_name(photo) for photo in PHOTOS])
    frame = read(Im2GPS3k, tmp_path).frame
    assert frame["id"].tolist() == ["1000269685", "104123223", "1095548455"]
    assert frame["image"][0] == "1000269685_e60e9cdfb4_1125_78841376@N00.jpg"
    assert frame["author"].tolist() == ["78841376@N00", "19355699@N00", "8576809@N08"]
    assert list(frame.columns) == ["id", "image", "latitude", "longitude", "author", "source"]
    assert read(Im2GPS3k, path).notes == (
        "3 rows where im2gps3k has 2,997: published results are over all of them",
    )


def _usual(path: Path) -> None:
    places365(path / "im2gps3k_places365.csv", [long_name(photo) for photo in PHOTOS])


def _bare_ids(path: Path) -> None:
    rows = [[number, lat, lon] for number, _, _, lat, lon in reversed(PHOTOS)]
    write(path / "im2gps3k_places365.csv", [["image", "lat", "lng"], *rows])


def _without_extension(path: Path) -> None:
    rows = [[lon, lat, long_name(photo)[:-4]] for photo in PHOTOS for lat, lon in [photo[3:]]]
    write(path / "im2gps3k_places365.csv", [["longitude", "latitude", "id"], *rows], "\t")


def _ground_truth_names(path: Path) -> None:
    rows = [[f"im2gps3k/img/{number}.jpg", lat, lon] for number, _, _, lat, lon in PHOTOS]
    write(path / "im2gps3k_places365.csv", [["img_id", "gt_lat", "gt_long"], *rows], ";")


def _jpeg_comments(path: Path) -> None:
    comments = {
        long_name(photo): ["photo: 1", f"latitude: {photo[3]}", f"longitude: {photo[4]}", "accuracy: 16", ""]
        for photo in PHOTOS
    }
    (path / "info.json").write_text(json.dumps(comments))


@pytest.mark.parametrize("spell", [_bare_ids, _without_extension, _ground_truth_names, _jpeg_comments])
def test_every_spelling_of_im2gps3k_is_the_same_truth(tmp_path: Path, spell: Callable[[Path], None]) -> None:
    for name, make in (("one", _usual), ("other", spell)):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    one, other = (read(Im2GPS3k, tmp_path / name).frame for name in ("one", "other"))
    assert truth_hash(one) == truth_hash(other)


def test_the_2018_copy_with_exchanged_header_is_refused(tmp_path: Path) -> None:
    path = places365(tmp_path / "im2gps3k_places365.csv", [long_name(p) for p in PHOTOS], header="LON,LAT")
    assert "1 of 3 latitudes lie beyond 90 degrees" in refused(Im2GPS3k, path)


def test_three_thousand_rows_are_the_files_of_the_zip(tmp_path: Path) -> None:
    notes = read(Im2GPS3k, plain(tmp_path / "im2gps3k_places365.csv", 3000)).notes
    assert notes == (
        "3,000 rows where im2gps3k has 2,997: "
        "the zip holds 3,000 files, of which published results score 2,997",
    )


def test_im2gps_names_may_begin_with_a_city(tmp_path: Path) -> None:
    names = [f"New_York_0000{index}_{long_name(photo)}" for index, photo in enumerate(PHOTOS)]
    frame = read(Im2GPS, places365(tmp_path / "im2gps_places365.csv", names)).frame
    assert frame["id"].tolist() == [photo[0] for photo in PHOTOS]


COUNTS = {"IM2GPS3k": (Im2GPS3k, 2997), "Im2GPS": (Im2GPS, 237), "YFCC4k": (YFCC4k, 4536)}
FILES = {
    "im2gps_places365.csv": Im2GPS,
    "im2gps3k_places365.csv": Im2GPS3k,
    "yfcc4k.csv": YFCC4k,
    "yfcc4k_places365.csv": YFCC4k,
    "yfcc25600_places365.csv": YFCC26k,
    "mp16_places365.csv": MP16,
}
SETS = [Im2GPS, Im2GPS3k, YFCC4k, YFCC26k, MP16, OSV5MTest, OSV5MTrain, Capitals]


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize("title", COUNTS)
def test_the_truth_of_another_benchmark_is_refused_by_its_rows(
    tmp_path: Path, dataset: type[TableDataset], title: str
) -> None:
    own, rows = COUNTS[title]
    if dataset is not own:
        message = refused(dataset, plain(tmp_path / "table.csv", rows))
        assert f"this is {title}" in message or dataset in (OSV5MTest, OSV5MTrain)


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize("name", FILES)
def test_the_truth_of_another_benchmark_is_refused_by_its_name(
    tmp_path: Path, dataset: type[TableDataset], name: str
) -> None:
    if FILES[name] is not dataset:
        assert "is not the truth of" in refused(dataset, plain(tmp_path / name, 20))


@pytest.mark.parametrize("dataset", [Im2GPS, Im2GPS3k, YFCC4k, YFCC26k, MP16])
def test_a_set_of_photos_refuses_pictures_of_the_street(tmp_path: Path, dataset: type[TableDataset]) -> None:
    path = write(
        tmp_path / "a.csv", [["id", "lat", "lon"], *([546314506564628 + row, 40, 9] for row in range(3))]
    )
    assert "use the dataset osv5m" in refused(dataset, path)


@pytest.mark.parametrize("dataset", [OSV5MTest, OSV5MTrain])
@pytest.mark.parametrize("name", ["{}.jpg", "ab/cd/{}.jpg", "{}_e60e9cdfb4_1125_78841376@N00.jpg"])
def test_a_set_of_street_pictures_refuses_flickr_photos(
    tmp_path: Path, dataset: type[TableDataset], name: str
) -> None:
    path = write(
        tmp_path / "a.csv",
        [["id", "lat", "lon"], *([name.format(10201275523 + row), 40, 9] for row in range(3))],
    )
    assert "Flickr photos" in refused(dataset, path)


@pytest.mark.parametrize(("dataset", "name"), [(OSV5MTest, "train.csv"), (OSV5MTrain, "test.csv")])
def test_one_split_of_osv5m_is_not_the_other(tmp_path: Path, dataset: type[TableDataset], name: str) -> None:
    (tmp_path / name).write_text(OSV5M)
    assert "the other split" in refused(dataset, tmp_path / name)


def test_more_rows_than_were_published_are_another_set(tmp_path: Path) -> None:
    assert "300 rows, more than the 237" in refused(Im2GPS, plain(tmp_path / "mine.csv", 300))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "no object of file names"),
        ('{"a.jpg": ["latitude: 1"]}', "the comment of 'a.jpg' has no latitude"),
        ('{"a.jpg": ["latitude: 1", "lon: 2", "", ""]}', "has no longitude"),
        ('{"a.jpg": "latitude: 1"}', "has no latitude"),
        ('{"a.jpg": [', "cannot read"),
        ("{}", "has no rows"),
        ('{"1.jpg": LINES, "1.jpg": LINES}', "row 1: '1.jpg', row 2: '1.jpg'"),
    ],
)  # fmt: skip
def test_damaged_jpeg_comments_are_refused(tmp_path: Path, content: str, said: str) -> None:
    lines = '["latitude: 1", "longitude: 2", "", ""]'
    (tmp_path / "info.json").write_text(content.replace("LINES", lines))
    assert said in refused(Im2GPS3k, tmp_path)


# YFCC4k


YFCC = (("10201275523", "43.649708", "-79.365637"), ("7289030198", "40.740067", "-73.985495"))


def _yfcc_plain(folder: Path) -> None:
    write(
        folder / "yfcc4k.csv",
        [["IMG_ID", "LAT", "LON"], *([f"{key}.jpg", lat, lon] for key, lat, lon in YFCC)],
    )


def _yfcc_places(folder: Path) -> None:
    rows = [[f"{key}.jpg", "12345678@N01", lon, lat, "(untitled)"] for key, lat, lon in YFCC]
    write(folder / "yfcc4k_places365.csv", [["IMG_ID", "OwnerNSID", "LON", "LAT", "Title"], *rows])


def _yfcc100m_rows(folder: Path) -> None:
    """YFCC100M's 25 columns after a line number, text URL-encoded, one stray quote."""
    lines = [
        f"{index}\t{key}\td41d8cd98f\t12345678@N01\tnick\t2012-02-16 09:56:37.0\t1331840483\tCanon\tTitle\t"
        f'"Descr%2C+iption\ttag,tag\t\t{lon}\t{lat}\t16\thttp://flickr.example/{key}/\thttp://x/{key}.jpg\tBY\t'
        f"http://cc/\t8482\t9\tab12\tcd34\tjpg\t0"
        for index, (key, lat, lon) in enumerate(YFCC)
    ]
    (folder / "info.txt").write_text("\n".join(lines) + "\n")


def _yfcc_image_data(folder: Path) -> None:
    lines = [f"/data/yfcc4k/{key}.jpg   {lat} {lon}" for key, lat, lon in YFCC]
    (folder / "0aaaa.r.imagedata.txt").write_text("\n".join(lines))


def _yfcc_hashed(folder: Path) -> None:
    header = ["photo_id", "longitude", "latitude", "accuracy", "extension", "download_url", "hash"]
    rows = [[key, lon, lat, 16, "jpg", f"http://x/{key}.jpg", f"abc123{key}"] for key, lat, lon in YFCC]
    write(folder / "yfcc4k.csv", [header, *rows], "\t")


YFCC_FORMS = [_yfcc_plain, _yfcc_places, _yfcc100m_rows, _yfcc_image_data, _yfcc_hashed]


@pytest.mark.parametrize("form", YFCC_FORMS)
def test_every_form_of_yfcc4k_is_the_same_truth(tmp_path: Path, form: Callable[[Path], None]) -> None:
    form(tmp_path)
    expected = pd.DataFrame(YFCC, columns=["id", "latitude", "longitude"]).astype(
        {"latitude": float, "longitude": float}
    )
    frame = read(YFCC4k, tmp_path).frame
    assert truth_hash(frame) == truth_hash(expected)
    assert frame["id"].tolist() == [key for key, _, _ in YFCC]
    knows_authors = form in (_yfcc_places, _yfcc100m_rows)
    assert frame["author"].tolist() == ["12345678@N01"] * 2 if knows_authors else frame["author"].isna().all()


def test_images_of_a_hashed_table_lie_under_their_hash(tmp_path: Path) -> None:
    _yfcc_hashed(tmp_path)
    assert read(YFCC4k, tmp_path).frame["image"][0] == "abc/123/abc12310201275523.jpg"


def test_yfcc4k_is_found_in_its_nested_folder(tmp_path: Path) -> None:
    (tmp_path / "yfcc4k").mkdir()
    _yfcc_image_data(tmp_path / "yfcc4k")
    assert len(read(YFCC4k, tmp_path).frame) == 2


@pytest.mark.parametrize("name", ["00/a{}/{}.jpg", "00_a{}_{}.jpg"])
def test_the_table_of_yfcc25600_is_refused_by_its_names(tmp_path: Path, name: str) -> None:
    names = [name.format(index, photo[0]) for index, photo in enumerate(PHOTOS)]
    message = refused(YFCC4k, places365(tmp_path / "yfcc4k.csv", names))
    assert "YFCC25600" in message
    assert "two well-known README files" in message


def test_the_table_of_yfcc25600_is_refused_by_its_length(tmp_path: Path) -> None:
    message = refused(YFCC4k, plain(tmp_path / "yfcc4k_places365.csv", 25_600))
    assert "25,600 rows: this is YFCC25600" in message


@pytest.mark.parametrize("cell", ["[(1.5, 2.5), (3, 4)]", "{'gps': [1, 2]}", "('a', 'b')"])
def test_a_file_of_candidates_called_yfcc4k_is_refused_without_being_evaluated(
    tmp_path: Path, cell: str
) -> None:
    cells = [cell, "[]"]
    rows = [[f"{key}.jpg", lat, lon, value] for (key, lat, lon), value in zip(YFCC, cells, strict=True)]
    write(tmp_path / "yfcc4k.csv", [["IMG_ID", "LAT", "LON", "candidates"], *rows])
    assert "lists written as Python" in refused(YFCC4k, tmp_path)


@pytest.mark.parametrize("dataset", [MP16, MP16Pro, YFCC26k, YFCC4k, Im2GPS3k])
def test_a_list_of_download_addresses_is_no_truth(tmp_path: Path, dataset: type[TableDataset]) -> None:
    path = tmp_path / "mp16_urls.csv"
    path.write_text("47/5d/97.jpg,http://farm1.example/97.jpg\nab/cd/98.jpg,https://farm2.example/98.jpg\n")
    assert "download addresses without coordinates" in refused(dataset, path)


# YFCC26k, MP-16, MP16-Pro


def test_nested_flat_and_bare_names_of_mp16_are_the_same_truth(tmp_path: Path) -> None:
    hashes = set()
    for form in ("{a}/{b}/{key}.jpg", "{a}_{b}_{key}.jpg", "{key}.jpg", "{key}"):
        names = [form.format(a=f"0{i}", b="f9", key=photo[0]) for i, photo in enumerate(PHOTOS)]
        hashes.add(truth_hash(read(MP16, places365(tmp_path / "mp16_places365.csv", names)).frame))
    assert len(hashes) == 1


def test_what_is_left_of_yfcc26k_is_explained(tmp_path: Path) -> None:
    notes = read(YFCC26k, plain(tmp_path / "yfcc25600_places365.csv", 23_035, "ab/cd/{}.jpg")).notes
    assert "23,035 rows where yfcc26k has 25,600: the photos that can still be downloaded" in notes[0]


def test_mp16_pro_keeps_place_names_and_the_exact_spelling_of_ids(tmp_path: Path) -> None:
    header = ["IMG_ID", "AUTHOR", "LAT", "LON", "neighbourhood", "city", "county", "state", "country"]
    rows = [["47_5d_97.jpg", "1@N00", 1, 2, "", "Windhoek", "", "Khomas", "Namibia"]]
    frame = read(MP16Pro, write(tmp_path / "MP16_Pro_filtered.csv", [header, *rows])).frame
    assert frame["image"].tolist() == ["47_5d_97.jpg"]
    assert list(frame.columns[6:]) == ["neighbourhood", "city", "county", "state", "country"]
    assert frame["city"].tolist() == ["Windhoek"]
    assert frame["neighbourhood"].isna().all()


def test_of_both_tables_of_mp16_pro_the_filtered_one_is_read_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    for name in ("MP16_Pro_places365.csv", "MP16_Pro_filtered.csv"):
        places365(tmp_path / "metadata" / name, [photo[0] for photo in PHOTOS])
    found = read(MP16Pro, tmp_path)
    assert found.path.name == "MP16_Pro_filtered.csv"
    assert "MP16_Pro_filtered.csv is read, and not MP16_Pro_places365.csv beside it" in found.notes
    (tmp_path / "metadata" / "MP16_Pro_places365.csv").unlink()
    assert not [note for note in read(MP16Pro, tmp_path).notes if "beside it" in note]


# OSV-5M


OSV5M = (
    "longitude,id,thumb_original_url,latitude,country,sequence,captured_at,cell,region,sub-region,city,"
    "land_cover,quadtree_10_5000,unique_region,unique_sub-region,unique_city,unique_country,creator_id\n"
    '17.0832,1207955469639614,https://x/1.jpg,-22.5594,NA,sEq1,1562246400000,"(12, 34)",Khomas,NaN,Windhoek,'
    "4,77,Khomas_NA,NaN_Khomas_NA,Windhoek_NaN_Khomas_NA,NA,102042145433290.0\n"
    '8.8888751944543,546314506564628,https://x/2.jpg,39.55910238557,IT,sEq2,1562246400001,"(5, 6)",NaN,,NaN,'
    "4,78,NaN,NaN,NaN,IT,NaN\n"
)


def test_osv5m_is_read_by_name_in_any_order_of_columns(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(OSV5M)
    frame = read(OSV5MTest, tmp_path).frame
    assert frame["id"].tolist() == ["1207955469639614", "546314506564628"]
    assert frame[["latitude", "longitude"]].to_numpy().tolist() == [
        [-22.5594, 17.0832],
        [39.55910238557, 8.8888751944543],
    ]
    assert frame["source"].tolist() == ["streetview", "streetview"]
    assert frame["author"][0] == "102042145433290"
    assert frame["author"].isna().tolist() == [False, True]


def test_namibia_is_a_country_and_nan_is_a_hole_in_osv5m(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(OSV5M)
    frame = read(OSV5MTest, tmp_path).frame
    assert frame["country"].tolist() == ["NA", "IT"]
    assert frame["unique_country"].tolist() == ["NA", "IT"]
    assert frame["region"].isna().tolist() == frame["city"].isna().tolist() == [False, True]
    assert frame["sub-region"].isna().all()
    assert frame["unique_city"].tolist()[0] == "Windhoek_NaN_Khomas_NA"
    assert frame["unique_city"].isna().tolist() == [False, True]


def test_osv5m_without_place_names_invents_none(tmp_path: Path) -> None:
    (tmp_path / "osv5m").mkdir()
    write(tmp_path / "osv5m" / "test.csv", [["id", "latitude", "longitude"], ["139649791479342", 52.4, 5.8]])
    assert list(read(OSV5MTest, tmp_path).frame.columns[6:]) == []


def test_osv5m_train_takes_the_columns_a_gallery_needs(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(OSV5M)
    truth = read(OSV5MTrain, tmp_path)
    assert list(truth.frame.columns) == ["id", "image", "latitude", "longitude", "author", "source"]
    assert truth.notes == ()


# Any table, and the capitals


def test_any_table_keeps_its_ids_and_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.tsv", [["key", "Lat", "Lng", "note"], ["a@b (1)", 1, 2, "NA"]], "\t")
    frame = read(AnyTable, path).frame
    assert frame["id"].tolist() == ["a@b (1)"]
    assert frame["note"].tolist() == ["NA"]


def test_any_table_needs_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINPOINT_DATA", raising=False)
    with pytest.raises(DataError, match="a table with ids and coordinates"):
        AnyTable(DataLocation()).truth()
    assert f"found: the folder '{tmp_path}'" in refused(AnyTable, tmp_path)


def test_the_capitals_come_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINPOINT_DATA", raising=False)
    truth = Capitals(DataLocation()).read()
    frame = truth.frame.set_index("id")
    assert len(frame) == 193
    assert truth.notes == ()
    assert list(frame.columns[5:]) == ["capital", "country", "continent"]
    assert frame.loc["NA", "capital"] == "Windhoek"
    assert frame.drop(columns="author").notna().all(axis=None)
    assert set(frame["continent"]) == {
        "Africa",
        "Asia",
        "Europe",
        "North America",
        "Oceania",
        "South America",
    }


# To the nearest degree, from memory and an atlas.
KNOWN_CAPITALS = {
    "AR": (-35, -58), "AU": (-35, 149), "BR": (-16, -48), "CA": (45, -76), "CL": (-33, -71), "CN": (40, 116),
    "CO": (5, -74), "CU": (23, -82), "DE": (53, 13), "EC": (0, -79), "EG": (30, 31), "ES": (40, -4),
    "ET": (9, 39), "FJ": (-18, 178), "FR": (49, 2), "GB": (52, 0), "GH": (6, 0), "GR": (38, 24),
    "ID": (-6, 107), "IN": (29, 77), "IS": (64, -22), "IT": (42, 13), "JP": (36, 140), "KE": (-1, 37),
    "KI": (1, 173), "MG": (-19, 48), "MX": (19, -99), "NG": (9, 7), "NO": (60, 11), "NZ": (-41, 175),
    "PE": (-12, -77), "RU": (56, 38), "SN": (15, -17), "TO": (-21, -175), "US": (39, -77), "UY": (-35, -56),
    "WS": (-14, -172), "ZA": (-26, 28),
}  # fmt: skip


def test_well_known_capitals_lie_where_they_should() -> None:
    frame = Capitals(DataLocation()).truth().set_index("id")
    for country, (latitude, longitude) in KNOWN_CAPITALS.items():
        assert abs(frame["latitude"][country] - latitude) <= 0.6, country
        assert abs(frame["longitude"][country] - longitude) <= 0.6, country


# reverse_geocoder leaves its table open.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_capital_lies_in_its_country() -> None:
    geocoder = pytest.importorskip("reverse_geocoder", reason="the extra `admin` is not installed")
    frame = Capitals(DataLocation()).truth()
    places = geocoder.search(
        list(zip(frame["latitude"], frame["longitude"], strict=True)), mode=1, verbose=False
    )
    assert [place["cc"] for place in places] == frame["id"].tolist()


# Registration


def test_every_dataset_is_registered_and_can_be_loaded(tmp_path: Path) -> None:
    for entry in load_registry().datasets.values():
        if entry.origin.name != "pinpoint_datasets":
            continue
        dataset = entry.load()
        if issubclass(dataset, TableDataset):
            assert dataset.spec.name == entry.name
        assert dataset(DataLocation(tmp_path)).info is DATASETS[entry.name][1] is entry.info
    assert load_registry().datasets.keys() >= DATASETS.keys()


def test_every_dataset_says_where_it_is_from() -> None:
    for _, info in DATASETS.values():
        assert info.title
        assert info.source
        assert info.licence


def test_registering_imports_nothing_heavy() -> None:
    code = (
        "import sys, pinpoint_datasets;"
        "sys.exit(bool({'pandas', 'numpy', 'pyarrow', 'torch'} & sys.modules.keys()))"
    )
    path = ":".join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=False)
    assert done.returncode == 0


# Real files


@pytest.mark.realdata
def test_the_real_im2gps_is_complete(real_data: Path) -> None:
    truth = read(Im2GPS, real_data)
    assert len(truth.frame) == truth.frame["id"].nunique() == 237
    assert truth.notes == ("177 authors are taken from the image names, which contradict column 'AUTHOR'",)
    assert truth.frame["author"].str.fullmatch(r"[0-9]+@N[0-9]+").all()


@pytest.mark.realdata
def test_the_real_yfcc4k_is_complete(real_data: Path) -> None:
    truth = read(YFCC4k, real_data)
    frame = truth.frame
    assert len(frame) == frame["id"].nunique() == 4536
    assert truth.notes == ()
    bounds = [
        frame["latitude"].min(),
        frame["latitude"].max(),
        frame["longitude"].min(),
        frame["longitude"].max(),
    ]
    assert np.round(bounds, 2).tolist() == [-54.80, 78.33, -166.54, 177.43]
    assert frame.duplicated(["latitude", "longitude"], keep=False).sum() == 191


@pytest.mark.realdata
def test_the_real_osv5m_sample_is_read_whole(real_data: Path) -> None:
    frame = read(OSV5MTest, real_data / "osv5m").frame
    assert len(frame) == 71
    assert set(frame["id"].str.len()) == {15, 16}
    assert frame["sub-region"].isna().sum() == 35
    assert frame["country"].nunique() == 48
    images = {path.stem for path in (real_data / "osv5m/images/test/00").glob("*.jpg")}
    assert set(frame["id"]) == images
