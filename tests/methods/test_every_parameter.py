"""No parameter does nothing: each one of every built-in method changes an artifact or an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.support.pinpoint_world import World, one_thread, settings_for
from tests.support.small_clips import WIDTH, small_clip, small_streetclip, small_towers
from tests.support.small_releases import (
    baseline_weights,
    chipoint_release,
    g3_tensors,
    plonk_release,
    quadtree,
)

from pinpoint_harness.artifacts import spec_key
from pinpoint_harness.errors import DataError, HarnessError
from pinpoint_harness.features import FeatureStore
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.plugins import Entry, load_registry
from pinpoint_harness.running import build_params
from pinpoint_harness.running.inputs import backbones_of
from pinpoint_harness.running.predictions import build, encode
from pinpoint_harness.testing.made_up import MadeUpStores, made_up_names, made_up_truth
from pinpoint_harness.training import TrainRequest, train
from pinpoint_harness.training.stages import stages_of
from pinpoint_harness.types import Candidates, Context, MethodInfo, Predictions, Queries
from pinpoint_methods.chipoint.method import TOWERS as CHIPOINT

REGISTRY = load_registry([])

QUERIES = 32

TOWERS = {"a": 12, "b": 20, "c": 16}
"""Backbones in place of Chipoint's, and the widths of their features."""

WIDTHS = {"mini": 16, "wide": WIDTH, **TOWERS, **{f"other-{name}": width for name, width in TOWERS.items()}}


@dataclass(frozen=True)
class Change:
    """Another value of a parameter, and the configuration in which it counts.

    `refused` is for one that says where something lies, or how it is spelled: one of both values is refused.
    `kept` is for a folder in which something is kept: another one is where it lies then.
    """

    value: Any
    where: Mapping[str, Any] = field(default_factory=dict)
    refused: bool = False
    kept: bool = False


def change(value: Any, **where: Any) -> Change:
    return Change(value, where)


def refused(value: Any, **where: Any) -> Change:
    return Change(value, where, refused=True)


RETRIEVAL: dict[str, Change] = {
    "config": change("full", leave_out="", hidden=8, passes=0.3, batch=32),
    "seed": change(5),
    "models": Change("other-models", kept=True),
    "instance": change("streetview"),
    "author_filter": change(True),
    "candidates": change(3),
    "sources": change("photos"),
    "backbone": change("shades"),
    "photos": change("toy/streetview"),
    "streetview": change("toy/photos"),
    "photos_spelling": refused("aa_bb_id.jpg"),
    "photos_a_percent": change(70),
    "photos_c_one_in": change(3),
    "streetview_cell_km": change(50.0),
    "streetview_b_percent": change(40),
    "streetview_c_one_in": change(3),
    "leave_out": change("toy/asked"),
    "leave_out_cosine": change(1.01, leave_out="toy/asked"),
    "embedders": change(2),
    "embedding": change(8),
    "hidden": change(16),
    "adapter_depth": change(2),
    "trunk_depth": change(2),
    "expansion": change(3),
    "frequencies": change(16),
    "lowest_frequency": change(2.0),
    "highest_frequency": change(4.0),
    "location_hidden": change(16),
    "location_depth": change(2),
    "temperature": change(5.0),
    "temperatures": change("10,20", embedders=2),
    "highest_temperature": change(8.0),
    "bias": change(-5.0),
    "mask_km": change(20.0),
    "passes": change(0.6),
    "batch": change(16),
    "learning_rate": change(1e-3),
    "scale_learning_rate": change(0.1),
    "frequency_learning_rate": change(1e-3),
    "warmup_share": change(0.5),
    "weight_decay": change(1.0),
    "beta2": change(0.9),
    "clip_norm": change(0.01),
    "input_noise": change(0.15),
    "dropout": change(0.5),
    "weight_average": change(0.5),
    # Nothing moves but t and b, so that of points that place as many the first is the best.
    "keep": change("best", learning_rate=0.0, frequency_learning_rate=0.0),
    "validations": change(1),
    "validation_queries": change(5),
    "validation_gallery": change(20),
    "exclude_km": change(3.0),
}

RERANKED: dict[str, Change] = {
    **RETRIEVAL,
    "support_neighbours": change(3),
    "support_km": change(0.5),
    "support": change("none"),
    "support_used": change(1),
    "galleries": change("both"),
    "candidates_image": change(5),
    "candidates_raw": change(4),
    "candidates_location": change(4),
    "candidates_kept": change(20),
    "candidate_pool": change(16),
    "csls": change(3, candidate_pool=16),
    "density": change(3, list_features=True),
    "cells": change(6, list_features=True),
    "reranker": change("none"),
    "reranker_queries": change("A"),
    "photos_lists": change("seen"),
    "streetview_lists": change("seen"),
    "query_embedding": change(False, list_features=True),
    "visual_token": change(False),
    "gps_token": change(False),
    "support_token": change(False),
    "token_scores": change(False),
    "list_features": change(True),
    "layers": change(2),
    "width": change(32),
    "heads": change(4),
    "context_layers": change(1),
    "ranking_loss": change("listwise"),
    "margin": change(0.1),
    "target_temperature": change(0.5, ranking_loss="listwise"),
    "reranker_epochs": change(1),
    "reranker_batch": change(4),
    "reranker_learning_rate": change(1e-3),
    "reranker_weight_decay": change(1.0),
    "retrieval_location": change(0.2),
    "retrieval_raw": change(0.5),
    "retrieval_weights": change("fitted", reranker="none", decoding="expected"),
    "decoding": change("expected"),
}

HEAD: dict[str, Change] = {
    "train": change("another"),
    "backbone": change("wide"),
    "held_out_one_in": change(3),
    "depth": change(1),
    "hidden": change(8),
    "dropout": change(0.5),
    "epochs": change(2),
    "batch": change(64),
    "learning_rate": change(1e-3),
    "weight_decay": change(1.0),
    "seed": change(5),
    "models": Change("other-models", kept=True),
}

SEARCHED: dict[str, Change] = {
    "gallery": change("another"),
    "backbone": change("wide"),
    "gallery_data": refused("nowhere"),
    "author_filter": change(True),
    "candidates": change(3),
}

STORED: dict[str, Change] = {
    "file": change("other.csv"),
    "select": refused("two", select_column="run", file="several.csv"),
    "units": refused("radians", file="small.csv"),
    "order": change("lonlat", file="sentences.csv", answer_column="answer"),
    "allow_truth": refused(True, file="truth.csv"),
    "id_column": change("name", file="several.csv", select="one", select_column="run"),
    "latitude_column": change("north", latitude_column="latitude", longitude_column="longitude"),
    "longitude_column": change("east", latitude_column="latitude", longitude_column="longitude"),
    "answer_column": change("said", file="sentences.csv", answer_column="answer"),
    "confidence_column": change("surely"),
    "select_column": refused("again", file="several.csv", select="two"),
}

ONLINE: dict[str, Any] = {"user_agent": "tests me@example.org", "cache": "known.jsonl"}

NAMED: dict[str, Change] = {
    "file": change("others.csv"),
    "gazetteer": change("elsewhere.csv"),
    "minimum_population": change(15000, gazetteer=None, file="villages.csv"),
    "country_only": change("none", file="countries.csv"),
    "geocoder": change("nominatim", **ONLINE),
    "user_agent": refused(None, **{**ONLINE, "geocoder": "nominatim"}),
    "cache": change("elsewhere.jsonl", **{**ONLINE, "geocoder": "nominatim"}),
    "id_column": change("name"),
    "place_column": change("rather"),
    "city_column": change("other", file="fields.csv"),
    "region_column": change("where", file="fields.csv"),
    "country_column": change("land", file="fields.csv"),
    "confidence_column": change("surely"),
}

FUSED: dict[str, Change] = {
    "gallery_data": refused("nowhere", gallery="one"),
    "author_filter": change(True, gallery="one"),
    "top": change(5),
    "pool": change(4),
    "decoding": change("first"),
    "power": change(1.0),
    "candidates": change(3),
}

DENSITY: dict[str, Any] = {"density": True, "density_steps": 2, "steps": 2}

CHANGES: Mapping[str, Mapping[str, Change]] = {
    "constant": {"latitude": change(3.0), "longitude": change(3.0)},
    "random-prior": {"table": change("places.csv")},
    "stored-predictions": STORED,
    "place-names": NAMED,
    "consensus": {
        "run": change("other-run.parquet"),
        "decoding": change("first"),
        "weight": change("rank"),
        "power": change(0.0),
        "candidates": change(2),
    },
    "nearest-photo": SEARCHED,
    "knn-vote": {**SEARCHED, "k": change(2), "radius_km": change(3000.0)},
    "lknn": {
        **SEARCHED,
        "k": change(3),
        "exponent": change(0.0),
        "sigma_deg": change(10.0, exponent=0.0),
        "snap_km": change(0.0),
    },
    "superglobal": {
        **SEARCHED,
        "top": change(5),
        "k": change(2),
        "beta": change(3.0),
        "pooling": change("average"),
    },
    "fused-retrieval": {**FUSED, "gallery": change("another"), "backbones": change("mini")},
    "chipoint-retrieval": {
        **FUSED,
        "weights": change("other-chipoint"),
        "gallery": change("one"),
        "so400m256": change("other-a"),
        "gopt": change("other-b"),
        "dinov3": change("other-c"),
    },
    "geoclip": {
        "views": change(10, preprocess="eval"),
        "preprocess": change("eval"),
        "backbone": change("other-clip"),
        "towers": change("other-towers"),
        "models": Change("vectors", kept=True),
        "candidates": change(3),
    },
    "streetclip": {
        "gazetteer": change("elsewhere.csv"),
        "cities": change(1),
        "country_prompt": change("{country}!"),
        "city_prompt": change("{city}!"),
        "backbone": change("other-streetclip"),
        "candidates": change(1),
    },
    "g3-retrieval": {
        "gallery": change("other.csv"),
        "weights": change("other-g3.pth"),
        "backbone": change("other-clip"),
        "candidates": change(3),
    },
    "osv5m-baseline": {
        "weights": change("other-baseline"),
        "quadtree": change("wider.csv"),
        "quadtree_sha256": refused("0" * 64, quadtree="wider.csv"),
        "candidates": change(3),
    },
    "plonk": {
        "model": change("osv5m"),  # its weights are given, and it brings another backbone
        "weights": change("other-plonk"),
        "backbone": change("other-clip"),
        "steps": change(3),
        "cfg": change(2.0),
        "seed": change(5),
        "samples": change(3),
        "decoding": change("cluster", samples=8),
        "density": change(True, density_steps=2, steps=2),
        "density_steps": change(3, **DENSITY),
    },
    "cells": {
        **HEAD,
        "levels": change("50,20"),
        "smallest_cell": change(15),
        "smoothing_km": change(75.0),
        "prototype_photos": change(3, refine="prototypes"),
        "refine_cells": change(1, refine="prototypes"),
        "refine": change("prototypes"),
        "candidates": change(3),
    },
    "regression": {**HEAD, "loss": change("square")},
    "feature-reranker": {
        **HEAD,
        **SEARCHED,
        "k": change(8),
        "exclude_km": change(3000.0),
        "loss": change("margin"),
        "decoding": change("expected"),
    },
    "pinpoint-top1-image": {**RETRIEVAL, "channel": change("raw")},
    "pinpoint": RERANKED,
}
"""Of one method of every class; the others of a class are presets of it."""


def test_every_parameter_of_every_registered_method_has_a_change() -> None:
    of_class = {REGISTRY.method(name).load(): changes for name, changes in CHANGES.items()}
    for name, entry in REGISTRY.methods.items():
        target = entry.load()
        assert set(of_class[target]) == {item.name for item in fields(target.Params)}, name


# Something small to ask and to learn from


@dataclass(frozen=True)
class HereOnly:
    """Made-up galleries, whose files lie in their usual place alone."""

    made_up: MadeUpStores

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore:
        if data is not None:
            raise DataError(f"there is no file or folder '{data}'")
        return self.made_up.gallery(name, backbone)

    def weights_of(self, backbone: str) -> str:
        return backbone


class Toy:
    """A folder of small files, made-up galleries, and the world on which Pinpoint is trained."""

    def __init__(self, folder: Path, open_world: Callable[[], World]) -> None:
        self.folder, self._open_world = folder, open_world
        self.names = made_up_names(QUERIES)
        truth = made_up_truth(self.names, all_authors=True)
        self.stores = MadeUpStores(folder / "stores", truth, WIDTHS)
        self.truth = truth
        _write_files(folder, self.names)
        _write_runs(folder, truth)
        _write_releases(folder)
        self.base: dict[str, dict[str, Any]] = {
            "constant": {"latitude": 1.0, "longitude": 2.0},
            "stored-predictions": {"file": "answers.csv"},
            "place-names": {"file": "words.csv", "gazetteer": "cities.csv"},
            "geoclip": {"towers": "towers", "backbone": "clip"},
            "streetclip": {"gazetteer": "cities.csv", "backbone": "streetclip"},
            "consensus": {"run": "run.parquet"},
            "fused-retrieval": {"gallery": "one", "backbones": "mini,wide", "top": 20, "pool": 12},
            "chipoint-retrieval": {
                "weights": "chipoint",
                "top": 20,
                "pool": 12,
                **dict(zip(CHIPOINT, TOWERS, strict=True)),
            },
            "g3-retrieval": {"gallery": "places.csv", "weights": "g3.pth"},
            "osv5m-baseline": {"weights": "baseline"},
            "plonk": {"weights": "plonk", "steps": 6},
            "nearest-photo": {"gallery": "one", "backbone": "mini"},
            "knn-vote": {"gallery": "one", "backbone": "mini"},
            "lknn": {"gallery": "one", "backbone": "mini", "k": 20},
            "superglobal": {"gallery": "one", "backbone": "mini", "top": 40},
            "cells": {"train": "one", "hidden": 16, "epochs": 1, "levels": "100,30", "seed": 1},
            "regression": {"train": "one", "hidden": 16, "epochs": 1},
            "feature-reranker": {"train": "asking", "gallery": "one", "hidden": 16, "epochs": 1},
        }

    def settings(self, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a method is asked with: its base under `given`; files are those of the folder."""
        if method.startswith("pinpoint"):
            base = settings_for(REGISTRY.method(method), passes=1.0, validations=2)
        else:
            base = {**self.base.get(method, {})}
        return {name: self.placed(value) for name, value in {**base, **given}.items()}

    @cached_property
    def world(self) -> World:
        """Trained only where it is asked for."""
        return self._open_world()

    def placed(self, value: Any) -> Any:
        """The path of a file of the folder, or the value itself."""
        path = self.folder / str(value)
        return path if value and path.exists() else value

    def queries(self, kind: str) -> Queries:
        """Photos with and without support in the galleries, as a method wants to see them."""
        random = np.random.default_rng(3)
        given: Any = None
        count = QUERIES
        if kind == "id":
            given = self.truth[["id", "image", "latitude", "longitude"]]
        elif kind == "image":
            count = 16
            given = [random.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(count)]
        elif kind in ("colours", "shades"):
            stores = self.world.context().stores
            assert stores is not None
            store = stores.gallery("toy/asked", kind)
            given, count = torch.from_numpy(np.array(store.matrix[:16])), 16
        elif kind != "none":
            each = tuple(self.features(name) for name in backbones_of(kind))
            given = each if len(each) > 1 else each[0]
        truth = self.truth.iloc[:count]
        authors = (
            [f"author-{row}" for row in range(count)] if kind in ("colours", "shades") else truth["author"]
        )
        return Queries(hash_ids(truth["id"]), hash_ids(list(authors)), truth["source"].tolist(), given)

    def features(self, backbone: str) -> torch.Tensor:
        """Of all queries, others by each backbone."""
        random = np.random.default_rng([3, *backbone.encode()])
        width = self.stores.widths.get(backbone, WIDTH)
        return torch.from_numpy(random.normal(size=(QUERIES, width)).astype(np.float16))

    def found(self, method: str, given: Mapping[str, Any]) -> Asked:
        entry = (self.world.registry if method.startswith("pinpoint") else REGISTRY).method(method)
        return Asked(self, entry, build_params(entry, self.settings(method, given)))


@dataclass(frozen=True)
class Asked:
    """A method under some parameters."""

    toy: Toy
    entry: Entry[MethodInfo]
    params: Any

    @property
    def context(self) -> Context:
        if self.entry.name.startswith("pinpoint"):
            return self.toy.world.context()
        return Context(stores=HereOnly(self.toy.stores), models=self.toy.folder / "models")

    def stages(self) -> dict[str, str]:
        """Keys of the stages by name; none for a method that is not trained."""
        if not hasattr(self.entry.load(), "stages"):
            return {}
        keys: dict[str, str] = {}
        for stage in stages_of(self.entry, self.params, self.context):
            keys[stage.name] = spec_key(stage.kind, stage.spec_with(keys, self.context, 1))
        return keys

    def made(self, stage: str | None = None) -> dict[str, Any]:
        """What the last stage holds, beside the repetition of its spec."""
        truth = self.toy.stores.truth
        if self.entry.name.startswith("pinpoint"):
            truth = self.toy.world.request("pinpoint-top1-image").truth
        root = getattr(self.params, "models", None) or self.context.models
        assert root is not None
        (*_, last) = train(TrainRequest(self.entry, self.params, self.context, root, truth, stage))
        files: dict[str, Any] = {
            path.name: path.read_bytes()
            for path in last.folder.iterdir()
            if path.is_file() and path.name not in ("manifest.json", "sessions.jsonl")
        }
        record = json.loads(files.pop("config.json", b"{}"))
        return {**files, "outcome": {n: v for n, v in record.items() if n not in ("config", "seed")}}

    def is_refused(self) -> bool:
        """Whether asking is a clear error."""
        try:
            self.answers()
        except HarnessError:
            return True
        return False

    def answers(self) -> str:
        """All that a run would store of the answers to some queries, as text, in which NaN equals NaN."""
        if self.stages():
            self.made()
        method = self.entry.load()(self.params, self.context)
        answer: Predictions = method.predict(self.toy.queries(method.input))
        listed = [answer.coordinates, answer.confidence, answer.within]
        if answer.candidates is not None:
            listed += [getattr(answer.candidates, item.name) for item in fields(answer.candidates)]
        return repr([None if array is None else np.asarray(array).tolist() for array in listed])


# What every parameter does


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Toy]:
    with one_thread():
        yield Toy(tmp_path_factory.mktemp("toy"), lambda: request.getfixturevalue("pinpoint_world"))


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method, changes in CHANGES.items() for name in changes]
)
def test_a_parameter_changes_an_artifact_or_an_answer(toy: Toy, method: str, name: str) -> None:
    change = CHANGES[method][name]
    if change.kept:
        folder = toy.folder / str(change.value)
        folder.mkdir(exist_ok=True)
        toy.found(method, {**change.where, name: change.value}).answers()
        assert list(folder.rglob("*"))
        return
    plain, changed = (toy.found(method, {**change.where, **one}) for one in ({}, {name: change.value}))
    if change.refused:
        assert plain.is_refused() != changed.is_refused()
        return
    before, after = plain.stages(), changed.stages()
    differing = [stage for stage in after if stage in before and before[stage] != after[stage]]
    if differing:  # the first that holds something else; where none does, all are made
        made = any(changed.made(stage) != plain.made(stage) for stage in differing)
        assert made, f"only the keys of {' and '.join(differing)} differ"
    else:
        assert changed.answers() != plain.answers()


# The files


def _write_files(folder: Path, names: Sequence[str]) -> None:
    def table(file: str, **columns: Sequence[Any]) -> None:
        pd.DataFrame(columns).to_csv(folder / file, index=False)

    random = np.random.default_rng(1)
    n = len(names)
    places = random.uniform([-60, -170], [60, 170], (4, n, 2)).round(3)
    cities = ["Paris, France", "Lyon, France", "Oslo, Norway", "Lima, Peru"]
    said, other = ([cities[k % 4] for k in range(start, start + n)] for start in (0, 1))
    both = {"id": names, "latitude": places[0, :, 0], "longitude": places[0, :, 1]}
    table(
        "answers.csv",
        **both,
        north=places[1, :, 0],
        east=places[1, :, 1],
        surely=random.uniform(size=n),
    )
    words = {"name": names[::-1], "place": said, "rather": other, "surely": random.uniform(size=n)}
    table("words.csv", id=names, **words)
    table("other.csv", id=names, latitude=places[2, :, 0], longitude=places[2, :, 1])
    table("small.csv", id=names, latitude=places[0, :, 0] / 60, longitude=places[0, :, 1] / 170)
    sentences = [f"({north / 2}, {east / 4})" for north, east in places[0]]
    table("sentences.csv", id=names, answer=sentences, said=[f"({a / 3}, {b / 5})" for a, b in places[1]])
    table("truth.csv", id=names, latitude=[0.0] * n, longitude=[0.0] * n)
    twice = [*names, *names]
    table(
        "several.csv",
        id=twice,
        name=[*names[::-1], *names[::-1]],
        run=["one"] * n + ["two"] * n,
        again=["two"] * n + ["one"] * n,
        latitude=places[:2, :, 0].ravel(),
        longitude=places[:2, :, 1].ravel(),
    )
    table("others.csv", id=names, place=other)
    table("countries.csv", id=names, place=["France"] * n)
    table("villages.csv", id=names, place=["Hallstatt, Austria", "Cassis, France"] * (n // 2))
    table(
        "fields.csv",
        id=names,
        city=["Springfield"] * n,
        other=["Salem"] * n,
        region=["Illinois"] * n,
        where=["Oregon"] * n,
        country=["United States"] * n,
        land=["Canada"] * n,
    )
    table("places.csv", latitude=places[3, :, 0], longitude=places[3, :, 1])
    for file, shift in (("cities.csv", 0.0), ("elsewhere.csv", 1.0)):
        rows = [
            ("Paris", "France", "Ile-de-France", 48.86, 2.35, 9000000),
            ("Lyon", "France", "Rhone", 45.76, 4.84, 1700000),
            ("Oslo", "Norway", "Oslo", 59.91, 10.75, 1000000),
            ("Bergen", "Norway", "Vestland", 60.39, 5.32, 270000),
            ("Lima", "Peru", "Lima", -12.05, -77.04, 9700000),
            ("Cusco", "Peru", "Cusco", -13.53, -71.97, 430000),
            *(
                (city, land, region, 40.0 + number, -90.0, 100000 - number)
                for number, (city, region, land) in enumerate(SAME_NAMES)
            ),
        ]
        cities_frame = pd.DataFrame(rows, columns=["city", "country", "region", "lat", "lng", "population"])
        cities_frame["lat"] += shift
        cities_frame.to_csv(folder / file, index=False)
    for file, degrees in (("known.jsonl", 10.0), ("elsewhere.jsonl", 20.0)):
        lines = [json.dumps({"text": text, "place": [degrees, 5.0]}) for text in cities]
        (folder / file).write_text("\n".join(lines) + "\n")
    for name, seed in (("towers", 0), ("other-towers", 1)):
        small_towers(folder / name, seed=seed)
    for name, spread in (("clip", 4.0), ("other-clip", 3.0)):
        small_clip(folder / name, spread=spread)
    for name, seed in (("streetclip", 0), ("other-streetclip", 1)):
        small_streetclip(folder / name, seed=seed)


def _write_runs(folder: Path, truth: pd.DataFrame) -> None:
    """Candidates around a few towns, with probabilities."""
    for file, seed in (("run.parquet", 0), ("other-run.parquet", 1)):
        random, n = np.random.default_rng(seed), len(truth)
        towns = random.uniform([-60, -170], [60, 170], (3, 2))
        places = towns[random.integers(0, 3, (n, 8))] + random.normal(0, 2.0, (n, 8, 2))
        share = -np.sort(-random.dirichlet(np.ones(8), n), axis=1)
        answer = Predictions(places[:, 0], candidates=Candidates(places, share))
        (folder / file).write_bytes(encode(build(truth, answer, ["ok"] * n)))


def _write_releases(folder: Path) -> None:
    for name, seed in (("", 0), ("other-", 1)):
        plonk_release(folder / f"{name}plonk", seed=seed, dim=16, blocks=2)
        torch.save(g3_tensors(seed), folder / f"{name}g3.pth")
        (folder / f"{name}baseline").mkdir()
        torch.save(baseline_weights(seed), folder / f"{name}baseline" / "pytorch_model.bin")
    cells = quadtree()
    for axis in ("lat", "lon"):
        cells[f"max_{axis}"] += 5.0
        cells[f"min_{axis}"] -= 5.0
    cells.to_csv(folder / "wider.csv", index=False)
    random = np.random.default_rng(2)
    towns = random.uniform([-60, -170], [60, 170], (10, 2))
    places = towns.repeat(8, axis=0) + random.normal(0, 1.0, (80, 2))
    seen = {
        tower: random.normal(size=(len(places), width)).astype(np.float16)
        for tower, width in zip(CHIPOINT, TOWERS.values(), strict=True)
    }
    for name, seed in (("chipoint", 0), ("other-chipoint", 10)):
        chipoint_release(folder / name, places, seen, seed=seed)


SAME_NAMES = (
    ("Springfield", "Illinois", "United States"),
    ("Springfield", "Oregon", "United States"),
    ("Springfield", "Ontario", "Canada"),
    ("Salem", "Oregon", "United States"),
    ("Salem", "Illinois", "United States"),
)
"""Cities that only their region or country tells apart."""
