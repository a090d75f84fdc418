"""From pixels to coordinates through every stage, on a small world of pictures that show their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.support.pinpoint_world import World, settings_for

from pinpoint_harness.artifacts import read_json
from pinpoint_harness.audit.result import read_audit
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, DataError, UsageError
from pinpoint_harness.geo import haversine_km
from pinpoint_harness.params import train_command
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.reports.photo_lookup import PhotoLookup
from pinpoint_harness.reports.photo_story import tell
from pinpoint_harness.reports.support import Support
from pinpoint_harness.running import build_params, candidates_of
from pinpoint_harness.training import open_stages, train
from pinpoint_harness.training.stages import stages_of
from pinpoint_harness.types import Context, Queries

TOP1 = "pinpoint-top1-image"
BOTH = ("colours", "shades")


@pytest.fixture(scope="module")
def world(pinpoint_world: World) -> World:
    return pinpoint_world


def test_every_stage_is_made_once_and_shared_by_all_methods(world: World) -> None:
    done = world.train(TOP1)
    assert list(done) == ["splits", "embedder", "raw", "gallery"]
    assert not any(stage.made for stage in done.values())
    assert world.train("pinpoint-top1-gps") == done
    reranked = world.train(stage="candidates")
    assert {name: reranked[name] for name in done} == done


def test_another_seed_shares_the_splits_and_the_support(world: World) -> None:
    first, second = (world.train(seed=seed, stage="calibration", passes=0.3) for seed in (0, 5))
    shared = {name for name, stage in second.items() if stage.key == first[name].key}
    assert shared == {"splits", "raw", "support"}


def test_several_embedders_are_those_of_single_seeds_and_count_alike(world: World) -> None:
    short = {"passes": 0.5, "validations": 1}
    both = world.train(TOP1, embedders=2, seed=1, **short)
    assert list(both) == ["splits", "embedder", "embedder-2", "raw", "gallery"]
    alone = [world.train(TOP1, seed=seed, **short) for seed in (2, 3)]  # seed 0 has 0 and 1
    assert [both[name].key for name in ("embedder", "embedder-2")] == [one["embedder"].key for one in alone]
    for channel in ("image", "location"):
        joined, *apart = (
            np.load(stages["gallery"].folder / f"photos.{channel}.npy").astype(np.float64)
            for stages in (both, *alone)
        )
        mean = np.mean([vectors @ vectors.T for vectors in apart], axis=0)
        np.testing.assert_allclose(joined @ joined.T, mean, atol=3e-3)
        assert joined.shape[1] == 2 * apart[0].shape[1]
    world.train(embedders=2, seed=1, reranker_epochs=1, **short)
    run = world.run("pinpoint", embedders=2, seed=1, reranker_epochs=1, **short)
    assert run.predictions()["predicted_latitude"].notna().all()


def test_embedders_of_several_temperatures_start_there_and_are_those_of_single_ones(world: World) -> None:
    short = {"passes": 0.5, "validations": 1}
    both = world.train(TOP1, embedders=2, temperatures="10, 40", **short)
    alone = world.train(TOP1, **short)  # 10 is where t starts
    assert both["embedder"].key == alone["embedder"].key
    records = [read_json(both[name].folder / "config.json") for name in ("embedder", "embedder-2")]
    assert [record["config"]["temperature"] for record in records] == [10.0, 40.0]
    assert records[1]["last"]["temperature_photos"] > 30  # a few steps from 40
    for wrong in ("10", "10,x", "10,0", "10,inf"):
        with pytest.raises(UsageError, match="a number above 0 for each embedder"):
            build_params(world.registry.method(TOP1), {"embedders": 2, "temperatures": wrong})


def test_embedders_of_several_backbones_learn_from_their_own_and_count_alike(world: World) -> None:
    short = {"passes": 0.5, "validations": 1}
    both = world.train(TOP1, embedders=2, backbone="colours, shades", **short)
    first, second = (world.train(TOP1, backbone=name, seed=seed, **short) for seed, name in enumerate(BOTH))
    for name in ("splits", "embedder"):
        assert both[name].key == first[name].key
    weights = [
        (one / "model.safetensors").read_bytes()
        for one in (both["embedder-2"].folder, second["embedder"].folder)
    ]
    assert weights[0] == weights[1]
    for stage, channel in (("raw", "raw"), ("gallery", "image"), ("gallery", "location")):
        joined, *apart = (
            np.load(stages[stage].folder / f"photos.{channel}.npy").astype(np.float64)
            for stages in (both, first, second)
        )
        mean = np.mean([vectors @ vectors.T for vectors in apart], axis=0)
        np.testing.assert_allclose(joined @ joined.T, mean, atol=3e-3)


def test_several_backbones_answer_queries_and_need_an_embedder_each(world: World) -> None:
    changes = {"backbone": "colours,shades", "embedders": 2, "passes": 0.5, "reranker_epochs": 1}
    changes |= {"candidate_pool": 16, "csls": 2, "list_features": True, "cells": 6, "validations": 1}
    world.train(**changes)
    run = world.run("pinpoint", **changes)
    assert run.predictions()["predicted_latitude"].notna().all()
    for wrong in ({"embedders": 1}, {"embedders": 3}, {"backbone": "colours,colours", "embedders": 2}):
        with pytest.raises(UsageError, match="one for each embedder"):
            build_params(world.registry.method(TOP1), {"backbone": "colours,shades", **wrong})


def test_the_retrieval_alone_takes_no_parameter_of_what_follows_it(world: World) -> None:
    for name in ("margin", "reranker_epochs", "decoding", "support_km", "candidates_kept"):
        with pytest.raises(UsageError, match=name):
            build_params(world.registry.method(TOP1), {name: 1})
    assert build_params(world.registry.method(TOP1), {"config": "mini"}).exclude_km == 1.0


def test_a_gallery_s_rows_are_those_of_a_in_order_and_its_vectors_unit(world: World) -> None:
    stages = world.train(TOP1)
    table = pq.read_table(stages["raw"].folder / "photos.rows.parquet")
    labels = np.load(stages["splits"].folder / "photos.npy")
    ids = [f"p{n:03}" for n in np.flatnonzero(labels == 0)]
    assert table["id"].to_pylist() == ids
    for channel, width in (("raw", 12), ("image", 16), ("location", 16)):
        stage = stages["raw" if channel == "raw" else "gallery"]
        vectors = np.load(stage.folder / f"photos.{channel}.npy")
        assert vectors.dtype == np.float16
        assert vectors.shape == (len(ids), width)
        np.testing.assert_allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=2e-3)


def test_support_is_of_the_other_source_and_near(world: World) -> None:
    support = world.train(support_km=3000.0, stage="support")["support"].folder
    rows, distance = (np.load(support / f"photos.{name}.npy") for name in ("support", "support_km"))
    gallery = world.train(TOP1)["raw"].folder
    places = {
        source: np.stack([table["latitude"].to_numpy(), table["longitude"].to_numpy()], axis=1)
        for source in ("photos", "streetview")
        for table in [pq.read_table(gallery / f"{source}.rows.parquet")]
    }
    between = np.stack([haversine_km(places["streetview"], place) for place in places["photos"]])
    np.testing.assert_array_equal((rows >= 0).sum(axis=1), np.minimum((between < 3000).sum(axis=1), 64))
    has = rows[:, 0] >= 0
    np.testing.assert_array_equal(rows[has, 0], between.argmin(axis=1)[has])
    np.testing.assert_allclose(distance[has, 0], between.min(axis=1)[has], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channel", ["raw", "image", "gps"])
def test_queries_next_to_gallery_rows_are_answered_by_their_own_source(world: World, channel: str) -> None:
    answers = world.run(f"pinpoint-top1-{channel}").predictions()
    places: dict[str, set[tuple[float, float]]] = {}
    gallery = world.train(TOP1)["raw"]
    for letter, source in (("p", "photos"), ("s", "streetview")):
        table = pq.read_table(gallery.folder / f"{source}.rows.parquet")
        places["q" + letter] = set(
            zip(table["latitude"].to_pylist(), table["longitude"].to_pylist(), strict=True)
        )
    answered = answers[["id", "predicted_latitude", "predicted_longitude"]]
    for name, latitude, longitude in answered.itertuples(index=False):
        assert (latitude, longitude) in places[str(name)[:2]]
    assert answers["error_km"].median() < (3500 if channel == "gps" else 1500)


def test_raw_answers_with_the_nearest_raw_feature(world: World) -> None:
    store_lookup = world.context().stores
    assert store_lookup is not None
    queries = store_lookup.gallery("toy/asked", "colours")
    gallery = world.train(TOP1)["raw"]
    answers = world.run("pinpoint-top1-raw").predictions().set_index("id")
    for source in ("photos", "streetview"):
        vectors = np.load(gallery.folder / f"{source}.raw.npy").astype(np.float64)
        table = pq.read_table(gallery.folder / f"{source}.rows.parquet").to_pandas()
        for row, name in enumerate(queries.table["id"].to_pylist()):
            if queries.table["source"][row].as_py() != source:
                continue
            query = queries.matrix[row].astype(np.float64)
            best = table.iloc[int((vectors @ (query / np.linalg.norm(query))).argmax())]
            assert answers.loc[name, "predicted_latitude"] == best["latitude"]


def test_a_photo_alone_gets_the_answer_it_has_among_others(world: World) -> None:
    for channel in ("image", "gps", "raw"):
        single = world.run(f"pinpoint-top1-{channel}", "toy/single").predictions().iloc[0]
        among = world.run(f"pinpoint-top1-{channel}").predictions().set_index("id").loc[single["id"]]
        for name in ("predicted_latitude", "predicted_longitude", "confidence"):
            assert single[name] == among[name]


def test_the_author_filter_hides_the_photographer_s_rows(world: World) -> None:
    plain, filtered = (world.run("pinpoint-top1-raw", author_filter=on).predictions() for on in (False, True))
    gallery = world.train(TOP1)["raw"]
    by_place: dict[Any, Any] = {}
    for source in ("photos", "streetview"):
        table = pq.read_table(gallery.folder / f"{source}.rows.parquet")
        names = ("latitude", "longitude", "author")
        by_place |= {(a, b): c for a, b, c in zip(*(table[name].to_pylist() for name in names), strict=True)}

    def own(answers: pd.DataFrame) -> int:
        return sum(
            by_place[r.predicted_latitude, r.predicted_longitude] == r.author for r in answers.itertuples()
        )

    assert own(plain) > 0
    assert own(filtered) == 0


def test_a_photo_of_the_gallery_is_never_its_own_answer(world: World) -> None:
    gallery = world.train(TOP1)["raw"]
    entry = world.registry.method("pinpoint-top1-raw")
    params = build_params(entry, settings_for(entry, models=world.folder / "models"))
    method = entry.load()(params, world.context())
    table = pq.read_table(gallery.folder / "photos.rows.parquet")
    features = method._galleries["photos"].vectors("raw")[:4]
    key = hash_ids(table["id"].to_pylist()[:4])
    nobody = np.zeros(4, dtype=np.uint64)
    known, strange = (Queries(ids, nobody, ["photos"] * 4, features) for ids in (key, key + np.uint64(1)))
    own, other = (method.predict(queries).candidates for queries in (known, strange))
    names = table["id"].to_numpy()[:4, None].astype(str)
    assert (other.photo_id == names).any(axis=1).all()
    assert not (own.photo_id == names).any()


def test_a_run_with_models_in_another_folder_is_audited_broken_down_and_plotted(
    world: World, tmp_path: Path
) -> None:
    run = world.run("pinpoint-top1-raw", home=tmp_path / "home", models=world.folder / "models")
    assert run.record["parameters"]["models"] == str(world.folder / "models")
    assert "models" not in run.record["shown_parameters"]

    def pinpoint(*words: object) -> str:
        given = ["--plugin", world.plugin, *words, "--home", tmp_path / "home"]
        result = CliRunner().invoke(cli, [str(word) for word in given])
        assert result.exit_code == 0, result.output
        return result.stdout

    file = tmp_path / "audit.parquet"
    text = pinpoint("audit", "pinpoint-top1-raw", "toy/asked", "--file", file)
    assert "hits by whose gallery photo" in text
    assert set(read_audit(file).asked["galleries"]) == {"toy/photos", "toy/streetview"}
    words = ["runs", "breakdown", "pinpoint-top1-raw@toy/asked", "--by", "density"]
    assert "of 354" in pinpoint(*words)  # all rows of both galleries
    candidates = candidates_of(run.table())
    assert candidates is not None
    story = tell(run, run.table().column("id")[0].as_py(), Support.of([run], world.registry))
    assert set(story.support) == {"toy/photos", "toy/streetview"}
    first = story.candidates[0]
    assert first.found_by == "raw 1"
    assert first.score == story.confidence
    assert sum(first.support.values()) >= 1
    named = [array[:, 0] for array in (candidates.source, candidates.photo_id, candidates.coordinates)]
    photos = PhotoLookup(run, world.registry).candidates(*named)
    assert not [photo for photo in photos if isinstance(photo, str)]


def test_an_instance_can_be_chosen_and_an_unknown_source_is_refused(world: World) -> None:
    entry = world.registry.method("pinpoint-top1-raw")
    params = build_params(entry, settings_for(entry, models=world.folder / "models"))
    method = entry.load()(params, world.context())
    assert method._instances(["photos", "streetview"]).tolist() == ["photos", "streetview"]
    with pytest.raises(DataError, match="gazetteer"):
        method._instances(["photos", "gazetteer"])
    chosen = world.answers("pinpoint-top1-raw", instance="streetview")
    assert {found["source"] for listed in chosen["candidates"] for found in listed} == {"toy/streetview"}


def test_what_was_made_from_something_else_is_refused_with_the_command(world: World) -> None:
    with pytest.raises(ArtifactError) as refused:
        world.run("pinpoint-top1-image", learning_rate=0.5)
    text = str(refused.value)
    assert "stage 'embedder'" in text
    assert "config.learning_rate 0.003 instead of 0.5" in text
    assert 'train("pinpoint-top1-image", parameters={' in text
    assert '"learning_rate": 0.5' in text
    with pytest.raises(ArtifactError, match="none under"):
        world.run("pinpoint-top1-image", models=world.folder / "elsewhere")


def test_a_run_is_keyed_by_the_stages_and_not_by_where_they_lie(world: World) -> None:
    spec = read_json(world.run("pinpoint-top1-image").folder / "run.json")["recipe"]["parameters"]
    gallery = world.train(TOP1)["gallery"]
    assert spec["stages"]["gallery"] == gallery.key
    assert spec["models"] is None
    assert spec["seed"] is None


def test_stages_made_on_another_machine_are_found_by_what_they_are(world: World) -> None:
    request = world.request(TOP1)
    there = Context("cuda", "bfloat16", stores=request.context.stores)
    stages = stages_of(request.method, request.params, there)
    found = open_stages(stages, request.root, there)
    assert [stage.key for stage in found.values()] == [stage.key for stage in train(request)]


def test_the_command_names_what_was_changed(world: World) -> None:
    request = world.request(seed=2)
    command = train_command("pinpoint", request.params, request.method.preset)
    assert command.startswith("pinpoint train pinpoint --set seed=2 --set backbone=colours")
    assert "author_filter" not in command


def test_an_unknown_stage_and_a_method_without_stages_are_usage_errors(world: World) -> None:
    with pytest.raises(UsageError, match="has no stage 'reranker'"):
        train(world.request(TOP1, stage="reranker"))
    entry = world.registry.method("constant")
    with pytest.raises(UsageError, match="nothing to train"):
        stages_of(entry, None, Context())


def test_train_on_the_command_line_names_the_stages(world: World) -> None:
    from pinpoint_harness.cli.main import cli

    given = settings_for(world.registry.method("pinpoint-top1-image"))
    pairs = [f"--set={name}={value}" for name, value in given.items()]
    arguments = [
        "--plugin",
        str(world.folder / "toy.py"),
        "train",
        "pinpoint-top1-image",
        *pairs,
        "--stage",
        "embedder",
        "--device",
        "cpu",
        "--json",
    ]
    arguments += ["--home", str(world.folder)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert [row["stage"] for row in json.loads(result.output)] == ["splits", "embedder"]
    assert {row["made"] for row in json.loads(result.output)} == {"before"}


def test_the_curve_holds_the_five_radii_of_each_source_and_channel(world: World) -> None:
    embedder = world.train(TOP1)["embedder"]
    curve = pd.read_csv(embedder.folder / "curve.csv")
    assert len(curve) == 2
    radii = ("1km", "25km", "200km", "750km", "2500km")
    names = {f"{s}_{c}_{r}" for s in ("photos", "streetview") for c in ("image", "gps", "raw") for r in radii}
    assert names <= {*curve.columns}
    values = curve[sorted(names)].to_numpy()
    assert ((values >= 0) & (values <= 1)).all()
    assert (embedder.folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
