"""From pixels to coordinates through every stage, on a small world of pictures that show their place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pinpoint_harness.api import build_params, evaluate
from pinpoint_harness.artifacts import read_json
from pinpoint_harness.errors import ArtifactError, DataError, UsageError
from pinpoint_harness.geo import haversine_km, unit_xyz
from pinpoint_harness.plugins import Registry, load_registry
from pinpoint_harness.queries import tokens
from pinpoint_harness.runs import Run
from pinpoint_harness.shelf import Shelf
from pinpoint_harness.training import TrainRequest, open_stages, stages_of, train, train_command
from pinpoint_harness.types import Context, DataLocation, Queries

PLUGIN = """
import os
from pathlib import Path
import numpy as np
import pandas as pd
from pinpoint_harness import BackboneInfo, DatasetInfo, MethodInfo, hookimpl
from pinpoint_harness.containers import ImageStore

class Toy:
    name = ""
    def __init__(self, location):
        self.info = DatasetInfo(title=self.name, source="", licence="", cluster_column="AUTHOR")
        self.folder = Path(os.environ["TOY"])
    def truth(self):
        frame = pd.read_csv(self.folder / f"{self.name}.csv", dtype={"id": str, "image": str, "author": str})
        return frame.astype({"author": object}).where(frame.notna(), None)
    def images(self):
        return ImageStore.open([self.folder / "images"])

Photos, StreetView, Asked, Single = (
    type(name, (Toy,), {"name": name}) for name in ("photos", "streetview", "asked", "single")
)

class Colours:
    width, tile = 12, 16
    def __init__(self, weights, context):
        pass
    def content(self):
        return {"version": 1}
    def prepare(self, image):
        halves = [image[:4, :4], image[:4, 4:], image[4:, :4], image[4:, 4:]]
        return np.concatenate([half.mean(axis=(0, 1)) for half in halves]) / 50
    def features(self, images):
        return np.stack(images)

@hookimpl
def pinpoint_register(register):
    info = DatasetInfo(title="Toy", source="", licence="")
    for name in ("photos", "streetview", "asked", "single"):
        target = {"streetview": "StreetView"}.get(name, name.title())
        register.dataset(f"toy/{name}", f"{__name__}:{target}", info)
    register.backbone("colours", f"{__name__}:Colours", BackboneInfo(title="Colours", width=12))
    for name in ("gps", "image", "raw"):
        target = f"pinpoint_methods.pinpoint.method:Top1{'GPS' if name == 'gps' else name.title()}"
        register.method(f"toy-top1-{name}", target, MethodInfo(title=name, licence="x"))
"""

SETTINGS: dict[str, Any] = {
    "backbone": "colours",
    "photos": "toy/photos",
    "streetview": "toy/streetview",
    "photos_spelling": "verbatim",
    "photos_a_percent": 70,
    "photos_c_one_in": 2,
    "hidden": 24,
    "embedding": 16,
    "frequencies": 32,
    "highest_frequency": 8.0,
    "location_hidden": 24,
    "batch": 32,
    "samples": 32 * 150,
    "learning_rate": 3e-3,
    "validations": 2,
    "exclude_km": 0.0,
}


def picture(place: np.ndarray, seed: int) -> Image.Image:
    """Four coloured quarters that say where on Earth it is, and some grain."""
    random = np.random.default_rng(seed)
    x, y, z = unit_xyz(place[None])[0]
    corners = np.array([[x, y, z], [-y, z, x], [z, x, y], [x * y, y * z, z * x]]).reshape(2, 2, 3)
    pixels = 128 + 100 * corners.repeat(4, axis=0).repeat(4, axis=1) + random.normal(0, 2, (8, 8, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_set(
    folder: Path, name: str, rows: list[tuple[str, float, float, str | None, str]], seed: int
) -> None:
    (folder / "images").mkdir(exist_ok=True)
    for number, (key, latitude, longitude, _, _) in enumerate(rows):
        shown = picture(np.array([latitude, longitude]), seed + number)
        shown.save(folder / "images" / f"{key}.png")
    columns = ["id", "latitude", "longitude", "author", "source"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.insert(1, "image", frame["id"] + ".png")
    frame.to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class World:
    """A trained Pinpoint and where it lies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)

        def draw(count: int, letter: str, source: str) -> list[tuple[str, float, float, str | None, str]]:
            places = random.uniform([-60, -180], [60, 180], (count, 2)).round(4)
            return [(f"{letter}{n:03}", *places[n], f"{letter}-{n % 17}", source) for n in range(count)]

        photos, streets = draw(120, "p", "photos"), draw(90, "s", "streetview")
        # Queries: near to gallery rows, by some of their photographers, in both sources.
        asked = [
            (f"q{row[0]}", row[1] + 0.01, row[2], row[3], row[4]) for row in [*photos[:18:2], *streets[:9]]
        ]
        for number, (name, rows) in enumerate(
            {"photos": photos, "streetview": streets, "asked": asked, "single": asked[4:5]}.items()
        ):
            write_set(folder, name, rows, 1000 * number)
        # The single photo is the very file that stands among the others.
        write_set(folder, "asked", asked, 2000)
        file = folder / "toy.py"
        file.write_text(PLUGIN)
        self.registry: Registry = load_registry([str(file)])

    def context(self) -> Context:
        return Context(stores=Shelf(self.registry, self.folder / "stores"))

    def request(self, method: str = "toy-top1-image", **changes: Any) -> TrainRequest:
        entry = self.registry.method(method)
        options = {name: changes.pop(name) for name in ("stage", "fresh") if name in changes}
        return TrainRequest(
            method=entry,
            params=build_params(entry, SETTINGS | changes),
            context=self.context(),
            root=self.folder / "models",
            truth=lambda name: self.registry.dataset(name).load()(DataLocation()).truth(),
            **options,
        )

    def run(self, channel: str, dataset: str = "toy/asked", **changes: Any) -> Run:
        options = {name: changes.pop(name) for name in ("tile", "limit") if name in changes}
        return evaluate(
            f"toy-top1-{channel}",
            dataset,
            parameters=SETTINGS | {"models": self.folder / "models"} | changes,
            out=self.folder / "runs",
            stores=self.folder / "stores",
            device="cpu",
            registry=self.registry,
            **options,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    before = os.environ.get("TOY")
    os.environ["TOY"] = str(folder)
    made = World(folder)
    train(made.request())
    yield made
    if before is None:
        del os.environ["TOY"]
    else:
        os.environ["TOY"] = before


def test_every_stage_is_made_once_and_shared_by_all_methods(world: World) -> None:
    done = train(world.request())
    assert [stage.stage for stage in done] == ["splits", "embedder", "support", "gallery"]
    assert not any(stage.made for stage in done)
    assert [s.key for s in train(world.request("toy-top1-gps"))] == [s.key for s in done]


def test_another_seed_shares_the_splits_and_the_support(world: World) -> None:
    done = {stage.stage: stage.made for stage in train(world.request(seed=5))}
    assert done == {"splits": False, "embedder": True, "support": False, "gallery": True}


def test_a_gallery_s_rows_are_those_of_a_in_order_and_its_vectors_unit(world: World) -> None:
    *_, gallery = train(world.request())
    splits = train(world.request(stage="splits"))[-1]
    table = pq.read_table(gallery.folder / "photos.rows.parquet")
    labels = np.load(splits.folder / "photos.npy")
    ids = [f"p{n:03}" for n in np.flatnonzero(labels == 0)]
    assert table["id"].to_pylist() == ids
    for channel, width in (("raw", 12), ("image", 16), ("location", 16)):
        vectors = np.load(gallery.folder / f"photos.{channel}.npy")
        assert vectors.dtype == np.float16
        assert vectors.shape == (len(ids), width)
        np.testing.assert_allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=2e-3)


def test_support_is_of_the_other_source_and_near(world: World) -> None:
    stages = {stage.stage: stage.folder for stage in train(world.request(support_km=3000.0))}
    rows, distance = (np.load(stages["support"] / f"photos.{name}.npy") for name in ("support", "support_km"))
    places = {
        source: np.stack([table["latitude"].to_numpy(), table["longitude"].to_numpy()], axis=1)
        for source in ("photos", "streetview")
        for table in [pq.read_table(stages["gallery"] / f"{source}.rows.parquet")]
    }
    between = np.stack([haversine_km(places["streetview"], place) for place in places["photos"]])
    np.testing.assert_array_equal((rows >= 0).sum(axis=1), np.minimum((between < 3000).sum(axis=1), 64))
    has = rows[:, 0] >= 0
    np.testing.assert_array_equal(rows[has, 0], between.argmin(axis=1)[has])
    np.testing.assert_allclose(distance[has, 0], between.min(axis=1)[has], rtol=1e-4)


@pytest.mark.parametrize("channel", ["raw", "image", "gps"])
def test_queries_next_to_gallery_rows_are_answered_by_their_own_source(world: World, channel: str) -> None:
    answers = world.run(channel).predictions()
    places: dict[str, set[tuple[float, float]]] = {}
    *_, gallery = train(world.request())
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
    shelf = world.context().stores
    assert shelf is not None
    queries = shelf.gallery("toy/asked", "colours")
    *_, gallery = train(world.request())
    answers = world.run("raw").predictions().set_index("id")
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
        single = world.run(channel, "toy/single").predictions().iloc[0]
        among = world.run(channel).predictions().set_index("id").loc[single["id"]]
        for name in ("predicted_latitude", "predicted_longitude", "confidence"):
            assert single[name] == among[name]


def test_the_author_filter_hides_the_photographer_s_rows(world: World) -> None:
    plain, filtered = (world.run("raw", author_filter=on).predictions() for on in (False, True))
    *_, gallery = train(world.request())
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
    *_, gallery = train(world.request())
    entry = world.registry.method("toy-top1-raw")
    params = build_params(entry, SETTINGS | {"models": world.folder / "models"})
    method = entry.load()(params, world.context())
    table = pq.read_table(gallery.folder / "photos.rows.parquet")
    features = method._galleries["photos"].matrix("raw")[:4]
    key = tokens(table["id"].to_pylist()[:4])
    nobody = np.zeros(4, dtype=np.uint64)
    known, strange = (Queries(ids, nobody, ["photos"] * 4, features) for ids in (key, key + np.uint64(1)))
    own, other = (method.predict(queries).candidates for queries in (known, strange))
    assert other.row[:, 0].tolist() == [0, 1, 2, 3]
    assert not (own.row == np.arange(4)[:, None]).any()


def test_an_instance_can_be_chosen_and_an_unknown_source_is_refused(world: World) -> None:
    entry = world.registry.method("toy-top1-raw")
    params = build_params(entry, SETTINGS | {"models": world.folder / "models"})
    method = entry.load()(params, world.context())
    assert method._instances(["photos", "streetview"]).tolist() == ["photos", "streetview"]
    with pytest.raises(DataError, match="gazetteer"):
        method._instances(["photos", "gazetteer"])
    chosen = world.run("raw", instance="streetview").predictions()
    assert set(chosen["error_km"] > 100) >= {True}


def test_what_was_made_from_something_else_is_refused_with_the_command(world: World) -> None:
    with pytest.raises(ArtifactError) as refused:
        world.run("image", learning_rate=0.5)
    text = str(refused.value)
    assert "stage 'embedder'" in text
    assert "config.learning_rate 0.003 instead of 0.5" in text
    assert "pinpoint train pinpoint-top1-image" in text
    assert "--set learning_rate=0.5" in text
    with pytest.raises(ArtifactError, match="none under"):
        world.run("image", models=world.folder / "elsewhere")


def test_a_run_is_keyed_by_the_stages_and_not_by_where_they_lie(world: World) -> None:
    recipe = read_json(world.run("image").folder / "run.json")["recipe"]["parameters"]
    gallery = train(world.request())[-1]
    assert recipe["stages"]["gallery"] == gallery.key
    assert recipe["models"] is None
    assert recipe["seed"] is None


def test_stages_made_on_another_machine_are_found_by_what_they_are(world: World) -> None:
    request = world.request()
    there = Context("cuda", "bfloat16", stores=request.context.stores)
    stages = stages_of(request.method, request.params, there)
    found = open_stages(stages, request.root, there, "-")
    assert [stage.key for stage in found.values()] == [stage.key for stage in train(request)]


def test_the_command_names_what_was_changed(world: World) -> None:
    request = world.request(seed=2)
    command = train_command("pinpoint-top1-image", request.params, but=("models",))
    assert command.startswith("pinpoint train pinpoint-top1-image --set seed=2")
    assert "author_filter" not in command


def test_an_unknown_stage_and_a_method_without_stages_are_usage_errors(world: World) -> None:
    with pytest.raises(UsageError, match="has no stage 'reranker'"):
        train(world.request(stage="reranker"))
    entry = world.registry.method("constant")
    with pytest.raises(UsageError, match="nothing to train"):
        stages_of(entry, None, Context())


def test_train_on_the_command_line_names_the_stages(world: World) -> None:
    from pinpoint_harness.cli.train import train as command

    pairs = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    arguments = ["toy-top1-image", *pairs, "--stage", "embedder", "--device", "cpu", "--json"]
    arguments += ["--stores", str(world.folder / "stores"), "--out", str(world.folder / "models")]
    result = CliRunner().invoke(command, arguments, obj=(str(world.folder / "toy.py"),))
    assert result.exit_code == 0, result.output
    assert [row["stage"] for row in json.loads(result.output)] == ["splits", "embedder"]
    assert {row["made"] for row in json.loads(result.output)} == {"before"}


def test_the_curve_holds_the_five_radii_of_each_source_and_channel(world: World) -> None:
    embedder = train(world.request(stage="embedder"))[-1]
    curve = pd.read_csv(embedder.folder / "curve.csv")
    assert len(curve) == 2
    radii = ("1km", "25km", "200km", "750km", "2500km")
    names = {f"{s}_{c}_{r}" for s in ("photos",) for c in ("image", "gps", "raw") for r in radii}
    assert names <= {*curve.columns}
    values = curve[sorted(names)].to_numpy()
    assert ((values >= 0) & (values <= 1)).all()
    assert (embedder.folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
