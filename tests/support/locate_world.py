"""Galleries with features, photos to ask about, and methods that tell what they see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from click.testing import CliRunner, Result
from PIL import Image

from pinpoint_harness.api import evaluate
from pinpoint_harness.cli.main import cli
from pinpoint_harness.home import find_home
from pinpoint_harness.locate import Locator
from pinpoint_harness.plugins import Registry, load_registry

PLUGIN = """
import os
from dataclasses import replace
from pathlib import Path
import numpy as np
import pandas as pd
from pinpoint_harness import BackboneInfo, Candidates, DatasetInfo, MethodInfo, Predictions, hookimpl
from pinpoint_harness.images.containers.store import ImageStore

class Toy:
    name = ""
    def __init__(self, location):
        self.info = DatasetInfo(title=self.name, source="", licence="")
        self.folder = Path(os.environ["TOY"])
    def truth(self):
        frame = pd.read_csv(self.folder / f"{self.name}.csv", dtype={"id": str, "image": str})
        authors = [("Ansel", "Dorothea")[row % 2] for row in range(len(frame))]
        return frame.assign(author=authors, source="photos")
    def images(self):
        return ImageStore.open([self.folder / self.name])

class Real(Toy):
    name = "real"
class Drawn(Toy):
    name = "drawn"
class Asked(Toy):
    name = "asked"

class Colours:
    width, tile = 12, 16
    sizes = []
    def __init__(self, weights, context):
        pass
    def content(self):
        return {"version": 1}
    def prepare(self, image):
        halves = [image[:4, :4], image[:4, 4:], image[4:, :4], image[4:, 4:]]
        return np.concatenate([half.mean(axis=(0, 1)) for half in halves]) / 50
    def features(self, images):
        self.sizes.append(len(images))
        return np.stack(images)

class Flexible(Colours):
    takes_any_tile = True
    def features(self, images):
        found = super().features(images)
        found[(found < 0.5).all(axis=1)] = np.inf
        return found

class Looker:
    input = "image"
    answer_version = 1
    seen = []
    def __init__(self, params, context):
        pass
    def predict(self, queries):
        self.seen.append(queries)
        places = np.array([[im[0, 0, 0] / 255 * 80, im.shape[1] % 100] for im in queries.input], dtype=float)
        places[[not im.any() for im in queries.input]] = np.nan
        north = places + [[0.1, 0.0]]
        far = places + [[0.0, 60.0]]
        none = np.full_like(places, np.nan)
        n = len(places)
        return Predictions(places, np.ones(n), Candidates(
            np.stack([places, north, far, none], axis=1),
            np.tile([0.5, 0.25, 0.125, np.nan], (n, 1)),
            np.tile(["a", "b", "a", ""], (n, 1)),
            np.tile(["3.jpg", "5.jpg", "", ""], (n, 1)),
        ))

class Stating(Looker):
    def predict(self, queries):
        within = np.tile([0.25, 0.375, 0.5, 0.75, 0.9375], (len(queries), 1))
        within[[im.shape[0] == 7 for im in queries.input]] = np.nan
        return replace(super().predict(queries), within=within)

class Blind:
    input = "none"
    answer_version = 1
    def __init__(self, params, context):
        pass
    def predict(self, queries):
        return Predictions(np.zeros((len(queries), 2)))

@hookimpl
def pinpoint_register(register):
    for name in ("real", "drawn", "asked"):
        info = DatasetInfo(title="Toy", source="", licence="", procedural=name == "drawn")
        register.dataset(f"toy/{name}", f"{__name__}:{name.title()}", info)
    for name in ("Colours", "Flexible"):
        register.backbone(name.lower(), f"{__name__}:{name}", BackboneInfo(title=name, width=12))
    register.method("looker", f"{__name__}:Looker", MethodInfo(title="Looker"))
    register.method("stating", f"{__name__}:Stating", MethodInfo(title="Stating"))
    register.method("blind", f"{__name__}:Blind", MethodInfo(title="Blind"))
"""

COUNT = 5


def pixels(seed: int, width: int = 12, height: int = 8) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(40, 255, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: np.ndarray, **options: Any) -> Path:
    Image.fromarray(image).save(path, **options)
    return path


class World:
    """Two galleries with features, and photos to ask about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number, (name, count) in enumerate({"real": 20, "drawn": 20, "asked": COUNT}.items()):
            (folder / name).mkdir()
            for row in range(count):
                save(folder / name / f"{name}{row}.png", pixels(100 * number + row, width=12 + row))
            random = np.random.default_rng(number)
            places = random.uniform([-60, -180], [60, 180], (count, 2))
            frame = pd.DataFrame(places, columns=["latitude", "longitude"])
            frame.insert(0, "id", [f"{name}{row}" for row in range(count)])
            frame.insert(1, "image", frame["id"] + ".png")
            frame.to_csv(folder / f"{name}.csv", index=False)
        (folder / "toy.py").write_text(PLUGIN)
        self.stores = folder / "stores"
        self.registry: Registry = load_registry([str(folder / "toy.py")])

    @property
    def photos(self) -> list[Path]:
        return [self.folder / "asked" / f"asked{row}.png" for row in range(COUNT)]

    def seen(self) -> list[Any]:
        seen: list[Any] = self.registry.method("looker").load().seen
        return seen

    def locator(self, method: str = "looker", **settings: Any) -> Locator:
        return Locator(self.registry, method, settings, home=find_home(self.folder), device="cpu")

    def nearest(self, gallery: str, backbone: str = "colours") -> Locator:
        return self.locator("nearest-photo", gallery=gallery, backbone=backbone)

    def run(self, method: str, **parameters: Any) -> Any:
        return evaluate(
            method,
            "toy/asked",
            parameters=parameters,
            home=self.folder,
            device="cpu",
            tile=1,
            registry=self.registry,
        )

    def command(self, *arguments: object) -> Result:
        plugin = ["--plugin", str(self.folder / "toy.py"), "locate"]
        return CliRunner().invoke(
            cli, [*plugin, *map(str, arguments), "--home", str(self.folder), "--device", "cpu"]
        )


@contextmanager
def located_world(folder: Path) -> Iterator[World]:
    """A world in a folder, which its datasets find by a variable."""
    before = os.environ.get("TOY")
    os.environ["TOY"] = str(folder)
    made = World(folder)
    for gallery in ("toy/real", "toy/drawn"):
        made.run("nearest-photo", gallery=gallery, backbone="colours")
    yield made
    if before is None:
        del os.environ["TOY"]
    else:
        os.environ["TOY"] = before
