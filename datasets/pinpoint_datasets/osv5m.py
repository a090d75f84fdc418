"""OpenStreetView-5M: street-view pictures from Mapillary.

Columns are found by name, since their order varies and several may be absent. The photographer
is `creator_id`; one picture per `sequence` was kept, so a sequence clusters nothing.
"""

from __future__ import annotations

from pinpoint_harness.readers import TableDataset, TruthSpec

from . import DATASETS

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
    )
