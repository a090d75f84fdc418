"""commons26 and later benchmarks: their columns are read, and NA is North America."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pinpoint_harness import break_down, load_dataset
from pinpoint_harness.api import compare, evaluate, score, table
from pinpoint_harness.errors import UsageError
from pinpoint_harness.evaluation import Estimate
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.reports.exports.hub_results import hub_results
from pinpoint_harness.reports.pages.figures import bands_of
from pinpoint_harness.reports.pages.section import build_section
from pinpoint_harness.reports.tables import Row
from pinpoint_harness.reports.tables.published import with_other_radii
from pinpoint_harness.types import RADII_KM, DatasetInfo

CONTINENTS = ["NA", "NA", "NA", "EU", "EU", "AS", "AF", "OC", "SA"]


@pytest.fixture
def commons(tmp_path: Path) -> Path:
    """A table in the columns of commons26; uploaders took several photos."""
    count = len(CONTINENTS)
    table = pd.DataFrame(
        {
            "IMG_ID": [f"File_{row}.jpg" for row in range(count)],
            "LAT": [10.0, 10, 50, 10, 50, 50, 10, 50, 50],
            "LON": 20.0,
            "split": "test",
            "group": [f"uploader {row // 2}" for row in range(count)],
            "tier": "A",
            "continent": CONTINENTS,
        }
    )
    table.to_csv(tmp_path / "commons26.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_columns_of_commons26_are_kept_and_north_america_is_no_hole(kind: str, commons: Path) -> None:
    if kind == "parquet":
        pd.read_csv(commons / "commons26.csv", keep_default_na=False).to_parquet(
            commons / "commons26.parquet"
        )
        (commons / "commons26.csv").unlink()
    truth = load_dataset("commons26", data=commons)
    assert truth["continent"].tolist() == CONTINENTS
    assert {"split", "group", "tier"} <= set(truth)
    assert truth["id"][0] == "File_0.jpg"


def test_its_headline_weighs_the_continents_alike_and_clusters_by_uploader(home: Path, commons: Path) -> None:
    given = {"latitude": 10.0, "longitude": 20.0}
    run = evaluate("constant", "commons26", data=commons, parameters=given, home=commons)
    found = break_down(run, "continent", load_dataset("commons26", data=commons))
    right: dict[str, Any] = {one.name: one.estimates["acc_1km"].value for one in found.slices}
    assert right == pytest.approx({"NA": 200 / 3, "EU": 50, "AF": 100, "AS": 0, "OC": 0, "SA": 0})
    assert found.balanced["acc_1km"].value == pytest.approx((200 / 3 + 50 + 100) / 6)
    assert found.whole.estimates["acc_1km"].value == pytest.approx(400 / 9)
    assert run.predictions()["cluster"].tolist()[:3] == ["uploader 0", "uploader 0", "uploader 1"]
    assert found.protocol == "wgs84-lt"


def test_geovista_bench_is_a_parquet_of_lat_and_lng(tmp_path: Path) -> None:
    table = {"uid": ["a", "b"], "lat": [1.0, 2.0], "lng": [3.0, 4.0], "city": ["x", "y"]}
    pd.DataFrame(table).to_parquet(tmp_path / "test.parquet")
    truth = load_dataset("geovista-bench", data=tmp_path / "test.parquet", columns={"id": "uid"})
    assert truth[["latitude", "longitude"]].to_numpy().tolist() == [[1, 3], [2, 4]]
    assert truth["city"].tolist() == ["x", "y"]


@pytest.mark.parametrize("name", ["earthwhere", "gws15k"])
def test_any_table_goes_under_the_name_of_a_set_whose_files_are_not_known(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("image,lat,lng,scene\na.jpg,1,2,road\nb.jpg,3,4,sea\n")
    truth = load_dataset(name, data=tmp_path / "mine.csv")
    assert truth["id"].tolist() == ["a.jpg", "b.jpg"]
    assert truth["scene"].tolist() == ["road", "sea"]
    assert load_registry().datasets[name].info.notes or name == "earthwhere"


def test_scores_tables_pages_and_exports_have_the_radii_of_earthwhere(tmp_path: Path) -> None:
    truth = "id,latitude,longitude\n" + "".join(f"p{i},0,{i}\n" for i in range(4))
    (tmp_path / "mine.csv").write_text(truth)
    runs = [
        evaluate(
            "constant",
            "earthwhere",
            data=tmp_path / "mine.csv",
            parameters={"latitude": 0.0, "longitude": longitude},
            home=tmp_path,
        )
        for longitude in (0.04, -0.04)  # 4.45 km from the first, 107 and 116 km from the second
    ]
    names = [f"acc_{radius:g}km" for radius in (1, 5, 10, 20, 50, 100, 200)]
    scores = score(runs[0])
    assert list(scores.estimates)[:7] == names
    assert [scores.estimates[name].value for name in names] == [0, 25, 25, 25, 25, 25, 50]
    assert {item.metric for item in compare(runs).differences} >= {"acc_5km", "acc_200km"}
    shown = table("earthwhere", home=tmp_path).to_frame()
    assert [name for name in shown if name in names] == names
    assert "acc_25km" not in shown
    assert table("earthwhere", home=tmp_path, radii_km=[25, 2500]).to_frame()["acc_25km"].tolist() == [25, 25]
    tasks = hub_results(runs[0], scores, "tonyqian/EarthWhere")["eval.yaml"].decode()
    assert [name for name in names if f'"{name}"' in tasks] == names
    section = build_section(runs, None, lambda: load_dataset("capitals"), lambda: np.empty((0, 2)))
    assert section.columns[0].band.tolist() == [1, 6, 7, 7]
    looks = bands_of(section.radii_km)
    assert looks["names"][6:8] == ["within 200 km", "beyond 200 km"]
    assert {len(look) for look in looks.values()} == {10}


def test_radii_that_a_run_was_stored_without_are_the_five(tmp_path: Path) -> None:
    run = evaluate("constant", "capitals", parameters={"latitude": 0, "longitude": 0}, home=tmp_path)
    assert run.radii_km == RADII_KM
    del run.record["dataset"]["radii_km"]  # as releases before wrote it
    assert run.radii_km == RADII_KM


@pytest.mark.parametrize("radii", [(), (25.0, 1.0), (0.0, 1.0), (1.0, 30_000.0)])
def test_a_dataset_of_radii_that_make_no_circles_is_refused(radii: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="within which radii"):
        DatasetInfo(title="x", source="x", licence="x", radii_km=radii)


def test_what_a_published_row_reports_within_other_radii_is_said_below_the_table() -> None:
    figures = {"acc_1km": 3.0, "acc_5km": 4.5}
    cells = {name: Estimate(value, None, None, None, 0) for name, value in figures.items()}
    row = Row("A paper", cells, kind="published")
    assert with_other_radii(row, RADII_KM).footnotes == ("counts within other radii: 4.5 % within 5 km",)
    assert with_other_radii(row, (1.0, 5.0)) is row
