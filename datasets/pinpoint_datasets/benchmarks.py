"""Later benchmarks, a declaration each; where no file name is known, `--data` names the table."""

from __future__ import annotations

from pinpoint_harness.readers import TableDataset, TruthSpec

from . import DATASETS


class Commons26(TableDataset):
    """Photos of Wikimedia Commons; `group` succeeds or fails together, the continent NA is North America."""

    spec = TruthSpec(
        name="commons26",
        info=DATASETS["commons26"][1],
        files=("commons26.csv", "commons26.parquet"),
        folders=("commons26",),
        ids="verbatim",
        extras=("split", "group", "tier", "continent"),
        images=("images", "commons26/images", "commons26"),
    )


class EarthWhere(TableDataset):
    """Street-level pictures; its paper's radii are others than the field's."""

    spec = TruthSpec(
        name="earthwhere",
        info=DATASETS["earthwhere"][1],
        folders=("EarthWhere", "earthwhere"),
        ids="verbatim",
        extras=None,
        images=("images", "EarthWhere"),
    )


class GeoVistaBench(TableDataset):
    """A Parquet of `lat` and `lng`; every other column kept."""

    spec = TruthSpec(
        name="geovista-bench",
        info=DATASETS["geovista-bench"][1],
        folders=("GeoVistaBench",),
        ids="verbatim",
        extras=None,
        images=("raw_image", "images", "GeoVistaBench"),
    )


class GWS15k(TableDataset):
    """Any table under the name of a set that was never released."""

    spec = TruthSpec(
        name="gws15k",
        info=DATASETS["gws15k"][1],
        files=("gws15k.csv",),
        folders=("gws15k",),
        ids="verbatim",
        extras=None,
        source="streetview",
        images=("gws15k", "images"),
    )
