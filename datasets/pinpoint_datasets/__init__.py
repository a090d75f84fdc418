"""The datasets that come with the project, by name.

Importing this opens no table and imports no pandas: a class is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinpoint_harness.plugins import hookimpl
from pinpoint_harness.types import DatasetInfo

from .mini_earth.infos import MINI, MINI_EARTH

if TYPE_CHECKING:
    from pinpoint_harness.plugins import Register

_FLICKR_LICENCE = "photos: each photographer's own terms on Flickr; table: none stated"
_REVISITING = "Vo, Jacobs, Hays: Revisiting IM2GPS in the Deep Learning Era. ICCV 2017. arXiv:1705.04838"
_OSV5M = (
    "Astruc et al.: OpenStreetView-5M: The Many Roads to Global Visual Geolocation. CVPR 2024. "
    "arXiv:2404.18873"
)
_OSV5M_LICENCE = "CC-BY-SA-4.0 (Mapillary imagery)"
_AT_OSV5M = "Hugging Face osv5m/osv5m"
_AT_G3 = "Hugging Face Jia-py/G3-checkpoint"

DATASETS = {
    "im2gps": (
        "pinpoint_datasets.flickr:Im2GPS",
        DatasetInfo(
            title="Im2GPS, 237 photos from Flickr",
            source="graphics.cs.cmu.edu/projects/im2gps (gps_query_imgs.zip)",
            licence=_FLICKR_LICENCE,
            citation="Hays, Efros: IM2GPS: estimating geographic information from a single image. CVPR 2008",
            expected_rows=237,
            cluster_column="AUTHOR",
            notes=("3 photos and 43 photographers are also in IM2GPS3k",),
        ),
    ),
    "im2gps3k": (
        "pinpoint_datasets.flickr:Im2GPS3k",
        DatasetInfo(
            title="IM2GPS3k, 2,997 photos from Flickr",
            source=f"{_AT_G3} (table), mediafire im2gps3ktest.zip (images)",
            licence=_FLICKR_LICENCE,
            citation=_REVISITING,
            expected_rows=2997,
            cluster_column="AUTHOR",
            notes=("2,997 photos by 198 photographers; the zip of images holds 3,000 files",),
        ),
    ),
    "yfcc4k": (
        "pinpoint_datasets.flickr:YFCC4k",
        DatasetInfo(
            title="YFCC4k, 4,536 photos from Flickr",
            source=f"{_AT_G3} (table), mediafire yfcc4k.zip (images)",
            licence=_FLICKR_LICENCE,
            citation=_REVISITING,
            expected_rows=4536,
            cluster_column="OwnerNSID",
            notes=(
                "3,111 of the 4,536 photos are by photographers who also took photos in MP-16, the usual "
                "gallery",
                "Flickr's placeholder picture stands for roughly 3.5 % of the images",
            ),
        ),
    ),
    "yfcc26k": (
        "pinpoint_datasets.flickr:YFCC26k",
        DatasetInfo(
            title="YFCC26k (YFCC25600), 25,600 photos from Flickr",
            source="GitHub release of GeoEstimation, or its mirror on Kaggle",
            licence=_FLICKR_LICENCE,
            citation=(
                "Theiner, Müller-Budack, Ewerth: Interpretable Semantic Photo Geolocation. WACV 2022. "
                "arXiv:2104.14995"
            ),
            expected_rows=25_600,
            cluster_column="AUTHOR",
            notes=("23,035 of the 25,600 photos can still be downloaded",),
        ),
    ),
    "osv5m": (
        "pinpoint_datasets.osv5m:OSV5MTest",
        DatasetInfo(
            title="OpenStreetView-5M, test: 210,122 street-view pictures",
            source=f"{_AT_OSV5M} (test.csv)",
            licence=_OSV5M_LICENCE,
            citation=_OSV5M,
            expected_rows=210_122,
            default_protocol="haversine-6371-lt",
            cluster_column="creator_id",
            notes=(
                "test images lie at least 1 km from every training image: an answer from the training "
                "gallery scores about 0 at 1 km by construction",
            ),
        ),
    ),
    "osv5m-train": (
        "pinpoint_datasets.osv5m:OSV5MTrain",
        DatasetInfo(
            title="OpenStreetView-5M, train: about 4.89 million street-view pictures",
            source=f"{_AT_OSV5M} (train.csv)",
            licence=_OSV5M_LICENCE,
            citation=_OSV5M,
            default_protocol="haversine-6371-lt",
            cluster_column="creator_id",
        ),
    ),
    "mp16": (
        "pinpoint_datasets.flickr:MP16",
        DatasetInfo(
            title="MP-16, 4.72 million photos from Flickr",
            source="Hugging Face Jia-py/MP16-Pro (gated)",
            licence=_FLICKR_LICENCE,
            citation=(
                "Larson et al.: The Benchmarking Initiative for Multimedia Evaluation: MediaEval 2016. "
                "IEEE MultiMedia 24(1), 2017"
            ),
            cluster_column="AUTHOR",
            notes=("about 4.12 of the 4.72 million images are left",),
        ),
    ),
    "mp16-pro": (
        "pinpoint_datasets.flickr:MP16Pro",
        DatasetInfo(
            title="MP16-Pro, MP-16 with place names",
            source="Hugging Face Jia-py/MP16-Pro (gated)",
            licence=_FLICKR_LICENCE,
            citation=(
                "Jia et al.: G3: An Effective and Adaptive Framework for Worldwide Geolocalization Using "
                "Large Multi-Modality Models. NeurIPS 2024. arXiv:2405.14702"
            ),
            cluster_column="AUTHOR",
        ),
    ),
    "commons26": (
        "pinpoint_datasets.benchmarks:Commons26",
        DatasetInfo(
            title="commons26, photos from Wikimedia Commons, tiers and continents told apart",
            source="Hugging Face kinghorton42/commons26",
            licence="photos: each one's own on Wikimedia Commons; table: see its page",
            cluster_column="group",
            notes=(
                "its headline weighs six continents equally: `pinpoint runs breakdown RUN --by continent`, "
                "the balanced row; NA is North America",
            ),
        ),
    ),
    "earthwhere": (
        "pinpoint_datasets.benchmarks:EarthWhere",
        DatasetInfo(
            title="EarthWhere, street-level pictures and panoramas made for language models",
            source="Hugging Face tonyqian/EarthWhere",
            licence="?",
            citation="Qian et al.: Where on Earth? A Vision-Language Benchmark for Probing Model Geolocation "
            "Skills Across Scales. 2025. arXiv:2510.10880",
            radii_km=(1.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0),
        ),
    ),
    "geovista-bench": (
        "pinpoint_datasets.benchmarks:GeoVistaBench",
        DatasetInfo(
            title="GeoVistaBench (GeoBench), photos, panoramas and satellite images with coordinates",
            source="Hugging Face LibraTree/GeoVistaBench",
            licence="?",
            citation="GeoVista. 2025. arXiv:2511.15705",
        ),
    ),
    "gws15k": (
        "pinpoint_datasets.benchmarks:GWS15k",
        DatasetInfo(
            title="GWS15k rebuilt: any table of street-view places under that name",
            source="your own: the set was never released",
            licence="your own",
            citation="Clark et al.: Where We Are and What We're Looking At. CVPR 2023. arXiv:2303.04249",
            notes=("GWS15k was never released: every rebuilt set is another, and so are published rows",),
        ),
    ),
    "table": (
        "pinpoint_datasets.flickr:AnyTable",
        DatasetInfo(
            title="Any table with ids and coordinates (CSV, TSV, Parquet)",
            source="your own file",
            licence="your own",
        ),
    ),
    "photos": (
        "pinpoint_datasets.photos:Photos",
        DatasetInfo(
            title="A folder of photos that say in their EXIF where they were taken",
            source="your own camera or phone",
            licence="your own",
            notes=("positions are those of the camera's own receiver",),
        ),
    ),
    "capitals": (
        "pinpoint_datasets.capitals:Capitals",
        DatasetInfo(
            title="Capitals of the 193 member states of the United Nations",
            source="GeoNames (geonames.org), embedded in this package",
            licence="CC-BY-4.0, GeoNames",
            citation="GeoNames geographical database, geonames.org",
            expected_rows=193,
            notes=("places without photos: for trying commands, not for comparing methods",),
        ),
    ),
    **MINI_EARTH,
}


@hookimpl
def pinpoint_register(register: Register) -> None:
    for name, (target, info) in DATASETS.items():
        register.dataset(name, target, info)
    register.backbone("mini", "pinpoint_datasets.mini_earth.backbone:Mini", MINI)
