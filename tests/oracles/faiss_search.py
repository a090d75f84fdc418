"""The same search through FAISS: more rows than wanted are fetched, and a certificate says if enough.

FAISS keeps a float32 copy of every matrix, so this doubles the memory; it serves as the peer in
benchmarks, as an independent check, and where its builds are faster. Its selectors are not used:
on a CPU one selector serves a whole batch and turns BLAS off, on a GPU it is silently ignored.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pinpoint_harness.errors import UsageError
from pinpoint_harness.search import exact, kernels
from pinpoint_harness.search.engine import run_search
from pinpoint_harness.search.scan import Outcome, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pinpoint_harness.search import Exclusion, Gallery, SearchResult
    from pinpoint_harness.search.exclusion import Blocked
    from pinpoint_harness.search.gallery import Channel

_SURPLUS = 64
_MOST_ON_GPU = 2048
_ADDED_ROWS = 1 << 16


def load_faiss() -> Any:
    """The module, or an error that says which of its many ways of being broken it is in."""
    try:
        faiss = importlib.import_module("faiss")
    except (ImportError, RuntimeError) as error:  # RuntimeError: faiss-gpu without its CUDA wheels
        raise UsageError(
            "the FAISS back end needs faiss",
            found=str(error),
            fix="pip install 'pinpoint-geo[cpu]' or 'pinpoint-geo[gpu]'",
        ) from error
    if not hasattr(faiss, "IndexFlatIP"):
        raise UsageError(
            "the FAISS back end needs faiss",
            found="an empty package, left by an uninstall",
            fix="pip install --force-reinstall faiss-cpu",
        )
    return faiss


class FaissIndexes:
    """A flat inner-product index per channel, on the GPU where faiss has one."""

    def __init__(self, gallery: Gallery) -> None:
        self.faiss = load_faiss()
        self.gallery = gallery
        self.on_gpu = getattr(self.faiss, "get_num_gpus", int)() > 0
        self.indexes = {name: self._index(channel) for name, channel in gallery.channels.items()}

    def _index(self, channel: Channel) -> Any:
        index = self.faiss.IndexFlatIP(channel.width)
        for start in range(0, len(channel.matrix), _ADDED_ROWS):
            index.add(channel.matrix[start : start + _ADDED_ROWS].float().cpu().numpy())
        if self.on_gpu:
            return self.faiss.index_cpu_to_gpu(self.faiss.StandardGpuResources(), 0, index)
        return index


def search_faiss(
    indexes: FaissIndexes,
    queries: Mapping[str, Tensor | NDArray[Any]],
    k: Mapping[str, int],
    exclusion: Exclusion | None = None,
) -> SearchResult:
    """The answer of `search`, to the bit; queries that exclude too many rows are settled without FAISS."""
    return run_search(indexes.gallery, queries, k, exclusion, partial(_over_fetch, indexes))


def _over_fetch(
    indexes: FaissIndexes, name: str, channel: Channel, asked: Sequence[tuple[Tensor, Task]]
) -> list[tuple[str, Outcome]]:
    return [_over_fetch_one(indexes, name, channel, vectors, task) for vectors, task in asked]


def _over_fetch_one(
    indexes: FaissIndexes, name: str, channel: Channel, vectors: Tensor, task: Task
) -> tuple[str, Outcome]:
    count, device, shape = len(channel.matrix), vectors.device, (len(vectors), task.k)
    fetched = min(count, task.k + _SURPLUS)
    if indexes.on_gpu:
        fetched = min(fetched, _MOST_ON_GPU)
    scores, rows = indexes.indexes[name].search(vectors.cpu().numpy(), fetched)
    query = np.repeat(np.arange(len(vectors)), fetched)
    kept = (rows.ravel() >= 0) & ~_blocked(task.blocked, rows.ravel(), query, len(vectors))
    query_kept = torch.from_numpy(query[kept]).to(device)
    row_kept = torch.from_numpy(rows.ravel()[kept].astype(np.int64)).to(device)
    certain = exact.exact_scores(channel, vectors, query_kept, row_kept)
    rank = row_kept if task.rank is None else task.rank[row_kept]
    keys, best, counts = exact.topk_per_query(query_kept, exact.order_key(certain, rank), row_kept, shape)
    open_queries = torch.zeros(len(vectors), dtype=torch.bool, device=device)
    if fetched < count:
        # Whatever was not fetched scores at most the last that was, give or take float32's error.
        beyond = (
            torch.from_numpy(scores[:, -1]).to(device).double()
            + kernels.rescoring_kernel(channel, vectors).error
        )
        kth = exact.scores_of(keys[:, -1]).double()
        open_queries = (counts < task.k) | ~(kth - kth.abs() * 2.0**-23 > beyond)
    (uncertified,) = torch.nonzero(open_queries, as_tuple=True)
    return "Faiss", Outcome(keys, best, counts, uncertified, len(row_kept))


def _blocked(
    blocked: Blocked, row: NDArray[np.int64], query: NDArray[np.int64], queries: int
) -> NDArray[np.bool_]:
    """Which pairs a batch may not see."""
    found = np.isin(row * queries + query, blocked.cells)
    for crowd in blocked.crowds:
        place = np.minimum(np.searchsorted(crowd.rows, row), len(crowd.rows) - 1)
        found |= (crowd.rows[place] == row) & (crowd.label_of_row[place] == crowd.label_of_query[query])
    return found
