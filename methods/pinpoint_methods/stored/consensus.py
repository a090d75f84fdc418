"""One answer out of the candidates that another method's run has stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pinpoint_harness.artifacts import file_sha256
from pinpoint_harness.errors import DataError
from pinpoint_harness.params import param
from pinpoint_harness.types import Candidates, Context, Predictions, Queries

from ..common.consensus import RULES, decode

if TYPE_CHECKING:
    from pinpoint_harness.types import Floats

_COLUMNS = ("id", "status", "candidates")


@dataclass(frozen=True)
class ConsensusParams:
    run: Path = param(
        help="the run: METHOD@DATASET, its folder, or its predictions.parquet", in_title=False, names_run=True
    )
    decoding: str = param("expected", "how candidates make an answer", choices=tuple(RULES))
    weight: str = param(
        "auto",
        "of a candidate: its probability, the inverse of its rank, or equal; auto: the probability where the "
        "run has it, else the rank",
        choices=("auto", "probability", "rank", "equal"),
    )
    power: float = param(1.0, "to which the weight is raised", minimum=0)
    candidates: int = param(1000, "how many of a photo's, best first, are used", minimum=1)


class Consensus:
    """A run's candidates decoded another way: by the share of radii to expect, a density or a cluster.

    Answers are joined by id. A photo that the run could not see has no answer here either, nor has one
    without candidates.
    """

    Params: ClassVar[type[ConsensusParams]] = ConsensusParams
    answer_version: ClassVar[int] = 1
    input = "id"

    def __init__(self, params: ConsensusParams, context: Context) -> None:
        self.params = params
        self._file = params.run / "predictions.parquet" if params.run.is_dir() else params.run
        self._table = _read(self._file)

    def content(self) -> Mapping[str, Any]:
        return {"run": {"sha256": file_sha256(self._file)}}

    def predict(self, queries: Queries) -> Predictions:
        known = pc.index_in(
            pa.array(queries.input["id"].tolist(), pa.string()), self._table["id"].cast(pa.string())
        )
        rows = pc.fill_null(known, -1).to_numpy().astype(np.int64)
        if not (rows >= 0).any():
            raise DataError(
                f"no answer in '{self._file}' belongs to a photo of this dataset",
                found=f"ids like '{self._table['id'][0].as_py() if len(self._table) else ''}'",
                fix="give a run of this dataset",
            )
        status = self._table["status"].to_pylist()
        candidates = self._candidates(rows)
        weight, note = self._weights(candidates)
        answers = decode(self.params.decoding, candidates.coordinates, weight)
        said = [
            status[row] if row >= 0 and status[row] != "ok" else ("missing" if row < 0 else "ok")
            for row in rows
        ]
        there = ~np.isnan(answers.sum(axis=1))
        fates = [
            word if word != "ok" or known else "no prediction"
            for word, known in zip(said, there, strict=True)
        ]
        blank = np.array([word != "ok" for word in fates])
        answers[blank] = np.nan
        return Predictions(answers, candidates=candidates, status=fates, notes=(note,))

    def _candidates(self, rows: NDArray[np.int64]) -> Candidates:
        """Those of the given rows, -1 for none, padded, `(n, k, ...)`."""
        lists = self._table["candidates"].take(pa.array(rows, mask=rows < 0)).combine_chunks()
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        slot = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = slot < self.params.candidates
        at = np.repeat(np.arange(len(rows)), counts)[kept], slot[kept]
        shape = len(rows), int(slot[kept].max(initial=0)) + 1
        flat = lists.flatten().filter(pa.array(kept))

        def numbers(name: str) -> Floats:
            padded = np.full(shape, np.nan)
            padded[at] = pc.fill_null(flat.field(name), np.nan).to_numpy(zero_copy_only=False)
            return padded

        def names(name: str) -> NDArray[np.str_]:
            values = pc.fill_null(flat.field(name), "").to_numpy(zero_copy_only=False).astype(np.str_)
            padded = np.full(shape, "", dtype=values.dtype)
            padded[at] = values
            return padded

        probability = numbers("probability")
        return Candidates(
            np.stack([numbers("latitude"), numbers("longitude")], axis=2),
            probability=None if np.isnan(probability).all() else probability,
            source=names("source"),
            photo_id=names("photo_id"),
        )

    def _weights(self, candidates: Candidates) -> tuple[Floats, str]:
        """The weight of every candidate, `(n, k)`, and what it is, in words."""
        there = ~np.isnan(candidates.coordinates).any(axis=2)
        share, kind = candidates.probability, self.params.weight
        complete = share is not None and not np.isnan(share[there]).any()
        if kind == "auto":
            kind = "probability" if complete else "rank"
        if kind == "probability" and not complete:
            raise DataError(
                f"the candidates in '{self._file}' have no probabilities",
                fix="--set weight=rank, equal, or auto",
            )
        if kind == "probability":
            assert share is not None  # complete
            weight = np.nan_to_num(share)
        else:
            rank = np.arange(1, there.shape[1] + 1)
            weight = np.broadcast_to(1.0 / rank if kind == "rank" else np.ones(len(rank)), there.shape)
        words = {"probability": "their probability", "rank": "the inverse of their rank", "equal": "1"}[kind]
        return np.where(there, weight**self.params.power, 0.0), f"candidates weigh {words}"


def _read(path: Path) -> pa.Table:
    """Ids, statuses and candidates of a run; DataError where there are none."""
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow.names
            if set(_COLUMNS) <= set(found):
                table = file.read(list(_COLUMNS))
                if table["candidates"].null_count < len(table):
                    return table
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot read a run's answers from '{path}'",
            found=f"{type(error).__name__}: {error}",
            fix="give the folder of a run, which `pinpoint runs list` names",
        ) from error
    raise DataError(
        f"'{path}' has no candidates",
        found=f"columns {', '.join(found)}" if not set(_COLUMNS) <= set(found) else "none for any photo",
        fix="give a run of a method that reports candidates",
    )
