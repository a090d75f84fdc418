"""Runs to make a report of: a picture tells its row by its colour, so that a right one is recognised."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pinpoint_harness.api import evaluate
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.running import Run
from pinpoint_harness.types import DataLocation

ROWS = 40
RED_STEP = 6
HOSTILE = ("<script>alert(1)</script>", "\"quo'te&lt;", "turned\u202egpj.exe", "k" * 10_240, "</script><b>")
"""Ids of the first rows."""

PLUGIN = '''
"""A dataset called `toy`, and a method that reads a photo's row off its colour."""
from dataclasses import dataclass

import numpy as np

from pinpoint_harness import Candidates, DatasetInfo, MethodInfo, Predictions, hookimpl
from pinpoint_harness.params import param
from pinpoint_harness.readers.truth import TableDataset, TruthSpec

INFO = DatasetInfo(
    title="Toys <script>alert(2)</script>", source="the test", licence="none", cluster_column="author",
    notes=("drawn </script><img src=x onerror=alert(3)>",),
)


class Toy(TableDataset):
    spec = TruthSpec(
        name="toy", info=INFO, files=("truth.csv",), ids="verbatim", images=("images",), extras=None
    )

    def truth(self):
        read = super().truth()
        return read.assign(id=read["given_name"])


@dataclass(frozen=True)
class Params:
    every: int = param(2, "right on every so many rows")
    silent: int = param(-1, "no answer to this row")


class Colours:
    Params = Params
    input = "image"
    answer_version = 1

    def __init__(self, params, context):
        self.every, self.silent = params.every, params.silent

    def predict(self, queries):
        rows = np.array([int(round(picture[8, 8, 0] / 6)) for picture in queries.input])
        truth = np.stack([rows - 20.5, rows * 4.0 - 80], axis=1)
        wrong = rows % self.every != 0
        answers = truth + wrong[:, None] * np.array([20.0, 5.0]) + 0.001
        answers[rows == self.silent] = np.nan
        shown = 10 + rows % 10
        gallery = np.stack([shown - 20.5, shown * 4.0 - 80], axis=1)
        places = np.stack([gallery, truth + 0.1], axis=1)
        places[rows == self.silent] = np.nan
        probability = np.tile([0.7, 0.2], (len(rows), 1))
        source = np.full((len(rows), 2), "toy")
        photo_id = np.stack([[f"photo-{row}" for row in shown], [""] * len(rows)], axis=1)
        source[:, 1] = ""
        return Predictions(
            answers,
            confidence=np.where(rows == self.silent, np.nan, 1.0 / (1 + rows)),
            candidates=Candidates(places, probability, source, photo_id),
        )


@hookimpl
def pinpoint_register(register):
    register.dataset("toy", f"{__name__}:Toy", INFO)
    register.method("colours", f"{__name__}:Colours", MethodInfo(title="Reads colours"))
'''


class ReportWorld:
    """Forty photos; run A is right on even rows, run B on every third and silent about row 5."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.location = DataLocation(root / "toy" / "truth.csv", {}, (root / "toy" / "images",))
        self.ids = [*HOSTILE, *(f"photo-{row}" for row in range(len(HOSTILE), ROWS))]
        self._write_photos(root / "toy")
        self.plugin = root / "toy_plugin.py"
        self.plugin.write_text(PLUGIN)
        self.registry = load_registry([str(self.plugin)])
        self.a = self.run("even <b>rows</b>", every=2)
        self.b = self.run("third", every=3, silent=5)

    def run(self, label: str, *, limit: int | None = None, **parameters: Any) -> Run:
        return evaluate(
            "colours",
            "toy",
            data=self.location.path,
            images=self.location.images,
            parameters=parameters,
            label=label,
            limit=limit,
            home=self.home,
            registry=self.registry,
        )

    def _write_photos(self, folder: Path) -> None:
        (folder / "images").mkdir(parents=True)
        with (folder / "truth.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["given_name", "image", "latitude", "longitude", "author", "country", "continent"]
            )
            for row, name in enumerate(self.ids):
                continent = "West" if row < ROWS // 2 else "East"
                place = [row - 20.5, row * 4.0 - 80]
                whose = [f"by {row // 2}", f"C{row % 4}", continent]
                writer.writerow([name, f"{row}.png", *place, *whose])
        for row in range(ROWS):
            stream = io.BytesIO()
            colour = np.full((16, 16, 3), (RED_STEP * row, 90, 200), np.uint8)
            Image.fromarray(colour).save(stream, "PNG")
            (folder / "images" / f"{row}.png").write_bytes(stream.getvalue())
