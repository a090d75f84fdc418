"""GeoCLIP's trained towers and gallery on disk: the authors' package, or a folder laid out like it.

    weights/location_encoder_weights.pth, image_encoder_mlp_weights.pth, logit_scale_weights.pth
    gps_gallery/coordinates_100K.csv

The package is found and never imported: its files are read as data.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.functional import normalize

from pinpoint_harness.artifacts import Artifact, file_sha256, read_json
from pinpoint_harness.errors import ArtifactError, DataError
from pinpoint_harness.features.backbones.weights import HUB_ID
from pinpoint_harness.progress import phase
from pinpoint_harness.readers import read_coordinates
from pinpoint_harness.reading import reading

from ..common.checkpoints import below, build_from, find_release
from .towers import ImageHead, LocationEncoder

if TYPE_CHECKING:
    from pinpoint_harness.types import Context, Floats

Part = TypeVar("Part")

CLIP = "openai/clip-vit-large-patch14"
INSTALL = "pip install --no-deps geoclip==1.3.0"
"""Without what it declares to need: torchvision is imported for training alone, the rest is here."""

_LOCATION = "weights/location_encoder_weights.pth"
_IMAGE = "weights/image_encoder_mlp_weights.pth"
_LOGIT_SCALE = "weights/logit_scale_weights.pth"
_GALLERY = "gps_gallery/coordinates_100K.csv"
_FILES = (_LOCATION, _IMAGE, _LOGIT_SCALE, _GALLERY)

_CONFIG, _RELEASED = "config.json", "model.safetensors"
_RELEASE = {"format_version": 1, "model_type": "geoclip-geolocation"}

_FIX = f"take the file that comes with the package: {INSTALL}"

_KIND = "geoclip-gallery"
_VECTORS = "vectors.safetensors"
_CHUNK_ROWS = 4096


def missing(found: str) -> DataError:
    """What GeoCLIP is made of, and all the ways to have it, whichever part is not there."""
    return DataError(
        "GeoCLIP needs its trained towers and CLIP ViT-L/14",
        found=found,
        fix=f"towers and gallery: `{INSTALL}` (the extra geoclip installs torchvision besides, which is not "
        "needed), or --set towers=FOLDER that holds weights/ and gps_gallery/ as the package's geoclip/model "
        "does, or a release for `GeoCLIP.from_pretrained` by its folder or Hugging Face id; "
        f"CLIP: `hf download {CLIP}` where there is a network, or --set backbone=FOLDER that holds "
        "config.json, preprocessor_config.json and model.safetensors",
    )


@dataclass(frozen=True)
class TowerFiles:
    """The folder of the trained parts, all of them there."""

    folder: Path

    encoder_file: str = _LOCATION
    gallery_file: str = _GALLERY
    clip: str = CLIP
    """The Hugging Face id of the CLIP that the towers were trained on."""

    @classmethod
    def find(cls, given: Path | None) -> TowerFiles:
        """The folder given, or a release by its folder or Hugging Face id, else the installed package."""
        if given is not None and not given.is_dir() and HUB_ID.fullmatch(str(given)):
            wanted = (_CONFIG, _RELEASED)
            given = find_release(str(given), wanted, "GeoCLIP", "--set towers=FOLDER", also=("*.csv",))
        folder = given or _packaged()
        if (folder / _CONFIG).is_file():
            return ReleasedTowers.open(folder)
        absent = [name for name in _FILES if not (folder / name).is_file()]
        if absent:
            raise missing(f"'{folder}' without {', '.join(absent)}")
        return cls(folder)

    def digests(self) -> dict[str, str]:
        return {name: file_sha256(self.folder / name) for name in _FILES}

    def coordinates(self) -> Floats:
        """The gallery's points, `(rows, 2)` degrees."""
        return read_coordinates(self.folder / self.gallery_file)

    def image_head(self) -> ImageHead:
        return _part(ImageHead, self.folder / _IMAGE)

    def location_encoder(self) -> LocationEncoder:
        return _part(LocationEncoder, self.folder / _LOCATION)

    def logit_scale(self) -> float:
        """By which cosines are multiplied; stored as its logarithm."""
        return _part(lambda stored: float(stored.exp()), self.folder / _LOGIT_SCALE)

    def gallery_vectors(self, context: Context, models: Path | None) -> Tensor:
        """Unit vectors of the gallery's points, `(rows, embedding)` float32 on the device.

        Encoded once for these files and this kind of device, and kept below `results/models`.
        """
        digests = self.digests()
        spec = {
            "encoder": 1,
            "location_encoder_sha256": digests[self.encoder_file],
            "coordinates_sha256": digests[self.gallery_file],
            "made": {"device": context.device.partition(":")[0], "dtype": "float32"},
        }
        artifact = Artifact.begin((models or context.models) / _KIND, _KIND, spec)
        if not artifact.complete:
            artifact.finish({_VECTORS: save({"vectors": self._encoded(context.device)})})
        path = artifact.folder / _VECTORS
        with reading(path, ArtifactError, fix=f"remove '{artifact.folder}' to make it again"):
            return load_file(path)["vectors"].to(context.device)

    def _encoded(self, device: str) -> Tensor:
        encoder = self.location_encoder().to(device)
        points = torch.from_numpy(self.coordinates()).float()  # (rows, 2)
        parts = []
        with torch.inference_mode(), phase("geoclip gallery", len(points), unit="points") as advance:
            for chunk in torch.split(points, _CHUNK_ROWS):
                parts.append(normalize(encoder(chunk.to(device)), dim=1).cpu())
                advance(len(chunk))
        return torch.cat(parts)


class ReleasedTowers(TowerFiles):
    """A release as `GeoCLIP.from_pretrained` reads it: `config.json`, `model.safetensors` and a gallery.

    DataError where it is none of the format that is known.
    """

    @classmethod
    def open(cls, folder: Path) -> ReleasedTowers:
        config = read_json(folder / _CONFIG)
        gallery, clip = str(config.get("gallery_file")), config.get("backbone")
        known = all(config.get(key) == value for key, value in _RELEASE.items())
        beside = Path(gallery).name == gallery and (folder / gallery).is_file()
        if (
            not known
            or not beside
            or not isinstance(clip, dict)
            or not {"repo_id", "revision"} <= clip.keys()
        ):
            raise DataError(
                f"'{folder}' is no release of GeoCLIP that can be read",
                found=", ".join(
                    f"{key} {config.get(key)!r}" for key in (*_RELEASE, "gallery_file", "backbone")
                ),
                fix=f"give one with format_version 1, model_type {_RELEASE['model_type']} and its gallery",
            )
        return cls(folder, _RELEASED, gallery, "{repo_id}@{revision}".format(**config["backbone"]))

    def digests(self) -> dict[str, str]:
        return {name: file_sha256(self.folder / name) for name in (_CONFIG, _RELEASED, self.gallery_file)}

    def image_head(self) -> ImageHead:
        return self._below("image_encoder.mlp.", ImageHead)

    def location_encoder(self) -> LocationEncoder:
        return self._below("location_encoder.", LocationEncoder)

    def logit_scale(self) -> float:
        return self._below("logit_scale", lambda stored: float(stored[""].exp()))

    def _below(self, prefix: str, build: Callable[[Any], Part]) -> Part:
        return _part(lambda stored: build(below(stored, prefix)), self.folder / _RELEASED)


def _packaged() -> Path:
    spec = importlib.util.find_spec("geoclip")
    if spec is None or not spec.submodule_search_locations:
        raise missing("the package geoclip is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


def _part(build: Callable[[Any], Part], path: Path) -> Part:
    """What `build` makes of the tensors in a file."""
    return build_from(path, build, "a part of GeoCLIP", _FIX, untrusted=_FIX)
