"""What CLIP sees of a photo: GeoCLIP's two ways of preparing it, in one view or ten.

Resized by Pillow, as the authors' code does it, since CLIP's features follow every grey level.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from pinpoint_harness.errors import DataError
from pinpoint_harness.features.backbones.tower import HuggingFaceTower

if TYPE_CHECKING:
    from torch import Tensor

    from pinpoint_harness.features.backbones.preprocess import Preprocess
    from pinpoint_harness.types import Context

    Pixels = NDArray[np.uint8]

PREDICT, EVAL = "predict", "eval"

_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_LONGEST_STRIP = 64
"""A strip longer than this many times its width loses its ends: a line of pixels would fill gigabytes."""


@dataclass(frozen=True)
class Views:
    """Cuts `count` squares of `crop` pixels from a photo whose shorter side is brought to `shorter`.

    Ten are the four corners and the middle of the photo and of its mirror image. Where the middle
    lies between two pixels, CLIP's processor takes the one before (`halves_down`), torchvision the
    even one.
    """

    crop: int
    shorter: int
    filter: str
    count: int
    halves_down: bool = False

    @classmethod
    def of(cls, preprocess: str, count: int, checkpoint: Preprocess) -> Views:
        """`predict` leaves all to the checkpoint's processor; the evaluation scales to 8/7 of the crop.

        So do ten views of either: where the shorter side is the crop, corners lie on one another.
        """
        assert checkpoint.crop is not None
        assert checkpoint.shortest is not None
        crop = min(checkpoint.crop)
        if preprocess == PREDICT and count == 1:
            return cls(crop, checkpoint.shortest, checkpoint.mode, count, halves_down=True)
        mode = checkpoint.mode if preprocess == PREDICT else "bilinear"
        return cls(crop, crop * 8 // 7, mode, count)  # 256 for 224

    def cut(self, image: Pixels) -> list[Pixels]:
        """The views of a photo `(h, w, 3)`, each `(crop, crop, 3)`."""
        resized = self._resized(image)
        if self.count == 1:
            return [self._middle(resized)]
        return [view for side in (resized, resized[:, ::-1]) for view in self._five(side)]

    def _resized(self, image: Pixels) -> Pixels:
        limit = _LONGEST_STRIP * min(image.shape[:2])
        top, left = (max(0, side - limit) // 2 for side in image.shape[:2])
        kept = np.ascontiguousarray(image[top : top + limit, left : left + limit])
        height, width = kept.shape[:2]
        short, long = min(height, width), max(height, width)
        longer = int(self.shorter * long / short)
        size = (self.shorter, longer) if width <= height else (longer, self.shorter)
        kernel = PIL.Image.Resampling[self.filter.upper()]
        return np.asarray(PIL.Image.fromarray(kept).resize(size, kernel))

    def _five(self, image: Pixels) -> list[Pixels]:
        crop = self.crop
        halves = (slice(None, crop), slice(-crop, None))
        return [*(image[rows, columns] for rows in halves for columns in halves), self._middle(image)]

    def _middle(self, image: Pixels) -> Pixels:
        spare = [side - self.crop for side in image.shape[:2]]
        top, left = (lack // 2 if self.halves_down else round(lack / 2) for lack in spare)
        return image[top : top + self.crop, left : left + self.crop]


class ViewTower(HuggingFaceTower):
    """CLIP over views cut as GeoCLIP cuts them; crop, mean and deviation are the checkpoint's own.

    The evaluation of the authors' package normalises by ImageNet's mean and deviation instead.
    """

    def __init__(self, weights: Path, context: Context, preprocess: str, count: int) -> None:
        super().__init__(weights, context)
        if self._preprocess.crop is None or self._preprocess.shortest is None:
            raise DataError(
                f"'{weights}' does not prepare pictures as CLIP does",
                found="a preprocessor_config.json without a shorter side and a crop",
                fix="give a checkpoint of CLIP ViT-L/14",
            )
        self.views = Views.of(preprocess, count, self._preprocess)
        if preprocess == EVAL:
            self._preprocess = replace(self._preprocess, **_IMAGENET)

    def content(self) -> dict[str, Any]:
        return {**super().content(), "views": asdict(self.views)}

    def prepare(self, image: Pixels) -> Tensor:
        """All views of a photo, uint8 `(views, 3, crop, crop)`."""
        stacked = np.stack(self.views.cut(image))
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()

    def features_of_views(self, views: Iterable[Tensor], count: int) -> Tensor:
        """Features of `count` views, in passes of one size: `(count, width)` float32.

        Views are taken as they are needed, so that they may still be cut meanwhile.
        """
        size, source = min(self.tile, count), iter(views)
        parts = []
        while batch := list(islice(source, size)):
            features = self.features(batch + [batch[-1]] * (size - len(batch)))
            parts.append(features[: len(batch)].float())
        return torch.cat(parts)
