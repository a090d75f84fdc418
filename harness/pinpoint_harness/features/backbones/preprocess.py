"""From RGB pixels to the pixels a checkpoint was trained on, as its own file prescribes.

Resizing is torch's antialiased interpolation in uint8, two to three times faster than Pillow's and
within two grey levels of it. Normalisation is left to the device, so that a quarter of the bytes
travel there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...artifacts import read_json
from ...errors import DataError
from ...reading import in_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PREPROCESS = "torch-antialias-uint8/1"
"""Names the implementation in the key of every store: another one gives other features."""

_MODES = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the filters that torch has with antialiasing in uint8."""

_KNOWN_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}
_LONGEST_STRIP = 64
"""A strip longer than this many times its width is trimmed first: the crop takes its middle anyway."""


@dataclass(frozen=True)
class Preprocess:
    """Resize, centre crop, scale and normalise; absent steps are None.

    `shortest` scales the shorter side to so many pixels, `size` both sides to (height, width).
    """

    mode: str
    shortest: int | None
    size: tuple[int, int] | None
    crop: tuple[int, int] | None
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of_folder(cls, folder: Path) -> Preprocess:
        """What `preprocessor_config.json` says, or the image part of `processor_config.json`."""
        path, config = folder / "preprocessor_config.json", {}
        if path.is_file():
            config = read_json(path)
        elif (folder / "processor_config.json").is_file():
            path = folder / "processor_config.json"
            config = read_json(path).get("image_processor", {})
        else:
            raise DataError(
                f"the checkpoint '{folder}' does not say how images are prepared",
                found="neither preprocessor_config.json nor processor_config.json",
                fix="copy preprocessor_config.json from where the weights come from into the folder",
            )
        try:
            return cls.of_config(config)
        except Exception as error:
            raise DataError(
                f"'{path}' does not say how images are prepared",
                found=in_words(error),
                fix="give a checkpoint with its own preprocessor_config.json",
            ) from error

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Preprocess:
        """From the fields of a Hugging Face image processor; KeyError or ValueError where one is amiss."""
        odd = [name for name, value in config.items() if name.startswith("do_") and value]
        odd = [name for name in odd if name not in _KNOWN_STEPS]
        if odd:
            raise ValueError(f"{', '.join(odd)} is not supported")
        crop = _pair(config["crop_size"]) if config.get("do_center_crop", "crop_size" in config) else None
        shortest, size, mode = None, None, ""
        if config.get("do_resize", True):
            shortest, size = _target(config["size"], crop is not None)
            if config["resample"] not in _MODES:
                raise ValueError(f"resample is {config['resample']}, supported are {_MODES}")
            mode = _MODES[config["resample"]]
        if crop is None and size is None:
            raise ValueError("images would keep different sizes: neither `crop_size` nor a fixed `size`")
        normalised = config.get("do_normalize", True)
        return cls(
            mode=mode,
            shortest=shortest,
            size=size,
            crop=crop,
            scale=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
            mean=tuple(map(float, config["image_mean"])) if normalised else (0.0, 0.0, 0.0),
            std=tuple(map(float, config["image_std"])) if normalised else (1.0, 1.0, 1.0),
        )

    def record(self) -> dict[str, Any]:
        """As it stands in the key of a store."""
        return {"implementation": PREPROCESS, **asdict(self)}

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """An image `(h, w, 3)` resized and cropped, uint8 `(3, height, width)`."""
        import numpy as np
        import torch
        from torch.nn import functional

        planes = torch.from_numpy(image).permute(2, 0, 1)  # (3, h, w)
        if self.crop and self.shortest:
            planes = _without_ends(planes)
        target = self.size or _scaled(planes, self.shortest)
        if target is not None and target != tuple(planes.shape[1:]):
            planes = functional.interpolate(planes[None], target, mode=self.mode, antialias=True)[0]
        if self.crop is not None:
            planes = _cropped(planes, self.crop)
        # By numpy, in this thread: torch would start threads of its own in each of those that decode.
        return torch.from_numpy(np.ascontiguousarray(planes.numpy()))

    def normalised(self, batch: Tensor) -> Tensor:
        """Pixels `(n, 3, h, w)` uint8 in the units of the network, fp32, on the device they are on."""
        import torch

        mean, std = (torch.tensor(values, device=batch.device) for values in (self.mean, self.std))  # (3,)
        return (batch.float() * self.scale - mean[:, None, None]) / std[:, None, None]


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    return int(size["height"]), int(size["width"])


def _target(size: Any, cropped: bool) -> tuple[int | None, tuple[int, int] | None]:
    """`(shortest, None)` or `(None, (height, width))`; a bare number is the shorter side before a crop."""
    if isinstance(size, int):
        return (size, None) if cropped else (None, (size, size))
    if size.get("longest_edge") is not None:
        raise ValueError(f"size {size} is not supported")
    if size.get("shortest_edge") is not None:
        return int(size["shortest_edge"]), None
    return None, _pair(size)


def _scaled(planes: Tensor, shortest: int | None) -> tuple[int, int] | None:
    """Height and width with the shorter side at `shortest`, the longer one rounded down."""
    if shortest is None:
        return None
    height, width = planes.shape[1:]
    if height <= width:
        return shortest, int(shortest * width / height)
    return int(shortest * height / width), shortest


def _without_ends(planes: Tensor) -> Tensor:
    """At most `_LONGEST_STRIP` times as long as wide: a line of pixels would be enlarged to gigabytes."""
    height, width = planes.shape[1:]
    limit = _LONGEST_STRIP * min(height, width)
    top, left = (max(0, side - limit) // 2 for side in (height, width))
    return planes[:, top : top + limit, left : left + limit]


def _cropped(planes: Tensor, crop: tuple[int, int]) -> Tensor:
    """The middle, with black around what is too small."""
    from torch.nn import functional

    missing = [max(0, wanted - side) for wanted, side in zip(crop, planes.shape[1:], strict=True)]
    if any(missing):
        (above, below), (before, after) = ((-(-lack // 2), lack // 2) for lack in missing)
        planes = functional.pad(planes, (before, after, above, below))
    top, left = ((side - wanted) // 2 for wanted, side in zip(crop, planes.shape[1:], strict=True))
    return planes[:, top : top + crop[0], left : left + crop[1]]
