"""A first look at any dataset: a contact sheet of its pictures and a map of its places, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..artifacts import write_new
from ..images import Failure, resize
from ..images.decode import decode
from .maps import printable, world_axes
from .pictures import encoded

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..types import Dataset

COLUMNS, ROWS = 12, 8
CELL = 128
"""Pictures on the sheet are squares of this side; the long side fills it."""

_MOST_PLACES = 20_000


def write_contact_sheet(
    dataset: Dataset, name: str, folder: Path, seed: int = 0, overwrite: bool = False
) -> tuple[Path, Path]:
    """Write `<name>-pictures.png` and `<name>-map.png` into a folder; a seed chooses which pictures.

    Photos that are missing or unreadable stay grey.
    """
    truth = dataset.truth()
    chosen = np.sort(np.random.default_rng(seed).permutation(len(truth))[: COLUMNS * ROWS])
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace("/", "-")
    sheet, chart = folder / f"{stem}-pictures.png", folder / f"{stem}-map.png"
    write_new(sheet, _png(contact_sheet(dataset, truth.iloc[chosen])), overwrite)
    write_new(chart, encoded(draw_map(truth, name), "png"), overwrite)
    return sheet, chart


def contact_sheet(dataset: Dataset, truth: pd.DataFrame) -> NDArray[np.uint8]:
    """The pictures of some rows side by side, RGB."""
    step = CELL + 4
    sheet = np.full((ROWS * step, COLUMNS * step, 3), 24, np.uint8)
    with dataset.images() as store:
        for number, ref in enumerate(store.find(truth["image"])):
            row, column = divmod(number, COLUMNS)
            cell = sheet[row * step + 2 :, column * step + 2 :][:CELL, :CELL]
            data = store.read(ref)
            picture = data if isinstance(data, Failure) else decode(data)
            cell[:] = 96 if isinstance(picture, Failure) else fit_square(picture, CELL)
    return sheet


def fit_square(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Within a square on black; small pictures are enlarged by whole pixels, which keeps them crisp."""
    longest = max(picture.shape[:2])
    if side % longest == 0:
        scaled = picture.repeat(side // longest, axis=0).repeat(side // longest, axis=1)
    else:
        height, width = (max(1, round(length * side / longest)) for length in picture.shape[:2])
        scaled = resize(picture, height, width)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - scaled.shape[0]) // 2, (side - scaled.shape[1]) // 2
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square


def _png(picture: NDArray[np.uint8]) -> bytes:
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return data.getvalue()


def draw_map(truth: pd.DataFrame, name: str) -> Figure:
    """Where the pictures were taken, by source."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), dpi=110, layout="constrained")
    shown = truth.sample(min(len(truth), _MOST_PLACES), random_state=0)
    drawn = "" if len(shown) == len(truth) else f", {len(shown):,} of them drawn"
    axes = world_axes(figure, title=f"{name}: {len(truth):,} places{drawn}")
    for source, places in shown.groupby("source", sort=True):
        axes.scatter(
            places["longitude"],
            places["latitude"],
            s=3,
            alpha=0.35,
            linewidths=0,
            label=printable(str(source)),
        )
    for text in axes.legend(markerscale=4, loc="lower left").get_texts():
        text.set_parse_math(False)
    return figure
