"""Hugging Face's own image processors on Pillow, under the names that releases of transformers give them."""

from __future__ import annotations

import importlib
from typing import Any


def _on_pillow(folder: str, name: str) -> Any:
    try:
        module = importlib.import_module(f"transformers.models.{folder}.image_processing_pil_{folder}")
        return getattr(module, f"{name}Pil")
    except ModuleNotFoundError:  # before transformers 5, where all were
        module = importlib.import_module(f"transformers.models.{folder}.image_processing_{folder}")
        return getattr(module, name)


CLIPImageProcessorPil: Any = _on_pillow("clip", "CLIPImageProcessor")
SiglipImageProcessorPil: Any = _on_pillow("siglip", "SiglipImageProcessor")
