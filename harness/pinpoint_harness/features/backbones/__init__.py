"""Frozen image encoders: found by name, weights on this machine or fetched, images prepared.

source = find_backbone(registry, "siglip2-giant-opt-patch16-384")  # or a hub id, or a folder
backbone = source.open(Context(device="cuda", dtype="bfloat16"), fetch=True)
features = backbone.features([backbone.prepare(image) for image in tile])
"""

from __future__ import annotations

from .lookup import BackboneSource, find_backbone
from .weights import WeightsError

__all__ = ["BackboneSource", "WeightsError", "find_backbone"]
