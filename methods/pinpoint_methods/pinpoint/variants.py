"""The registered variants: for each name its title and its preset, the parameters that differ.

A preset lies over the defaults that `config` chooses, and under what the user sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Variants = Mapping[str, tuple[str, Mapping[str, Any]]]

TOP1: Variants = {
    "pinpoint-top1-gps": ("retrieval only, image to GPS", {"channel": "location"}),
    "pinpoint-top1-image": ("retrieval only, learned image to image", {"channel": "image"}),
    "pinpoint-top1-raw": ("retrieval only, raw features", {"channel": "raw"}),
}
"""The variants of `method.PinpointTop1`."""

PLUS: Mapping[str, Any] = {
    "galleries": "both",
    "candidates_image": 32,
    "candidates_raw": 16,
    "candidates_location": 16,
    "query_embedding": False,
    "visual_token": False,
    "gps_token": False,
    "support_token": False,
    "list_features": True,
    "cells": 100,
    "retrieval_weights": "fitted",
    "layers": 1,
    "width": 64,
    "heads": 4,
    "streetview_lists": "both",
    "ranking_loss": "radii",
    "reranker_epochs": 4,
    "reranker_learning_rate": 1e-3,
    "decoding": "expected",
}
"""What split C favours on mini-Earth, see results/mini-earth/choices.md."""

RERANKED: Variants = {
    "pinpoint": ("own gallery, support from the other source, argmax", {}),
    "pinpoint-plus": (
        "what split C favours: both galleries, hand-made features, cells, a score by radius, expected",
        PLUS,
    ),
    # Controls.
    "pinpoint-no-reranker": (
        "its own candidates, ranked by image + retrieval_location x location similarity",
        {"reranker": "none"},
    ),
    "pinpoint-no-reranker-plus": (
        "candidates and decoding of plus, retrieval scores",
        {**{name: value for name, value in PLUS.items() if name != "cells"}, "reranker": "none"},
    ),
    "pinpoint-feature-reranker": ("an MLP over hand-made features", {"reranker": "features"}),
    # Ablations.
    "pinpoint-no-support": ("no support token, and so none of its similarities", {"support": "none"}),
    "pinpoint-shuffled-support": ("support from random places", {"support": "shuffled"}),
    "pinpoint-photos-only": ("embedder, gallery and support of photos", {"sources": "photos"}),
    "pinpoint-streetview-only": ("embedder, gallery and support of street view", {"sources": "streetview"}),
    # A dropped channel's places go to the others, or the number of candidates would change as well.
    "pinpoint-no-raw-channel": ("candidates 10 + 0 + 2", {"candidates_image": 10, "candidates_raw": 0}),
    "pinpoint-no-gps-channel": ("candidates 10 + 2 + 0", {"candidates_image": 10, "candidates_location": 0}),
    "pinpoint-no-image-channel": (
        "candidates 0 + 6 + 6",
        {"candidates_image": 0, "candidates_raw": 6, "candidates_location": 6},
    ),
    "pinpoint-no-gps-token": (
        "no location embedding of the candidate and no image-to-GPS similarity",
        {"gps_token": False},
    ),
    "pinpoint-no-visual-token": (
        "no image embedding of the candidate, no learned and no raw similarity",
        {"visual_token": False},
    ),
    "pinpoint-loo-reranker": ("reranker trained on gallery photos, each left out", {"reranker_queries": "A"}),
    "pinpoint-listwise": (
        "candidates attend to one another, soft listwise loss",
        {"context_layers": 2, "ranking_loss": "listwise"},
    ),
    "pinpoint-union": ("both galleries, quotas 4 + 4, 1 + 1, 1 + 1", {"galleries": "both"}),
    "pinpoint-expected": ("decoded by the expected share of the radii", {"decoding": "expected"}),
}
"""The variants of `method.Pinpoint`."""
