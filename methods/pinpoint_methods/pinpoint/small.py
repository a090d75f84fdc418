"""Small models: where the configuration `mini` differs from `full`, and one that is trained in no time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MINI: Mapping[str, tuple[Any, str]] = {
    "backbone": ("mini", "what mini-Earth carries"),
    "photos": ("mini-earth/photos", "its photos"),
    "streetview": ("mini-earth/streetview", "its street view"),
    "photos_a_percent": (75, "as the world was divided when it was drawn"),
    "photos_c_one_in": (4, "likewise"),
    "streetview_cell_km": (0.0, "likewise; query-street lies 1 km from that A"),
    "streetview_b_percent": (18, "likewise"),
    "streetview_c_one_in": (12, "likewise"),
    "leave_out": ("", "query-noisy shares its photographers with the gallery on purpose"),
    "hidden": (256, "48,000 rows to learn from, two cores to learn on"),
    "adapter_depth": (1, "likewise"),
    "trunk_depth": (1, "likewise"),
    "frequencies": (256, "likewise"),
    "location_hidden": (256, "likewise"),
    "location_depth": (1, "likewise"),
    "passes": (20.7, "likewise: a million samples, two minutes"),
    "batch": (1024, "a twenty-fourth of a source"),
    "learning_rate": (2e-3, "of a small model, chosen on C of world seed 1"),
    "weight_decay": (1.0, "with it, noise and averages C gains 2 points of photos: choices.md"),
    "input_noise": (0.15, "likewise"),
    "weight_average": (0.99, "likewise; a tenth of the steps"),
    "keep": ("best", "48,000 rows are soon learned by heart"),
    "validations": (8, "with noise and averages a step takes 2 % longer; two looks fewer make up for it"),
    "validation_queries": (2000, "about all there are"),
    "validation_gallery": (100_000, "all of it"),
    "layers": (2, "6,000 queries a source to learn from, two cores"),
    "width": (128, "likewise"),
    "heads": (4, "likewise"),
    "reranker_batch": (128, "likewise"),
    "reranker_epochs": (4, "with the margin loss the first of four passes was the best on C"),
}
"""Where `mini` differs from `full`, and why."""

CHECK_RETRIEVAL_WITH: Mapping[str, Any] = {
    "photos_a_percent": 60,
    "photos_c_one_in": 3,
    "streetview_b_percent": 30,
    "streetview_c_one_in": 5,
    "hidden": 16,
    "adapter_depth": 1,
    "trunk_depth": 1,
    "embedding": 16,
    "frequencies": 16,
    "location_hidden": 16,
    "location_depth": 1,
    "passes": 1.0,
    "batch": 64,
    "validations": 1,
}
CHECK_WITH: Mapping[str, Any] = {
    **CHECK_RETRIEVAL_WITH,
    "layers": 1,
    "width": 16,
    "heads": 2,
    "reranker_epochs": 1,
    "reranker_batch": 32,
}
"""A model that is trained in no time on some hundred photos, for `pinpoint methods check`."""
