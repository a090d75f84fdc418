"""Tables made shard by shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinpoint_harness.artifacts import Artifact, row_table
from pinpoint_harness.errors import ArtifactError


def test_an_interrupted_table_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    made: list[int] = []

    def make(start: int, stop: int) -> Any:
        if start == 32 and len(made) == 2:
            made.append(-1)
            raise KeyboardInterrupt
        made.append(start)
        return np.stack([np.arange(start, stop), np.arange(start, stop) ** 2], axis=1)

    def table(parent: Path) -> Path:
        artifact = Artifact.begin(parent, "table", {"rows": 100})
        row_table.fill(artifact, "table", 100, 16, make)
        return artifact.folder

    with pytest.raises(KeyboardInterrupt):
        table(tmp_path / "cut")
    (cut,) = (tmp_path / "cut").iterdir()
    with pytest.raises(ArtifactError, match="not finished"):
        row_table.read(cut)
    assert table(tmp_path / "cut") == cut
    assert made == [0, 16, -1, 32, 48, 64, 80, 96]
    whole = table(tmp_path / "whole")
    assert (cut / "table.npy").read_bytes() == (whole / "table.npy").read_bytes()
    assert row_table.read(cut).tolist() == [[n, n * n] for n in range(100)]
