"""The capitals of the world: a small real truth that needs no download."""

from __future__ import annotations

from pinpoint_harness.readers import TableDataset, TruthSpec

from . import DATASETS
from .flickr import of_other_sets


class Capitals(TableDataset):
    """`capitals.csv`: id (ISO 3166-1 alpha-2), capital, country, continent, latitude, longitude."""

    spec = TruthSpec(
        name="capitals",
        info=DATASETS["capitals"][1],
        files=("capitals.csv",),
        ids="verbatim",
        extras=None,
        source="gazetteer",
        packaged=("pinpoint_datasets", "capitals.csv"),
        refusals=of_other_sets("capitals"),
    )
