"""Fused retrieval and Chipoint's: sums of z-scores by hand, several backbones, heads in the real format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from tests.support.small_releases import chipoint_release
from tests.support.stores import NamedStores, made_store
from tests.support.weight_files import Trap

from pinpoint_harness import params
from pinpoint_harness.api import evaluate, load_dataset
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import Neighbours
from pinpoint_harness.features.backbones import WeightsError
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import check_predictions
from pinpoint_harness.testing import assert_contract
from pinpoint_harness.types import Context, Queries
from pinpoint_methods.chipoint.method import TOWERS, ChipointRetrieval, gallery_file, head_file
from pinpoint_methods.common.consensus import decode
from pinpoint_methods.common.fusion import Fused, fuse, standardised
from pinpoint_methods.retrieval.fused import FusedRetrieval

ROWS, WIDTHS = 90, {"a": 12, "b": 20, "c": 16}


def neighbours(rows: Any, cosine: Any, places: Any) -> Neighbours:
    row = np.array(rows)
    there = row >= 0
    return Neighbours(
        row, np.where(there, cosine, np.nan), np.where(there[..., None], np.asarray(places)[row], np.nan)
    )


def keys_of(fused: Fused, *key: Any) -> Any:
    """The names `(n, pool)` of the photos, as lists."""
    seen = np.take_along_axis(np.concatenate(key, axis=1), np.maximum(fused.slot, 0), axis=1)
    return np.where(fused.slot >= 0, seen, -1).tolist()


def fused_alone(found: list[Neighbours], pool: int) -> tuple[Any, Any, Any]:
    """Keys, scores and places of the first query, photo by photo."""
    total: dict[int, float] = {}
    place: dict[int, Any] = {}
    for one in found:
        there = one.row[0] >= 0
        cosine = one.cosine[0][there]
        score = (cosine - np.nanmean(cosine)) / (np.nanstd(cosine) + 1e-9) if len(cosine) else cosine
        seen = zip(one.row[0][there].tolist(), score.tolist(), one.coordinates[0][there], strict=True)
        for name, value, where in seen:
            total[name] = total.get(name, 0.0) + value
            place.setdefault(name, where)
    best = sorted(total, key=lambda name: -total[name])[:pool]
    empty = [-1] * (pool - len(best))
    scores = np.array([*(total[name] for name in best), *(np.nan for _ in empty)])
    return best + empty, scores, np.array([*(place[name] for name in best), *([np.nan] * 2 for _ in empty)])


def test_many_queries_are_fused_to_the_bits_of_each_alone() -> None:
    random = np.random.default_rng(3)
    found = []
    for number in range(3):
        row = np.array([random.permutation(60)[:25] for _ in range(40)])
        for query, count in enumerate(random.integers(0, 26, 40)):
            row[query, count:] = -1
        cosine = random.uniform(0, 1, row.shape).round(1 if number else 15)  # some sums are equal
        found.append(neighbours(row, cosine, random.uniform(-80, 80, (60, 2))))
    fused = fuse(found, [one.row for one in found], pool=30)
    keys = keys_of(fused, *(one.row for one in found))
    for query in range(40):
        mine = [Neighbours(*(of[query : query + 1] for of in vars(one).values())) for one in found]
        key, score, places = fused_alone(mine, 30)
        assert keys[query] == key
        assert np.array_equal(fused.score[query], score, equal_nan=True)
        assert np.array_equal(fused.coordinates[query], places, equal_nan=True)


def test_scores_are_sums_of_z_scores_and_equals_stand_as_they_were_seen() -> None:
    places = np.arange(10.0).repeat(2).reshape(10, 2)
    first = neighbours([[3, 1, 2, -1]], [[0.9, 0.5, 0.4, 0.0]], places)
    second = neighbours([[1, 4, 3, 5]], [[0.8, 0.8, 0.2, 0.2]], places)
    fused = fuse([first, second], [first.row, second.row], pool=4)
    z = standardised(np.array([0.9, 0.5, 0.4]))
    expected = {3: z[0] - 1, 1: z[1] + 1, 2: z[2], 4: 1.0, 5: -1.0}
    order = sorted(expected, key=lambda key: -expected[key])[:4]
    assert keys_of(fused, first.row, second.row) == [order]
    assert fused.score[0] == pytest.approx([expected[key] for key in order])
    assert np.array_equal(fused.coordinates[0], places[order])
    tied = fuse([second], [second.row], pool=9)
    assert keys_of(tied, second.row) == [[1, 4, 3, 5, -1, -1, -1, -1, -1]]
    assert np.isnan(tied.score[0, 4:]).all()


def test_equal_similarities_say_nothing_and_none_at_all_give_no_answer() -> None:
    assert standardised(np.array([0.5, 0.5])) == pytest.approx([0, 0])
    nothing = neighbours([[-1, -1]], [[0.0, 0.0]], np.zeros((1, 2)))
    assert np.isnan(
        fuse([nothing], [nothing.row], 3).answer(FusedRetrieval.Params(gallery="g")).coordinates
    ).all()


# Through several backbones


def truth() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {"latitude": random.uniform(-60, 60, ROWS), "longitude": random.uniform(-170, 170, ROWS)}
    )


def matrices() -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {name: random.normal(size=(ROWS, width)).astype(np.float16) for name, width in WIDTHS.items()}


class ByBackbone(NamedStores):
    """A gallery for each backbone."""

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> Any:
        return self.stores[backbone]


def stores(root: Path, names: str = "abc", **lost: int) -> ByBackbone:
    """Features of the same photos by each backbone, less the first `lost` of them."""
    places = truth().to_numpy()
    return ByBackbone(
        {
            name: made_store(
                root / name,
                matrices()[name][lost.get(name, 0) :],
                places[lost.get(name, 0) :],
                ids=[f"g{row:04}" for row in range(lost.get(name, 0), ROWS)],
            )
            for name in names
        }
    )


def features(names: str, count: int = 16) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(count, WIDTHS[name], generator=generator).half() for name in names)


def queries(given: Any, count: int = 16) -> Queries:
    return Queries(
        hash_ids([f"q{row}" for row in range(count)]), np.zeros(count, np.uint64), ["photos"] * count, given
    )


def built(kind: Any, opened: NamedStores, **settings: Any) -> Any:
    return kind(params.build(kind.Params, settings, "test"), Context(stores=opened))


@pytest.mark.parametrize("lost", [{}, {"b": 30}])
def test_photos_are_fused_by_what_they_are_and_not_by_their_rows(
    lost: dict[str, int], tmp_path: Path
) -> None:
    method = built(
        FusedRetrieval,
        stores(tmp_path, **lost),
        gallery="g",
        backbones="a, b",
        top=20,
        pool=30,
        candidates=30,
    )
    assert method.input == "a,b"
    given = features("ab")
    answer = method.predict(queries(given))
    check_predictions(answer, 16)
    places = truth().to_numpy()
    for query in range(16):
        total: dict[int, float] = {}
        for name, vectors in zip("ab", given, strict=True):
            matrix = torch.from_numpy(matrices()[name]).double()
            # Gallery and queries are unit vectors in fp16.
            unit = (matrix / matrix.norm(dim=1, keepdim=True)).half().double()
            asked = vectors[query].double()
            cosine = (unit @ (asked / asked.norm()).half().double()).numpy()
            cosine[: lost.get(name, 0)] = -np.inf
            best = np.argsort(-cosine, kind="stable")[:20]
            z = (cosine[best] - cosine[best].mean()) / (cosine[best].std() + 1e-9)
            for row, value in zip(best.tolist(), z.tolist(), strict=True):
                total[row] = total.get(row, 0) + value
        order = sorted(total, key=lambda row: -total[row])[:30]
        assert answer.candidates.photo_id[query].tolist() == [f"g{row:04}" for row in order]
        assert set(answer.candidates.source[query]) == {"gallery"}
        weight = np.maximum([total[row] for row in order], 0) ** 4
        expected = decode("cluster", places[order][None], weight[None])[0]
        assert answer.coordinates[query] == pytest.approx(expected, abs=1e-3)
        assert answer.confidence[query] == pytest.approx(total[order[0]], abs=1e-4)


def test_one_backbone_is_enough_and_none_or_one_twice_is_refused(tmp_path: Path) -> None:
    method = built(FusedRetrieval, stores(tmp_path), gallery="g", backbones="a", decoding="first")
    answer = method.predict(queries(features("a")[0]))
    assert np.array_equal(answer.coordinates, answer.candidates.coordinates[:, 0])
    for wrong in (" ,", "a,a"):
        with pytest.raises(UsageError, match="does not name backbones, each once"):
            built(FusedRetrieval, stores(tmp_path), gallery="g", backbones=wrong)


@pytest.mark.parametrize("backbones", ["a", "a,b"])
def test_fused_retrieval_keeps_the_contract(backbones: str) -> None:
    given = {"backbones": backbones, "author_filter": True}
    assert_contract(load_registry().method("fused-retrieval"), given, widths=WIDTHS, tile=5)


def names_of(run: Any) -> list[set[str]]:
    """Of each photo, the ids of its candidates."""
    lists = run.table()["candidates"].to_pylist()
    return [{one["photo_id"] for one in found or []} for found in lists]


def test_a_run_looks_through_several_stores_and_a_photo_without_one_of_them_is_a_miss(
    home: Path, tmp_path: Path
) -> None:
    """Imported features by two backbones, of which one lacks a query."""
    ids = load_dataset("capitals")["id"].to_numpy(str)
    random = np.random.default_rng(2)
    for name, lost in (("a", 0), ("b", 3)):
        file = tmp_path / f"{name}.npz"
        np.savez(file, ids=ids[lost:], features=random.normal(size=(len(ids) - lost, WIDTHS[name])))
        given = ["stores", "import", "capitals", str(file), "--backbone", f"my-{name}"]
        given += ["--normalisation", "none", "--home", str(tmp_path)]
        found = CliRunner().invoke(cli, given)
        assert found.exit_code == 0, found.output
    asked = {"backbones": "my-a,my-b", "gallery": "capitals"}
    run = evaluate("fused-retrieval", "capitals", home=tmp_path, parameters=asked)
    rows = run.predictions()
    assert rows["status"].tolist() == ["missing"] * 3 + ["ok"] * (len(ids) - 3)
    assert len(run.record["recipe"]["inputs"]["stores"]) == 2
    assert all(photo not in found for photo, found in zip(rows["id"], names_of(run), strict=True))


# Chipoint 2


SETTINGS = dict(zip(TOWERS, "abc", strict=True))


def release(folder: Path) -> Path:
    """Published weights with a gallery of the photos above."""
    features = {tower: matrices()[name] for tower, name in SETTINGS.items()}
    return chipoint_release(folder, truth().to_numpy(), features)


def test_the_published_gallery_and_features_projected_here_give_one_answer(tmp_path: Path) -> None:
    folder, given = str(release(tmp_path / "release")), features("abc")
    shared = {"weights": folder, "top": 20, "pool": 12, **SETTINGS}
    published = built(ChipointRetrieval, NamedStores(), **shared)
    own = built(ChipointRetrieval, stores(tmp_path), gallery="g", **shared)
    first, second = (method.predict(queries(given)) for method in (published, own))
    for answer in (first, second):
        check_predictions(answer, 16)
        assert "Chipoint 2 without its reranker" in answer.notes
    assert first.candidates.coordinates == pytest.approx(second.candidates.coordinates, abs=1e-4)
    assert first.coordinates == pytest.approx(second.coordinates, abs=0.3)  # scores differ in fp16's digits
    assert first.candidates.photo_id is None
    assert second.candidates.photo_id[0, 0].startswith("g")


def test_chipoint_keeps_the_contract_over_a_gallery_of_photos_and_over_its_own(tmp_path: Path) -> None:
    entry, folder = load_registry().method("chipoint-retrieval"), str(release(tmp_path / "release"))
    assert_contract(entry, {"weights": folder, **SETTINGS}, widths=WIDTHS, tile=5)
    assert_contract(entry, {"weights": folder, "gallery": None, **SETTINGS}, widths=WIDTHS, tile=5)


def test_code_in_its_files_is_refused_and_not_run(tmp_path: Path) -> None:
    folder, sprung = release(tmp_path / "release"), tmp_path / "sprung"
    shared = {"weights": str(folder), **SETTINGS}
    np.save(folder / gallery_file("gopt"), np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot read an array of numbers"):
        built(ChipointRetrieval, NamedStores(), **shared).predict(queries(features("abc")))
    torch.save({"net": Trap(sprung)}, folder / head_file("gopt"))
    with pytest.raises(DataError, match=r"cannot read tensors from .*proj_head_gopt"):
        built(ChipointRetrieval, NamedStores(), **shared)
    assert not sprung.exists()


def test_what_lacks_or_does_not_fit_is_said(tmp_path: Path) -> None:
    folder = release(tmp_path / "release")
    shared = {"weights": str(folder), **SETTINGS}
    with pytest.raises(DataError, match=r"head of Chipoint 2 takes features of width 20[\s\S]*gives 12"):
        built(ChipointRetrieval, NamedStores(), **shared).predict(queries(features("aac")))
    with pytest.raises(DataError, match=r"the published gallery, which names none"):
        built(ChipointRetrieval, NamedStores(), **shared, author_filter=True)
    np.save(folder / gallery_file("dinov3"), np.zeros((3, 16), np.float16))
    with pytest.raises(DataError, match=r"90 places, 3 vectors of dinov3"):
        built(ChipointRetrieval, NamedStores(), **shared).predict(queries(features("abc")))
    torch.save({"layer": torch.zeros(2)}, folder / head_file("gopt"))
    with pytest.raises(DataError, match=r"cannot read a projection head"):
        built(ChipointRetrieval, NamedStores(), **shared)
    (folder / head_file("gopt")).unlink()
    with pytest.raises(WeightsError, match=r"without weights/proj_head_gopt.pt"):
        built(ChipointRetrieval, NamedStores(), **shared)
