"""commons26 and later benchmarks: their columns are read, and NA is North America."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pinpoint_harness import break_down, load_dataset
from pinpoint_harness.api import evaluate
from pinpoint_harness.plugins import load_registry

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
    assert load_registry().datasets[name].info.notes
