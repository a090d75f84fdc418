"""What a user sets of a variant: the choices of `config`, and what every variant takes beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pinpoint_harness.params import param

from .config import SETS, SOURCES, PinpointConfig, RetrievalConfig

_OF_RETRIEVAL = {item.name for item in fields(RetrievalConfig)}
RETRIEVAL_SETS: Mapping[str, Mapping[str, Any]] = {
    config: {name: value for name, value in changed.items() if name in _OF_RETRIEVAL}
    for config, changed in SETS.items()
}
"""Those of them that change the retrieval."""


@dataclass(frozen=True)
class _CommonParams:
    """What every variant takes beside the configuration."""

    config: str = param("mini", "where the other defaults come from", sets=SETS)
    seed: int = param(0, "of the training", minimum=0)
    models: Path | None = param(None, "folder of trained stages [default: models in --home]", in_title=False)
    instance: str = param(
        "auto", "gallery to search; auto: that of each query's source", choices=("auto", *SOURCES)
    )
    author_filter: bool = param(False, "leave out gallery photos by the query's photographer")
    candidates: int = param(64, "alternatives to report", minimum=1, maximum=1000)


@dataclass(frozen=True)
class PinpointParams(PinpointConfig, _CommonParams):
    """Parameters of the reranked variants."""


@dataclass(frozen=True)
class Top1Params(RetrievalConfig, _CommonParams):
    """Parameters of the retrieval alone."""

    config: str = param("mini", "where the other defaults come from", sets=RETRIEVAL_SETS)
    candidates: int = param(10, "alternatives to report", minimum=1, maximum=1000)
    channel: str = param(
        "image",
        "embedding that is compared: image, raw feature or location",
        choices=("image", "raw", "location"),
    )
