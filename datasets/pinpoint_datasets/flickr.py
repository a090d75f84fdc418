"""The Flickr benchmarks and galleries, and any table: one declaration each.

What is known to go wrong with a set's files stands in its declaration; the reading is
`pinpoint_harness.readers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pinpoint_harness.errors import DataError
from pinpoint_harness.readers import Layout, Refusal, Table, TableDataset, TableForm, TruthSpec

from . import DATASETS

_NESTED_NAME = re.compile(r"[0-9a-f]{2}[/_][0-9a-f]{2}[/_][0-9]+(\.[a-z]+)?", re.IGNORECASE)
_BRACKETED = re.compile(r"\s*[\[({].*[\])}]\s*", re.DOTALL)
_URL = re.compile(r"https?://\S+", re.IGNORECASE)


def has_nested_names(form: TableForm) -> bool:
    """Every image is called `aa/bb/<id>.jpg` or `aa_bb_<id>.jpg`, as in MP-16 and YFCC25600."""
    return bool(form.sample) and all(any(map(_NESTED_NAME.fullmatch, row)) for row in form.sample)


def has_python_literals(form: TableForm) -> bool:
    """Some column holds a list, tuple or dictionary in every row of the sample.

    A title may stand in brackets too, but not in all rows and with quotes or digits inside.
    """
    columns = zip(*form.sample, strict=False)
    return any(
        all(map(_BRACKETED.fullmatch, column)) and any(re.search(r"[0-9'\"]", cell) for cell in column)
        for column in columns
    )


def is_url_list(form: TableForm) -> bool:
    """Two columns, the second a download address."""
    return bool(form.sample) and all(len(row) == 2 and _URL.fullmatch(row[1].strip()) for row in form.sample)


def read_jpeg_comments(path: Path) -> Table:
    """`info.json`: file name to the lines of the JPEG's comment.

    The latitude is the 4th line from the end, the longitude the 3rd.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read '{path}'", found=f"{type(error).__name__}: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, tuple) for entry in entries):
        raise DataError(
            f"'{path}' is not a record of JPEG comments",
            found="JSON that is no object of file names",
            fix="give the truth as a table",
        )
    rows = [(name, *_coordinate_lines(path, name, lines)) for name, lines in entries]
    columns = [pa.array(column, pa.large_string()) for column in zip(*rows, strict=True)]
    names = ("IMG_ID", "LAT", "LON")
    return Table(TableForm(path, "json", names), pa.table(columns or [[], [], []], names=names))


def _coordinate_lines(path: Path, name: str, lines: Any) -> tuple[str, str]:
    values = []
    for label, position in (("latitude", -4), ("longitude", -3)):
        line = lines[position] if isinstance(lines, list) and len(lines) >= 4 else None
        key, _, value = str(line).partition(":")
        if key.strip().lower() != label:
            raise DataError(
                f"'{path}': the comment of '{name}' has no {label}",
                found=f"line {-position} from the end: {line}",
                fix="give the truth as a table",
            )
        values.append(value.strip())
    return values[0], values[1]


_COMMENTS = Layout(file_name="info.json", read=read_jpeg_comments)
# YFCC100M's own columns after a line number; text in them is URL-encoded, so a quote is a quote.
_YFCC100M_ROWS = Layout(
    file_name="info.txt",
    delimiter="\t",
    quoting=False,
    positions={"id": 1, "author": 3, "longitude": 12, "latitude": 13},
)
_IMAGE_DATA = Layout(
    file_name="0aaaa.r.imagedata.txt", delimiter=" ", positions={"id": 0, "latitude": 1, "longitude": 2}
)
# Images named by their hash in two levels of folders.
_HASHED = Layout(
    header=frozenset({"photo_id", "longitude", "latitude", "download_url", "hash"}),
    image=("hash", r"^(.{3})(.{3})(.*)$", r"\1/\2/\1\2\3.jpg"),
)

_URL_LIST = Refusal(
    found="a list of download addresses without coordinates",
    fix="give the table of the same set that ends in _places365.csv",
    recognises=is_url_list,
)
_CANDIDATES = Refusal(
    found="lists written as Python in its cells: one method's candidates, which go by the same file name",
    fix="give the truth: a table with one coordinate per photo, such as IMG_ID,LAT,LON",
    recognises=has_python_literals,
)
_YFCC25600 = "this is YFCC25600 (yfcc26k), which two well-known README files link as the metadata of YFCC4k"
_GET_YFCC4K = "get yfcc4k_places365.csv; to evaluate the 25,600 photos, use the dataset yfcc26k"

_OTHER_PHOTOS = re.compile(r"(?:.*/)?[0-9]{14,}(\.[a-z]+)?", re.IGNORECASE)


def has_mapillary_ids(form: TableForm) -> bool:
    """Every row holds an id of 14 or more digits, as OSV-5M's do; Flickr's have at most 11."""
    return bool(form.sample) and all(any(map(_OTHER_PHOTOS.fullmatch, row)) for row in form.sample)


_STREETVIEW = Refusal(
    recognises=has_mapillary_ids,
    found="ids of Mapillary pictures, as in OSV-5M",
    fix="use the dataset osv5m or osv5m-train",
)


def of_other_sets(name: str) -> tuple[Refusal, ...]:
    """What tells any other benchmark's truth from that of `name`: its file's name, its number of rows."""
    return tuple(
        Refusal(
            found=f"this is {title}", fix=f"use the dataset {other}", rows=rows, recognises=_is_called(files)
        )
        for other, (title, rows, files) in _SETS.items()
        if other != name
    )


def _is_called(files: tuple[str, ...]) -> Callable[[TableForm], bool]:
    return lambda form: form.path.name.lower() in files


_SETS: Mapping[str, tuple[str, int | None, tuple[str, ...]]] = {
    # Title, rows, and those of its files' names that no other set has.
    "im2gps": ("Im2GPS", 237, ("im2gps_places365.csv",)),
    "im2gps3k": ("IM2GPS3k", 2997, ("im2gps3k_places365.csv",)),
    "yfcc4k": ("YFCC4k", 4536, ("yfcc4k_places365.csv", "yfcc4k.csv")),
    "yfcc26k": ("YFCC25600 (yfcc26k)", 25_600, ("yfcc25600_places365.csv",)),
    "osv5m": ("OSV-5M's test set", 210_122, ()),
    "mp16": (
        "MP-16",
        None,
        ("mp16_places365.csv", "mp16_pro_places365.csv", "mp16_pro_filtered.csv"),
    ),
}

_TRANSLOCATOR_IM2GPS = "213c4d27f805c616948d582f20fe2bd4ab0c7a1ab5af08bee05f6481b0c7077f"
_VISLOC_YFCC4K = "9643d48fd18e1c3f5090f2092fe03ee5fc0f1b7e5306817e748554eb32264f75"


class Im2GPS(TableDataset):
    """237 photos; 177 of the names begin with a city, and the author column of those is damaged."""

    spec = TruthSpec(
        name="im2gps",
        info=DATASETS["im2gps"][1],
        images=("gps_query_imgs*", "im2gps/images", "im2gps", "images/im2gps", "images", "img", "jpgs"),
        known_files={_TRANSLOCATOR_IM2GPS: "im2gps_places365.csv of TransLocator"},
        files=("im2gps_places365.csv", "info.json"),
        folders=("im2gps",),
        layouts=(_COMMENTS,),
        refusals=(_URL_LIST, _STREETVIEW, *of_other_sets("im2gps")),
    )


class Im2GPS3k(TableDataset):
    """Row order differs between files that describe the set: only the id joins them."""

    spec = TruthSpec(
        name="im2gps3k",
        info=DATASETS["im2gps3k"][1],
        images=(
            "im2gps3ktest*",
            "im2gps3k/images",
            "im2gps3k/img",
            "im2gps3k",
            "images/im2gps3k",
            "images",
            "img",
            "jpgs",
        ),
        files=("im2gps3k_places365.csv", "info.json"),
        folders=("im2gps3k", "im2gps3ktest"),
        layouts=(_COMMENTS,),
        row_counts={3000: "the zip holds 3,000 files, of which published results score 2,997"},
        refusals=(_URL_LIST, _CANDIDATES, _STREETVIEW, *of_other_sets("im2gps3k")),
    )


class YFCC4k(TableDataset):
    """The set with the most forms of its truth, and the most files mistaken for it."""

    spec = TruthSpec(
        name="yfcc4k",
        info=DATASETS["yfcc4k"][1],
        images=("yfcc4k", "yfcc4k.zip", "images/yfcc4k", "images", "img", "jpgs"),
        known_files={_VISLOC_YFCC4K: "yfcc4k.csv of visloc-estimation"},
        files=("yfcc4k_places365.csv", "yfcc4k.csv", "info.txt", "0aaaa.r.imagedata.txt"),
        folders=("yfcc4k",),
        layouts=(_YFCC100M_ROWS, _IMAGE_DATA, _HASHED),
        refusals=(
            _URL_LIST,
            _CANDIDATES,
            Refusal(
                recognises=has_nested_names,
                found=f"images called aa/bb/<id>.jpg: {_YFCC25600}",
                fix=_GET_YFCC4K,
            ),
            Refusal(rows=25_600, found=_YFCC25600, fix=_GET_YFCC4K),
            _STREETVIEW,
            *of_other_sets("yfcc4k"),
        ),
    )


class YFCC26k(TableDataset):
    """Also known as YFCC25600, after its number of photos."""

    spec = TruthSpec(
        name="yfcc26k",
        info=DATASETS["yfcc26k"][1],
        images=("yfcc26k*", "yfcc25600*", "images/yfcc26k", "images", "img", "jpgs"),
        files=("yfcc25600_places365.csv",),
        folders=("yfcc26k", "yfcc25600"),
        row_counts={
            23_035: "the photos that can still be downloaded; those that are gone count as misses, so "
            "give the full table"
        },
        refusals=(_URL_LIST, _STREETVIEW, *of_other_sets("yfcc26k")),
    )


class MP16(TableDataset):
    """The usual gallery and training set; no benchmark."""

    spec = TruthSpec(
        name="mp16",
        info=DATASETS["mp16"][1],
        images=("mp16", "mp16.tar", "mp-16-images00", "mp-16-images", "images"),
        files=("mp16_places365.csv",),
        folders=("mp16",),
        refusals=(_URL_LIST, _STREETVIEW, *of_other_sets("mp16")),
    )


class MP16Pro(TableDataset):
    """MP-16 with place names. `image` keeps the spelling by which its hold-out is drawn."""

    spec = TruthSpec(
        name="mp16-pro",
        info=DATASETS["mp16-pro"][1],
        images=("mp-16-images00", "mp-16-images", "images", "mp16"),
        files=("MP16_Pro_places365.csv", "MP16_Pro_filtered.csv"),
        preferred="MP16_Pro_filtered.csv",  # by whose names the hold-out is drawn
        folders=("mp16-pro", "metadata"),
        extras=("neighbourhood", "city", "county", "state", "region", "country", "continent"),
        refusals=(_URL_LIST, _STREETVIEW, *of_other_sets("mp16")),
    )


class AnyTable(TableDataset):
    """Ids as they are spelled, and every other column kept."""

    spec = TruthSpec(name="table", info=DATASETS["table"][1], ids="verbatim", extras=None)
