"""What a run consists of: checks first, then figures in the order of their worth."""

from __future__ import annotations

from dataclasses import dataclass

BROKEN = 75
"""Exit code of a process whose device may be in disorder after a failure: another goes on with the rest."""


@dataclass(frozen=True)
class Item:
    """One check or figure: `function` of `module`, called with the bench.

    `seconds` is what it should take on an H200; with less of the budget left it is left out. It is
    ended after `limit` seconds, and what follows goes on in another process.
    """

    name: str
    module: str
    function: str
    seconds: int
    limit: int

    @property
    def is_check(self) -> bool:
        return self.module.startswith("checks")


PLAN = (
    Item("search equals the CPU's", "checks_search", "search_equals_cpu", 12, 60),
    Item("galleries that do not fit", "checks_search", "placed_rows_equal_resident", 8, 60),
    Item("large owners and crowds", "checks_search", "large_exclusions_equal_cpu", 6, 40),
    Item("support masking", "checks_search", "support_masking_equals_cpu", 3, 30),
    Item("towers", "checks_model", "towers_close_to_cpu", 4, 40),
    Item("Fourier phases under TF32", "checks_model", "phases_survive_tf32", 2, 30),
    Item("sigmoid loss", "checks_model", "loss_close_to_cpu", 4, 40),
    Item("near pairs", "checks_model", "near_pairs_equal_cpu", 2, 30),
    Item("training step", "checks_model", "training_step_close_to_cpu", 4, 40),
    Item("resumed training", "checks_model", "resumed_training_is_equal", 4, 40),
    Item("reranker", "checks_model", "reranker_close_to_cpu", 5, 40),
    Item("attention over many rows", "checks_model", "attention_over_many_rows", 3, 30),
    Item("process group", "checks_model", "process_group_of_one", 4, 60),
    Item("bf16 backbones", "checks_encoder", "bf16_close_to_float32", 8, 60),
    Item("compiled tile", "checks_encoder", "compiled_tile_close_to_eager", 20, 90),
    Item("G1 roof", "figures_search", "roof", 8, 60),
    Item("G2 search", "figures_search", "batches", 35, 120),
    Item("G14 determinism", "figures_search", "determinism", 15, 90),
    Item("G3 exclusion", "figures_search", "exclusion", 15, 90),
    Item("G4 self-join", "figures_search", "self_join", 10, 60),
    Item("G12 rerank", "figures_model", "rerank", 15, 90),
    Item("G11 loss", "figures_model", "loss", 12, 60),
    Item("G10 towers", "figures_model", "towers", 30, 120),
    Item("G8 encoders", "figures_encoder", "encoders", 120, 240),
    Item("G15 one photo, many photos", "figures_encoder", "end_to_end", 30, 120),
)
