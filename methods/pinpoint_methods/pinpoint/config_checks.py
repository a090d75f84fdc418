"""What a configuration is refused for, with what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pinpoint_harness.errors import UsageError

if TYPE_CHECKING:
    from .config import PinpointConfig, RetrievalConfig


def refuse_towers_that_do_not_fit(config: RetrievalConfig) -> None:
    """Frequencies out of order, and embedders that are not as many as what is said of each."""
    if config.lowest_frequency > config.highest_frequency:
        raise UsageError(
            "the lowest frequency is not above the highest",
            found=f"{config.lowest_frequency:g} and {config.highest_frequency:g}",
        )
    names = config.backbones
    if len(names) > 1 and not len(names) == len({*names}) == config.embedders:
        raise UsageError(
            "several backbones are one for each embedder",
            found=f"backbone={config.backbone}, embedders={config.embedders}",
            fix=f"--set embedders={len(names)}",
        )
    if config.temperatures and len(config.starts()) != config.embedders:
        raise UsageError(
            "temperatures has a number above 0 for each embedder",
            found=f"temperatures={config.temperatures}, embedders={config.embedders}",
            fix="--set embedders=3 --set temperatures=5,10,20",
        )


def refuse_lists_nobody_can_learn_from(config: PinpointConfig) -> None:
    """Galleries and widths that do not fit, lists without candidates, and options that would do nothing."""
    if config.galleries == "both" and "," not in config.sources:
        raise UsageError("galleries=both needs two sources", found=config.sources, fix="--set galleries=own")
    if config.width % config.heads:
        raise UsageError(
            "the reranker's width is not a multiple of its heads",
            found=f"{config.width} and {config.heads}",
        )
    asked = {name: config.quota(name) for name in ("image", "raw", "location")}
    found = ", ".join(f"candidates_{name}={getattr(config, f'candidates_{name}')}" for name in asked)
    if not any(asked.values()):
        raise UsageError("no channel gives a candidate", found=f"{found}, galleries={config.galleries}")
    together = sum(asked.values())
    if 0 < config.candidate_pool < together:
        raise UsageError(
            "a pool holds fewer rows of a channel than candidates are chosen from it",
            found=f"candidate_pool={config.candidate_pool} for {together} in each gallery",
            fix=f"--set candidate_pool={together} or more, 0 for quotas",
        )
    if (most := max(config.candidate_pool, *asked.values())) > config.candidates_kept:
        raise UsageError(
            "a channel gives more candidates than are kept to train on",
            found=f"{found}, galleries={config.galleries}, candidates_kept={config.candidates_kept}",
            fix=f"--set candidates_kept={most}",
        )
    if config.csls and not config.candidate_pool:
        raise UsageError("csls corrects the scores of a pool", found=f"csls={config.csls}, candidate_pool=0")
    told = config.reranker == "features" or (config.reranker == "attention" and config.list_features)
    for name in ("density", "cells"):
        if getattr(config, name) and not told:
            raise UsageError(
                f"{name} is a hand-made feature, and no token carries those",
                found=f"{name}={getattr(config, name)}, reranker={config.reranker}, "
                f"list_features={config.list_features}",
                fix=f"--set {name}=0, or --set list_features=true for a reranker that reads tokens",
            )
    if config.reranker == "attention" and not (config.query_embedding or config.list_features):
        raise UsageError(
            "the query token holds nothing",
            found="query_embedding=False, list_features=False",
            fix="leave one of them on",
        )
