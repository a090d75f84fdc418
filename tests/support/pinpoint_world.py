"""What the tests of Pinpoint share: a world small enough to train on, and galleries made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

from pinpoint_harness.api import evaluate
from pinpoint_harness.features import StoreLookup
from pinpoint_harness.geo import unit_xyz
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.plugins import Entry, Registry, load_registry
from pinpoint_harness.running import Run, build_params
from pinpoint_harness.search.survey import survey
from pinpoint_harness.training import TrainRequest, train
from pinpoint_harness.training.stages import StageOutput
from pinpoint_harness.types import Context, DataLocation, MethodInfo
from pinpoint_methods.pinpoint.config import CONFIGS, PinpointConfig
from pinpoint_methods.pinpoint.retriever import SourceRetriever, galleries_of, open_retriever

PLUGIN = """
from pathlib import Path
import numpy as np
import pandas as pd
from pinpoint_harness import BackboneInfo, DatasetInfo, hookimpl
from pinpoint_harness.images.containers.store import ImageStore

class Toy:
    name = ""
    folder = Path(__file__).parent
    def __init__(self, location):
        self.info = DatasetInfo(title=self.name, source="", licence="", cluster_column="AUTHOR")
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

class Shades(Colours):
    def content(self):
        return {"version": 2}
    def features(self, images):
        return np.stack(images)[:, ::-1] ** 2

@hookimpl
def pinpoint_register(register):
    info = DatasetInfo(title="Toy", source="", licence="")
    for name in ("photos", "streetview", "asked", "single"):
        target = {"streetview": "StreetView"}.get(name, name.title())
        register.dataset(f"toy/{name}", f"{__name__}:{target}", info)
    register.backbone("colours", f"{__name__}:Colours", BackboneInfo(title="Colours", width=12))
    register.backbone("shades", f"{__name__}:Shades", BackboneInfo(title="Shades", width=12))
"""

SETTINGS: Mapping[str, Any] = {
    "backbone": "colours",
    "photos": "toy/photos",
    "streetview": "toy/streetview",
    "photos_spelling": "verbatim",
    "photos_a_percent": 60,
    "photos_c_one_in": 2,
    "streetview_cell_km": 0.0,
    "streetview_b_percent": 25,
    "streetview_c_one_in": 5,
    "hidden": 24,
    "embedding": 16,
    "frequencies": 32,
    "highest_frequency": 8.0,
    "location_hidden": 24,
    "batch": 32,
    "passes": 22.0,  # 150 steps
    "learning_rate": 3e-3,
    "weight_decay": 0.05,
    "input_noise": 0.0,
    "weight_average": 0.0,
    "keep": "last",
    "validations": 2,
    "exclude_km": 1.0,
    "layers": 1,
    "width": 16,
    "heads": 2,
    "reranker_epochs": 2,
    "reranker_batch": 8,
}


def settings_for(entry: Entry[MethodInfo], **changes: Any) -> dict[str, Any]:
    """Those of `SETTINGS` that a method takes, and changes."""
    taken = {item.name for item in fields(entry.load().Params)}
    return {**{name: value for name, value in SETTINGS.items() if name in taken}, **changes}


TOWNS = 23
AUTHORS = 17
COPIES = 24
"""Photos that stand among the street view as well, under the same id and by the same person."""

SavedRow = tuple[str, float, float, str | None, str]


def picture(place: NDArray[np.float64], seed: int) -> Image.Image:
    """Four coloured quarters that say where on Earth it is, and some grain."""
    random = np.random.default_rng(seed)
    x, y, z = unit_xyz(place[None])[0]
    corners = np.array([[x, y, z], [-y, z, x], [z, x, y], [x * y, y * z, z * x]]).reshape(2, 2, 3)
    pixels = 128 + 100 * corners.repeat(4, axis=0).repeat(4, axis=1) + random.normal(0, 2, (8, 8, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_set(folder: Path, name: str, rows: Sequence[SavedRow], seed: int) -> None:
    """A table and a picture for every row that has none yet."""
    (folder / "images").mkdir(exist_ok=True)
    for number, (key, latitude, longitude, _, _) in enumerate(rows):
        path = folder / "images" / f"{key}.png"
        if not path.exists():
            picture(np.array([latitude, longitude]), seed + number).save(path)
    frame = pd.DataFrame(rows, columns=["id", "latitude", "longitude", "author", "source"])
    frame.insert(1, "image", frame["id"] + ".png")
    frame.to_csv(folder / f"{name}.csv", index=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Small matrices are multiplied faster by one thread, and always in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class World:
    """Towns with photos and street view in each, by people who do both, and what was trained on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        towns = random.uniform([-60, -180], [60, 180], (TOWNS, 2))

        def draw(count: int, letter: str, source: str) -> list[SavedRow]:
            places = (towns[np.arange(count) % TOWNS] + random.normal(0, 0.02, (count, 2))).round(4)
            # Everybody takes several photos in each of a few towns, and street view there as well.
            authors = [(n % TOWNS + 5 * (n // TOWNS % 3)) % AUTHORS for n in range(count)]
            return [(f"{letter}{n:03}", *places[n], f"author-{authors[n]}", source) for n in range(count)]

        photos, streets = draw(180, "p", "photos"), draw(150, "s", "streetview")
        copies: list[SavedRow] = [(*row[:4], "streetview") for row in photos[:COPIES]]
        # Queries: a kilometre from gallery rows, by their photographers, in both sources.
        asked: list[SavedRow] = [
            (f"q{row[0]}", row[1] + 0.01, row[2], row[3], row[4]) for row in [*photos[:18:2], *streets[:9]]
        ]
        sets = {"photos": photos, "streetview": [*streets, *copies], "asked": asked, "single": asked[4:5]}
        for number, (name, rows) in enumerate(sets.items()):
            write_set(folder, name, rows, 1000 * number)
        file = folder / "toy.py"
        file.write_text(PLUGIN)
        self.plugin = file
        self.registry: Registry = load_registry([str(file)])

    def context(self) -> Context:
        stores = StoreLookup(self.registry, self.folder / "stores")
        return Context(stores=stores, models=self.folder / "models")

    def request(self, method: str = "pinpoint", **changes: Any) -> TrainRequest:
        entry = self.registry.method(method)
        options = {name: changes.pop(name) for name in ("stage", "fresh", "root") if name in changes}
        return TrainRequest(
            method=entry,
            params=build_params(entry, settings_for(entry, **changes)),
            context=self.context(),
            truth=lambda name: self.registry.dataset(name).load()(DataLocation()).truth(),
            **{"root": self.folder / "models", **options},
        )

    @one_thread()
    def train(self, method: str = "pinpoint", **changes: Any) -> dict[str, StageOutput]:
        """The finished stages by name."""
        return {done.stage: done for done in train(self.request(method, **changes))}

    @one_thread()
    def run(self, method: str, dataset: str = "toy/asked", **changes: Any) -> Run:
        options = {name: changes.pop(name) for name in ("tile", "limit") if name in changes}
        home = changes.pop("home", self.folder)
        return evaluate(
            method,
            dataset,
            parameters=settings_for(self.registry.method(method), **changes),
            home=home,
            device="cpu",
            registry=self.registry,
            **options,
        )

    def answers(self, method: str, dataset: str = "toy/asked", **changes: Any) -> pd.DataFrame:
        """A run's answers with their candidates, a list of dictionaries each."""
        found: pd.DataFrame = self.run(method, dataset, **changes).table().to_pandas()
        return found


def write_gallery(
    folder: Path,
    source: str,
    coordinates: NDArray[np.float64],
    image: NDArray[Any],
    seed: int,
    authors: Sequence[str | None] | None = None,
    ids: Sequence[str] | None = None,
) -> None:
    """The files of a gallery as its stage writes them, with random raw features and location vectors."""
    random = np.random.default_rng(seed)
    rows = len(coordinates)
    channels = {"image": image, "raw": unit(random, rows, 6), "location": unit(random, rows, image.shape[1])}
    for channel, vectors in channels.items():
        np.save(folder / f"{source}.{channel}.npy", vectors.astype(np.float16))
    columns = {
        "id": list(ids or [f"{source}-{row:03}" for row in range(rows)]),
        "latitude": coordinates[:, 0],
        "longitude": coordinates[:, 1],
        "author": pa.array(authors or [f"{source}-author-{row % 5}" for row in range(rows)], pa.string()),
    }
    pq.write_table(pa.table(columns), folder / f"{source}.rows.parquet")
    write_surveys(folder, source)


def write_surveys(folder: Path, source: str) -> None:
    """What lies beside the matrices and the table of a gallery: what a search must know of both."""
    table = pq.read_table(folder / f"{source}.rows.parquet")
    np.save(folder / f"{source}.tokens.npy", np.stack([hash_ids(table[name]) for name in ("id", "author")]))
    for channel in ("image", "raw", "location"):
        matrix = torch.from_numpy(np.load(folder / f"{source}.{channel}.npy"))
        (folder / f"{source}.{channel}.survey.npz").write_bytes(survey(channel, matrix).to_bytes())


def unit(random: np.random.Generator, rows: int, width: int) -> NDArray[np.float64]:
    """Random directions."""
    vectors: NDArray[np.float64] = random.normal(size=(rows, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def villages(random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Places of which several lie within 1 km, more within 25 km, and some share a coordinate."""
    centres = np.array([[10.0, 20.0], [10.1, 20.0], [-40.0, 179.999], [51.0, 0.0]])
    places = centres[np.arange(rows) % 4] + random.normal(0, 0.004, (rows, 2))
    places[1::7] = places[0]
    return places


def write_galleries(folder: Path, rows: tuple[int, int] = (24, 20), embedding: int = 8) -> None:
    """Both galleries and their support tables, six neighbours each, some of them missing."""
    random = np.random.default_rng(7)
    for number, source in enumerate(("photos", "streetview")):
        count, others = rows[number], rows[1 - number]
        write_gallery(folder, source, villages(random, count), unit(random, count, embedding), number)
        near = np.stack([random.permutation(others)[:6] for _ in range(count)]).astype(np.int32)
        near[::3, 4:] = -1
        near[::5] = -1
        np.save(folder / f"{source}.support.npy", near)


def small(**changes: Any) -> PinpointConfig:
    """A configuration for galleries of `write_galleries`."""
    config = replace(CONFIGS["mini"], embedding=8, layers=1, width=16, heads=2)
    config = replace(config, candidates_image=4, candidates_raw=2, candidates_location=2, support_used=3)
    return replace(config, **changes)


def retriever_of(
    folder: Path, config: PinpointConfig, source: str = "photos", **told: Path
) -> SourceRetriever:
    """The instance of a source over the galleries that lie in a folder."""
    galleries = galleries_of(folder, folder, config.sources.split(","), "cpu")
    return open_retriever(config, source, galleries, folder, **told)
