"""OpenStreetView-5M: street-view pictures from Mapillary.

Columns are found by name, since their order varies and several may be absent. The photographer
is `creator_id`; one picture per `sequence` was kept, so a sequence clusters nothing.
"""

from __future__ import annotations

import re

from pinpoint_harness.readers import Refusal, TableDataset, TableForm, TruthSpec

from . import DATASETS
from .flickr import of_other_sets

PLACE_COLUMNS = (
    "country",
    "region",
    "sub-region",
    "city",
    "unique_country",
    "unique_region",
    "unique_sub-region",
    "unique_city",
)

_FLICKR_NAME = re.compile(
    r"(?:.*[/_])?[0-9]{6,12}(_[0-9a-f]+_[0-9]+_[0-9]+@N[0-9]+)?\.(jpe?g|png)", re.IGNORECASE
)


def has_flickr_names(form: TableForm) -> bool:
    """Every row holds the name of a file of Flickr's, as in the sets of photos."""
    return bool(form.sample) and all(any(map(_FLICKR_NAME.fullmatch, row)) for row in form.sample)


_PHOTOS = Refusal(
    recognises=has_flickr_names,
    found="file names of Flickr photos, where OSV-5M has Mapillary's ids",
    fix="use the dataset im2gps, im2gps3k, yfcc4k, yfcc26k or mp16",
)


def _other_split(file_name: str, other: str) -> Refusal:
    return Refusal(
        recognises=lambda form: form.path.name == file_name,
        found=f"{file_name} is the table of the other split",
        fix=f"use the dataset {other}",
    )


class OSV5MTest(TableDataset):
    """The benchmark, with the place names that administrative accuracy needs."""

    spec = TruthSpec(
        name="osv5m",
        info=DATASETS["osv5m"][1],
        files=("test.csv",),
        folders=("osv5m",),
        ids="verbatim",
        author_names=("creator_id",),
        extras=PLACE_COLUMNS,
        hole="NaN",
        source="streetview",
        images=("images/test", "images/test*.tar", "test", "test*.tar", "0[0-4].zip", "0[0-4]"),
        images_beside_truth=False,  # the five million of the other split may lie there
        refusals=(_PHOTOS, _other_split("train.csv", "osv5m-train"), *of_other_sets("osv5m")),
    )


class OSV5MTrain(TableDataset):
    """The gallery; place names are left out, they would double its memory."""

    spec = TruthSpec(
        name="osv5m-train",
        info=DATASETS["osv5m-train"][1],
        files=("train.csv",),
        folders=("osv5m",),
        ids="verbatim",
        author_names=("creator_id",),
        source="streetview",
        images=("images/train", "images/train*.tar", "train", "train*.tar"),
        images_beside_truth=False,
        refusals=(_PHOTOS, _other_split("test.csv", "osv5m"), *of_other_sets("osv5m-train")),
    )
