"""OSV-5M's baseline asked tile by tile: the likeliest cell of the quadtree, moved by its regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.artifacts import file_sha256
from pinpoint_harness.devices import usable_cores
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features.backbones.preprocess import Preprocess
from pinpoint_harness.features.backbones.weights import remembered_sha256
from pinpoint_harness.params import param
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

from ..common.checkpoints import build_from, find_release
from .network import Baseline, Cells

_WEIGHTS = "pytorch_model.bin"
_PASS = 32
"""Pictures in one forward pass, always as many."""

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class BaselineParams:
    weights: str = param("osv5m/baseline", f"Hugging Face id, or folder with {_WEIGHTS}")
    quadtree: Path | None = param(None, "table of the cells [default: those that stand in the weights]")
    quadtree_sha256: str = param("", "of the table; another one is refused", in_title=False)
    candidates: int = param(10, "likeliest cells to report", minimum=1, maximum=1000)


def _identified(params: BaselineParams) -> str:
    """Which table of cells is used, in words; DataError if it is not the one of the hash given."""
    pinned = params.quadtree_sha256.strip().lower()
    if params.quadtree is None:
        if pinned:
            raise UsageError(
                "quadtree_sha256 is of a table of cells, and none is given", fix="--set quadtree=FILE"
            )
        return "cells are those that stand in the weights"
    found = file_sha256(params.quadtree)
    if pinned and found != pinned:
        raise DataError(
            f"'{params.quadtree}' is another table than the one pinned",
            found=f"sha256 {found}, not {pinned}",
            fix="give the table of that hash, or leave --set quadtree_sha256= out",
        )
    return f"cells are those of a table of sha256 {found}{', as pinned' if pinned else ''}"


class OSV5MBaseline:
    """A cell by classification, and a place in it by regression, both from CLIP's class token.

    The answer is the centroid of the likeliest cell plus its offset times the cell's reach on that side.
    Candidates are the likeliest cells' places, with the softmax over all cells.
    """

    Params: ClassVar[type[BaselineParams]] = BaselineParams
    answer_version: ClassVar[int] = 1
    input = "image"

    def __init__(self, params: BaselineParams, context: Context) -> None:
        self.params, self._device = params, context.device
        self._cells_note = _identified(params)
        self._file = find_release(params.weights, (_WEIGHTS,), "OSV-5M's baseline") / _WEIGHTS

    def content(self) -> Mapping[str, Any]:
        return {"weights": remembered_sha256(self._file), "quadtree_sha256": None}

    @torch.inference_mode()
    def predict(self, queries: Queries) -> Predictions:
        with ThreadPoolExecutor(usable_cores()) as threads:
            # Copied, because torch takes no array that must not be written to.
            pictures = list(threads.map(self._preprocess.pixels, map(np.array, queries.input)))
        logits, offsets = self.outputs(pictures)
        count = min(self.params.candidates, logits.shape[1])
        cell = logits.argsort(dim=1, descending=True, stable=True)[:, :count]  # (n, k)
        moved = offsets.gather(1, cell[..., None].expand(-1, -1, 2))
        share = logits.double().softmax(dim=1).gather(1, cell).numpy()
        places = self._cells.places(cell, moved).numpy()
        candidates = Candidates(places, share)
        return Predictions(
            places[:, 0], confidence=share[:, 0], candidates=candidates, notes=(self._cells_note,)
        )

    def outputs(self, pictures: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits `(n, cells)` and offsets `(n, cells, 2)` of prepared pictures, in passes of one size."""
        found = []
        for start in range(0, len(pictures), _PASS):
            some = list(pictures[start : start + _PASS])
            batch = torch.stack(some + [some[-1]] * (_PASS - len(some))).to(self._device)
            parts = self._network(self._preprocess.normalised(batch))
            found.append([part[: len(some)].cpu() for part in parts])
        logits, offsets = (torch.cat(parts) for parts in zip(*found, strict=True))
        return logits, offsets

    @cached_property
    def _preprocess(self) -> Preprocess:
        side = self._network.side
        return Preprocess(
            mode="bicubic", shortest=side, size=None, crop=(side, side), scale=1 / 255, mean=_MEAN, std=_STD
        )

    @cached_property
    def _cells(self) -> Cells:
        if self.params.quadtree is not None:
            cells = Cells.of_table(self.params.quadtree)
            self._check_cells(cells)
            return cells
        if self._network.cells is None:
            raise DataError(
                f"'{self._file}' says nothing of where its cells are",
                fix="give the table quadtree_10_1000.csv with --set quadtree=",
            )
        return self._network.cells

    def _check_cells(self, cells: Cells) -> None:
        """DataError for the table of other cells than the network tells apart."""
        known, stored = self._network.classif.out, self._network.cells
        found = ""
        if len(cells.center) != known:
            found = f"{len(cells.center)} cells, the network has {known}"
        elif stored is not None and not torch.allclose(cells.center, stored.center, atol=1e-6):
            found = "centroids that differ from those in the weights"
        if found:
            raise DataError(
                f"'{self.params.quadtree}' is not the quadtree of '{self._file}'",
                found=found,
                fix="leave --set quadtree= out, or give the table published with these weights",
            )

    @cached_property
    def _network(self) -> Baseline:
        fix = "give the pytorch_model.bin of osv5m/baseline"
        return build_from(self._file, Baseline, "OSV-5M's baseline", fix).to(self._device)
