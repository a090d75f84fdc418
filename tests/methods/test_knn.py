"""Nearest neighbours on features: by hand, against brute force, and the released [L]kNN cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from tests.support.stores import NamedStores, made_store

from pinpoint_harness import params
from pinpoint_harness.api import evaluate
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import FeatureStore, PhotoGallery
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import check_predictions
from pinpoint_harness.search import unit_rows
from pinpoint_harness.types import Context, Method, Queries
from pinpoint_methods.common.kernel_grid import lknn_peak
from pinpoint_methods.retrieval.knn import KNNVote, NearestPhoto, votes_of
from pinpoint_methods.retrieval.lknn import LKNN
from pinpoint_methods.retrieval.superglobal import SuperGlobal


def built(kind: type[Any], *stores: FeatureStore, **settings: Any) -> Method:
    store_lookup = NamedStores({store.dataset: store for store in stores})
    given = {"gallery": ",".join(store_lookup.stores), "backbone": "owner/none", **settings}
    method: Method = kind(params.build(kind.Params, given, "test"), Context(stores=store_lookup))
    return method


def ask(method: Method, features: Any, authors: list[str | None] | None = None) -> Any:
    half = torch.from_numpy(np.asarray(features, np.float16))
    author_token = hash_ids(authors or [None] * len(half))
    queries = Queries(np.arange(len(half), dtype=np.uint64), author_token, ["photos"] * len(half), half)
    answer = method.predict(queries)
    check_predictions(answer, len(half))
    return answer


def rows_of(photo_id: Any) -> NDArray[np.int64]:
    """The numbers that ids end with, -1 for no photo."""
    return np.array([[int(name[1:]) if name else -1 for name in names] for names in photo_id])


EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def test_the_nearest_photo_is_the_one_with_the_highest_cosine_whatever_its_length(tmp_path: Path) -> None:
    # The inner product alone would favour the long row.
    store = made_store(tmp_path, [[100, 100], EAST, NORTH], [(1, 1), (2, 2), (3, 3)])
    answer = ask(built(NearestPhoto, store, candidates=3), [[5.0, 0.1], [0.2, 3.0]])
    assert answer.coordinates.tolist() == [[2, 2], [3, 3]]
    assert answer.confidence[0] == pytest.approx(5 / np.hypot(5, 0.1), abs=1e-3)
    assert answer.candidates.coordinates[0].tolist() == [[2, 2], [1, 1], [3, 3]]
    assert answer.candidates.photo_id[0].tolist() == ["g0001", "g0000", "g0002"]
    assert set(answer.candidates.source[0]) == {"gallery"}


def test_two_galleries_are_searched_as_one_and_candidates_name_theirs(tmp_path: Path) -> None:
    photos = made_store(tmp_path, [EAST, NORTH], [(1, 1), (2, 2)], dataset="photos")
    street = made_store(tmp_path, [WEST, [0.9, 0.1], [0.1, 0.9]], [(3, 3), (4, 4), (5, 5)], dataset="street")
    found = ask(built(NearestPhoto, photos, street, candidates=2), [[0.9, 0.12]]).candidates
    named = list(zip(found.source[0], found.photo_id[0], strict=True))
    assert named == [("street", "g0001"), ("photos", "g0000")]
    assert found.coordinates[0].tolist() == [[4, 4], [1, 1]]
    alone = ask(built(NearestPhoto, photos), [[0.9, 0.12]])
    assert alone.coordinates.tolist() == [[1, 1]]


def test_equal_photos_are_taken_in_the_order_of_their_ids(tmp_path: Path) -> None:
    store = made_store(tmp_path, [NORTH, EAST, EAST, EAST], [(0, 0), (1, 1), (2, 2), (3, 3)])
    answer = ask(built(NearestPhoto, store, candidates=3), [EAST])
    assert rows_of(answer.candidates.photo_id)[0].tolist() == [1, 2, 3]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31))
def test_neighbours_are_those_of_brute_force(rows: int, queries: int, seed: int) -> None:
    import tempfile

    random = np.random.default_rng(seed)
    gallery, asked = random.normal(size=(rows, 6)), random.normal(size=(queries, 6))
    with tempfile.TemporaryDirectory() as folder:
        store = made_store(Path(folder), gallery, random.uniform(-80, 80, (rows, 2)))
        answer = ask(built(NearestPhoto, store, candidates=5), asked)
    unit = [unit_rows(torch.tensor(np.float16(side))).double().numpy() for side in (gallery, asked)]
    scores = unit[1] @ unit[0].T
    expected = np.argsort(-scores, axis=1, kind="stable")[:, : min(5, rows)]
    found = rows_of(answer.candidates.photo_id)
    assert np.array_equal(found[:, : min(5, rows)], expected)
    assert (found[:, min(5, rows) :] == -1).all()
    assert ((answer.candidates.source == "") == (found < 0)).all()


def test_an_answer_does_not_depend_on_the_tile(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    store = made_store(tmp_path, random.normal(size=(300, 16)), random.uniform(-80, 80, (300, 2)))
    asked = random.normal(size=(64, 16))
    for kind in (NearestPhoto, KNNVote, LKNN):
        method = built(kind, store)
        together = ask(method, asked)
        for size in (1, 7):
            for start in (0, 21):
                part = ask(method, asked[start : start + size])
                assert np.array_equal(part.coordinates, together.coordinates[start : start + size])
                assert np.array_equal(part.confidence, together.confidence[start : start + size])


@pytest.mark.parametrize("kind", [NearestPhoto, KNNVote, LKNN, SuperGlobal])
def test_several_tiles_are_answered_as_each_alone_from_one_pass(
    kind: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    store = made_store(tmp_path, random.normal(size=(300, 16)), random.uniform(-80, 80, (300, 2)))
    half = torch.from_numpy(random.normal(size=(48, 16)).astype(np.float16))
    nobody = np.zeros(16, np.uint64)
    tiles = [
        Queries(np.arange(16, dtype=np.uint64), nobody, ["photos"] * 16, half[start : start + 16])
        for start in (0, 16, 32)
    ]
    method: Any = built(kind, store, **({"top": 40} if kind is SuperGlobal else {}))
    alone = [method.predict(tile) for tile in tiles]
    searched: list[int] = []
    nearest = PhotoGallery.nearest

    def counted(gallery: PhotoGallery, features: Any, *others: Any) -> Any:
        searched.append(len(features))
        return nearest(gallery, features, *others)

    monkeypatch.setattr(PhotoGallery, "nearest", counted)
    for mine, theirs in zip(alone, method.predict_tiles(tiles), strict=True):
        assert np.array_equal(mine.coordinates, theirs.coordinates)
        assert np.array_equal(mine.confidence, theirs.confidence)
        assert np.array_equal(mine.candidates.photo_id, theirs.candidates.photo_id)
    assert searched == [48]


def test_votes_are_those_of_one_query_after_another_to_the_bit() -> None:
    random = np.random.default_rng(5)
    places = random.uniform(-1, 1, (9, 37, 2)).round(1)
    cosine = -np.sort(-random.uniform(-0.2, 1, (9, 37)), axis=1)
    for query, count in enumerate((37, 37, 5, 1, 0, 12, 37, 5, 36)):
        cosine[query, count:], places[query, count:] = np.nan, np.nan
    found = votes_of(cosine, places, 80.0)
    for query in range(9):
        for row in range(37):
            if np.isnan(cosine[query, row]):
                assert np.isnan(found[query, row])
                continue
            count = int((~np.isnan(cosine[query])).sum())
            near = haversine_km(places[query, :count], places[query, row]) <= 80.0
            assert found[query, row] == np.where(near, np.maximum(cosine[query, :count], 0.0), 0.0).sum()


# The query's own photo


def test_a_photo_that_stands_in_the_gallery_is_never_its_own_neighbour(tmp_path: Path) -> None:
    store = made_store(tmp_path, [EAST, [1, 0.1], NORTH], [(1, 1), (2, 2), (3, 3)])
    ids = store.table["id"].to_pylist()
    half = torch.tensor([EAST, NORTH], dtype=torch.float16)
    queries = Queries(hash_ids([ids[0], "somebody else"]), hash_ids([None, None]), ["photos"] * 2, half)
    for kind in (NearestPhoto, KNNVote, LKNN):
        candidates = built(kind, store).predict(queries).candidates
        assert candidates is not None
        assert candidates.photo_id is not None
        assert ids[0] not in candidates.photo_id[0]
        assert ids[2] in candidates.photo_id[1]


# The author filter


def test_the_author_filter_leaves_out_the_photographer_and_nobody_else(tmp_path: Path) -> None:
    store = made_store(
        tmp_path, [EAST, [1, 0.1], NORTH], [(1, 1), (2, 2), (3, 3)], authors=["ann", "ben", None]
    )
    plain, filtered = (built(NearestPhoto, store, author_filter=on) for on in (False, True))
    authors: list[str | None] = ["ann", "ben"]
    assert ask(plain, [EAST, EAST], authors).coordinates.tolist() == [[1, 1], [1, 1]]
    answer = ask(filtered, [EAST, EAST], authors)
    assert answer.coordinates.tolist() == [[2, 2], [1, 1]]
    assert answer.notes == ("1 of 3 gallery photos have no author and pass the author filter",)
    assert ask(plain, [EAST], ["ann"]).notes == ()


def test_a_query_whose_photographer_took_the_whole_gallery_has_no_answer(tmp_path: Path) -> None:
    store = made_store(tmp_path, [EAST, NORTH], [(1, 1), (2, 2)], authors=["ann", "ann"])
    for kind in (NearestPhoto, KNNVote, LKNN):
        answer = ask(built(kind, store, author_filter=True), [EAST, EAST], ["ann", "ben"])
        assert np.isnan(answer.coordinates[0]).all()
        assert not np.isnan(answer.coordinates[1]).any()


def test_the_author_filter_without_authors_is_an_error_on_either_side(tmp_path: Path) -> None:
    nobody = made_store(tmp_path / "a", [EAST], [(1, 1)])
    with pytest.raises(DataError, match="photographers of the gallery 'gallery'"):
        built(NearestPhoto, nobody, author_filter=True)
    known = made_store(tmp_path / "b", [EAST], [(1, 1)], authors=["ann"])
    with pytest.raises(DataError, match=r"photographer of every query[\s\S]*1 of 2 queries"):
        ask(built(NearestPhoto, known, author_filter=True), [EAST, EAST], ["ann", None])


# Votes


def test_many_neighbours_in_one_place_outvote_the_single_nearest(tmp_path: Path) -> None:
    lonely, paris = (10.0, 10.0), [(48.85, 2.35), (48.86, 2.34), (48.84, 2.36)]
    store = made_store(tmp_path, [EAST, [1, 0.2], [1, 0.3], [1, 0.4]], [lonely, *paris])
    answer = ask(built(KNNVote, store, k=4), [EAST])
    assert answer.coordinates.tolist() == [[48.85, 2.35]]  # the most similar of three equals
    cosines = [1 / np.hypot(1, x) for x in (0.2, 0.3, 0.4)]
    assert answer.confidence[0] == pytest.approx(sum(cosines), abs=2e-3)
    assert ask(built(KNNVote, store, k=1), [EAST]).coordinates.tolist() == [[10, 10]]
    assert ask(built(KNNVote, store, k=4, radius_km=0.1), [EAST]).coordinates.tolist() == [[10, 10]]


def test_a_vote_of_one_is_the_nearest_photo(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    store = made_store(tmp_path, random.normal(size=(50, 8)), random.uniform(-80, 80, (50, 2)))
    asked = random.normal(size=(20, 8))
    one, other = ask(built(KNNVote, store, k=1), asked), ask(built(NearestPhoto, store), asked)
    assert np.array_equal(one.coordinates, other.coordinates)


def test_neighbours_across_the_antimeridian_vote_for_each_other(tmp_path: Path) -> None:
    places = [(0.0, 20.0), (-17.0, 179.95), (-17.0, -179.95)]
    store = made_store(tmp_path, [EAST, [1, 0.2], [1, 0.25]], places)
    assert ask(built(KNNVote, store, k=3), [EAST]).coordinates.tolist() == [[-17, 179.95]]


# [L]kNN


def released_peak(places: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """predict_gps.m of github.com/lugiavn/revisiting-im2gps in numpy, on whole grids as written there.

    `imgaussfilt` cuts its kernel at 2 sigma and continues the picture at its edges.
    """

    def index(value: float, scale: int, half: int) -> int:
        return int(np.ceil(value * scale)) + half * scale  # counted from 1

    def blurred(grid: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
        result: NDArray[np.float64] = gaussian_filter(grid, sigma, mode="nearest", truncate=2.0)
        return result

    def first_peak(grid: NDArray[np.float64]) -> tuple[int, int]:
        column, row = divmod(int(np.argmax(grid.T)), grid.shape[0])
        return row + 1, column + 1

    grid = np.zeros((180, 360))
    for (latitude, longitude), share in zip(places, weight, strict=True):
        row, column = index(latitude, 1, 90), index(longitude, 1, 180)
        if 1 <= row <= 180 and 1 <= column <= 360:
            grid[row - 1, column - 1] += share
    row, column = first_peak(blurred(grid, 4))
    row, column = max(21, min(159, row)), max(21, min(339, column))
    grid = np.zeros((1800, 3600))
    for (latitude, longitude), share in zip(places, weight, strict=True):
        fine_row, fine_column = index(latitude, 10, 90), index(longitude, 10, 180)
        if 1 <= fine_row <= 1800 and 1 <= fine_column <= 3600:
            grid[fine_row - 1, fine_column - 1] += share
    window = (slice(row * 10 - 201, row * 10 + 200), slice(column * 10 - 201, column * 10 + 200))
    peaks = np.zeros_like(grid)
    peaks[window] = blurred(grid[window], 40)
    row, column = first_peak(peaks)
    return (row - 900) / 10, (column - 1800) / 10


@pytest.mark.parametrize("seed", range(4))
def test_the_peak_is_that_of_the_released_code(seed: int) -> None:
    random = np.random.default_rng(seed)
    centres = random.uniform([-60, -170], [70, 170], (5, 2))
    places = centres[random.integers(0, 5, 100)] + random.normal(scale=3, size=(100, 2))
    squared = np.sort(random.uniform(0.5, 1.0, 100))
    weight = (squared[0] / squared) ** 10
    found = lknn_peak(places, weight, 4.0)
    assert haversine_km(found, np.array(released_peak(places, weight))) == pytest.approx(0, abs=1e-6)


def test_the_answer_is_the_first_neighbour_within_100_km_of_the_peak(tmp_path: Path) -> None:
    # A lonely nearest neighbour against a crowd that is nearly as similar.
    crowd = [(48.0 + 0.1 * row, 2.0) for row in range(20)]
    features = [EAST, *[[1, 0.01 * row + 0.05] for row in range(20)]]
    store = made_store(tmp_path, features, [(-30.0, 150.0), *crowd])
    near = ask(built(LKNN, store, exponent=0), [[1, 0.03]])
    peak = lknn_peak(np.array([(-30.0, 150.0), *crowd]), np.ones(21), 4.0)
    order = [row for row in range(20) if haversine_km(np.array(crowd[row]), peak) < 100]
    assert near.coordinates.tolist() == [list(crowd[order[0]])]
    # With the released exponent an identical photo outweighs everything.
    assert ask(built(LKNN, store), [EAST]).coordinates.tolist() == [[-30, 150]]


@pytest.mark.parametrize(
    "place", [(-90.0, 0.0), (90.0, 180.0), (0.0, -180.0), (89.9, 179.9), (-89.95, -179.95)]
)
def test_places_at_the_rim_of_the_grid_are_answered(place: tuple[float, float], tmp_path: Path) -> None:
    store = made_store(tmp_path, [EAST, [1, 0.1]], [place, place])
    answer = ask(built(LKNN, store), [EAST])
    assert np.isfinite(answer.coordinates).all()


# In a run


def test_the_three_run_from_stores_alone_and_their_key_follows_the_gallery(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    places, features = random.uniform(-80, 80, (30, 2)).round(3), random.normal(size=(30, 4))
    ids = [f"q{row:02}" for row in range(30)]
    truth = tmp_path / "truth.csv"
    rows = [f"{name},{lat},{lon},ann" for name, (lat, lon) in zip(ids, places, strict=True)]
    truth.write_text("\n".join(["img_id,lat,lon,author", *rows]) + "\n")
    stores = tmp_path / "stores"
    made_store(stores, features, places, dataset="table", ids=ids)
    first = made_store(stores, features, places, dataset="mp16", authors=["ben"] * 30)
    other = made_store(stores, features[:20], places[:20], dataset="osv5m-train")

    def run(method: str, **settings: Any) -> Any:
        given = {"backbone": "owner/none", "gallery": "mp16", **settings}
        where: dict[str, Any] = {"out": tmp_path / "runs", "stores": stores, "registry": load_registry()}
        return evaluate(method, "table", data=truth, parameters=given, tile=8, **where)

    nearest = run("nearest-photo")
    assert (nearest.predictions()["error_km"] == 0).all()
    assert nearest.record["recipe"]["parameters"]["gallery"] == [first.key]
    assert nearest.record["method"]["gallery"] == "mp16"
    assert nearest.record["method"]["author_filter"] == "no"
    assert run("nearest-photo", gallery=str(first.folder)).key == nearest.key  # content, not name
    assert run("nearest-photo", gallery=f"mp16,{other.folder}").key != nearest.key
    filtered = run("nearest-photo", author_filter=True)
    assert filtered.record["method"]["author_filter"] == "yes"
    for method in ("knn-vote", "lknn"):
        assert run(method).record["counts"]["ok"] == 30
    with pytest.raises(UsageError, match="does not name galleries, each once"):
        run("nearest-photo", gallery="mp16,mp16")
    with pytest.raises(DataError, match="does not hold features of 'owner/other'"):
        run("nearest-photo", gallery=str(first.folder), backbone="owner/other")


def test_all_three_are_described_with_their_parameters() -> None:
    for name, expected in [("nearest-photo", "gallery"), ("knn-vote", "radius_km"), ("lknn", "sigma_deg")]:
        shown = CliRunner().invoke(cli, ["methods", "show", name]).output
        assert expected in shown
        assert "author_filter" in shown


@pytest.mark.realdata
def test_real_photos_run_through_a_siglip_in_the_real_format(real_data: Path, tmp_path: Path) -> None:
    from tests.support.processors import SiglipImageProcessorPil
    from transformers import SiglipConfig, SiglipModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    part = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={
            **part,
            "vocab_size": 64,
            "max_position_embeddings": 8,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={**part, "image_size": 64, "patch_size": 16},
    )
    torch.manual_seed(0)
    SiglipModel(config).save_pretrained(tmp_path / "siglip")
    SiglipImageProcessorPil(size={"height": 64, "width": 64}, resample=2).save_pretrained(tmp_path / "siglip")
    where: dict[str, Any] = {
        "data": real_data / "osv5m",
        "out": tmp_path / "runs",
        "stores": tmp_path / "stores",
    }
    given = {
        "backbone": str(tmp_path / "siglip"),
        "gallery": "osv5m",
        "gallery_data": str(real_data / "osv5m"),
    }
    run = evaluate("nearest-photo", "osv5m", parameters=given, **where)
    # Its own gallery: every photo finds another one, never itself.
    assert (run.predictions()["error_km"] > 0).all()
    assert run.record["counts"]["ok"] == 71


def test_a_gallery_without_features_says_how_to_make_them(tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("img_id,lat,lon\nq,1,2\n")
    made_store(tmp_path / "stores", [EAST], [(1, 2)], dataset="table", ids=["q"])
    with pytest.raises(DataError, match=r"gallery 'mp16' has no features[\s\S]*embed\(.mp16., backbone="):
        evaluate(
            "nearest-photo",
            "table",
            data=truth,
            parameters={"backbone": "owner/none", "gallery": "mp16"},
            home=tmp_path,
        )
