"""Checkpoints of a stage that is being made, and what can be watched of it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ArtifactError
from ..reading import reading
from .stages import StageContext


class Checkpoints:
    """The last good state of a stage in the making, in its artifact's shards; one file, whole or absent."""

    _SUFFIX = ".safetensors"

    def __init__(self, stage_context: StageContext) -> None:
        self._artifact = stage_context.artifact
        self._writes = stage_context.processes.first
        self.metrics = stage_context.metrics

    def last(self) -> tuple[int, dict[str, Any], dict[str, str]] | None:
        """Step, tensors on the CPU and notes of the newest checkpoint."""
        steps = self._artifact.finished_shards(self._SUFFIX)
        if not steps:
            return None
        from safetensors import safe_open

        path = self.path(max(steps))
        with (
            reading(path, ArtifactError, what="the checkpoint", fix="train again with --fresh"),
            safe_open(path, framework="pt") as file,
        ):
            return max(steps), {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 - no dictionary

    def save(self, step: int, tensors: Mapping[str, Any], notes: Mapping[str, str]) -> None:
        """Put a checkpoint in place, then drop the one before."""
        if not self._writes:
            return
        from safetensors.torch import save

        self._artifact.write_shard(step, self._SUFFIX, save(dict(tensors), dict(notes)))
        for old in self._artifact.finished_shards(self._SUFFIX) - {step}:
            self.path(old).unlink()

    def show(self, name: str, data: bytes) -> None:
        """Put a file of the stage in place as it is so far; the finished one takes its place in the end."""
        if self._writes:
            self._artifact.write_draft(name, data)

    def path(self, step: int) -> Path:
        return self._artifact.shard_path(step, self._SUFFIX)
