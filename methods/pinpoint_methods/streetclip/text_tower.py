"""The text tower of a CLIP checkpoint, and nothing else of it in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinpoint_harness.errors import DataError
from pinpoint_harness.features.backbones import WeightsError
from pinpoint_harness.features.backbones.weights import (
    HUB_ID,
    download_command,
    incomplete_checkpoint,
    load_tower,
    weight_files,
)

if TYPE_CHECKING:
    from torch import Tensor

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
"""Either the first or the next two are needed; the last one is optional."""

_BATCH = 64
_PART = "text tower"


class TextTower:
    """Captions to unit vectors in the space of the image features, computed in float32."""

    def __init__(self, weights: Path, tokenizer: Path, device: str) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
        self._network = _load_text_model(weights).to(device)
        self._device = device
        self.logit_scale = _logit_scale(weights)

    def embed(self, captions: Sequence[str]) -> Tensor:
        """`(n, width)` float64 on the device; the last digits depend on the whole list."""
        import torch

        parts = []
        for start in range(0, len(captions), _BATCH):
            tokens = self._tokenizer(
                list(captions[start : start + _BATCH]),
                padding=True,
                truncation=True,
                max_length=self._network.config.max_position_embeddings,
                return_tensors="pt",
            )
            with torch.inference_mode():
                answer = self._network(
                    input_ids=tokens["input_ids"].to(self._device),
                    attention_mask=tokens["attention_mask"].to(self._device),
                )
            parts.append(answer.text_embeds.double())
        vectors = torch.cat(parts)
        unit: Tensor = vectors / vectors.norm(dim=1, keepdim=True)
        return unit


def tokenizer_folder(source: str, weights: Path) -> Path:
    """Where a checkpoint's tokenizer lies: beside its weights, or fetched now if they are the hub's.

    Whoever embeds images fetches no tokenizer, so that weights may be here without it.
    """
    if _has_tokenizer(weights):
        return weights
    found = ", ".join(sorted(path.name for path in weights.iterdir())[:10])
    if not Path(source).expanduser().is_dir() and HUB_ID.fullmatch(source):
        from huggingface_hub import snapshot_download

        repository, _, revision = source.partition("@")
        wanted = list(TOKENIZER_FILES)
        try:
            folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
        except Exception as error:
            raise _missing_tokenizer(source, f"{type(error).__name__}: {error}") from error
        if _has_tokenizer(folder):
            return folder
    raise _missing_tokenizer(source, found)


def _has_tokenizer(folder: Path) -> bool:
    whole, *parts = (folder / name for name in TOKENIZER_FILES[:3])
    return whole.is_file() or all(part.is_file() for part in parts)


def _missing_tokenizer(source: str, found: str) -> WeightsError:
    return WeightsError(
        f"the tokenizer of '{source}' is not on this machine",
        found=found,
        fix=f"run `{download_command(source)}` where there is a network, or give a local "
        "folder that holds tokenizer.json (or vocab.json and merges.txt) beside config.json and "
        "model.safetensors with --weights",
    )


def _load_text_model(folder: Path) -> Any:
    from transformers import AutoConfig, CLIPTextModelWithProjection

    whole = AutoConfig.from_pretrained(folder, local_files_only=True)
    if whole.model_type != "clip":
        raise DataError(
            f"'{folder}' has no text tower that can be used",
            found=f"a model of the type '{whole.model_type}'",
            fix="give a whole CLIP, such as geolocal/StreetCLIP@refs/pr/1",
        )
    config = whole.text_config
    config.projection_dim = whole.projection_dim  # the full model projects to this one
    return load_tower(CLIPTextModelWithProjection, folder, config, "float32", _PART)


def _logit_scale(folder: Path) -> float:
    """What similarities are multiplied by before the softmax: trained with the towers, and in neither."""
    from safetensors import safe_open

    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            if "logit_scale" in file.keys():  # noqa: SIM118 - it is no mapping
                return float(file.get_tensor("logit_scale").double().exp())
    raise incomplete_checkpoint(folder, _PART, "no logit_scale")
