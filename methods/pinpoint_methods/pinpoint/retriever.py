"""The galleries that the candidates of one source, and their support, come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pinpoint_harness.artifacts import read_json
from pinpoint_harness.search import Exclusion, mask_support, search

from ..common.candidates import CHANNELS, CandidateBatch, join_batches, queries_at_once, slices
from .config import PinpointConfig
from .gallery import SourceGallery
from .place_classifier import PlaceClassifier
from .row_facts import read_rows
from .selection import Pool, Quotas, RowsByChannel, Selection, taken

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TOLD = ("hubness", "density", "cells", "weights")
"""The stages that tell a retriever more; each is made where the configuration asks for it."""

_PIECE_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 27}
"""Numbers of the support's embeddings at hand at once: on a CPU no more than stay in its cache."""


class SourceRetriever:
    """The galleries that the candidates of one source's queries, and their support, come from."""

    def __init__(
        self,
        galleries: Sequence[SourceGallery],
        support: Sequence[SourceGallery],
        tables: Sequence[NDArray[np.int32] | None],
        config: PinpointConfig,
        device: str,
        hubness: Sequence[Tensor] = (),
        density: Sequence[Tensor] = (),
        cells: PlaceClassifier | None = None,
    ) -> None:
        """`tables[i]` names the rows of `support[i]` near each row of `galleries[i]`.

        `hubness`, `density` and `cells` tell of the rows of each gallery what their stages found, if made.
        """
        self.galleries, self.support = galleries, support
        # On a CPU the file itself, mapped.
        self.tables = [None if table is None else torch.from_numpy(table).to(device) for table in tables]
        self.config, self.device = config, device
        self.selection: Selection = (
            Pool(galleries, config, device, hubness)
            if config.candidate_pool
            else Quotas(galleries, config, device)
        )
        self.density, self.cells = [values.to(device) for values in density], cells
        self.slots = self.selection.slots
        self.gallery_of_slot = self.slots.gallery.to(device)

    def find(
        self, image: Tensor, raw: Tensor, exclusions: Sequence[Exclusion], k: Mapping[str, int]
    ) -> list[RowsByChannel]:
        """The searches of every gallery, `k` rows by each channel, all channels of one in a single pass."""
        channels = [channel for channel in CHANNELS if k[channel]]
        queries = {channel: raw if channel == "raw" else image for channel in channels}
        wanted = {channel: k[channel] for channel in channels}
        found: list[RowsByChannel] = []
        for gallery, exclusion in zip(self.galleries, exclusions, strict=True):
            hits = search(gallery.searchable(CHANNELS), queries, wanted, exclusion)
            found.append({channel: hits[channel].rows.cpu().numpy() for channel in channels})
        return found

    def lists(
        self, found: Sequence[RowsByChannel], image: Tensor, raw: Tensor, hidden: Sequence[Exclusion]
    ) -> CandidateBatch:
        """The lists of some queries; `hidden[i]` is what the queries may not see of `support[i]`."""
        parts = [self._lists(found, image, raw, hidden, queries) for queries in self._pieces(len(image))]
        return join_batches(parts)

    def similarities(
        self, found: Sequence[RowsByChannel], image: Tensor, raw: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the searches alone tell of candidates: similarity by channel, who is there, and xyz."""
        parts = []
        for queries in self._pieces(len(image)):
            row, valid, scores = self.selection.candidates(*self._asking(found, image, raw, queries))
            parts.append((scores, valid, self._gather("xyz", row)))
        scores, valid, xyz = (torch.cat(each) for each in zip(*parts, strict=True))
        return scores, valid, xyz

    def _pieces(self, count: int) -> Iterator[slice]:
        return slices(count, queries_at_once(len(self.slots)))

    def _asking(
        self, found: Sequence[RowsByChannel], image: Tensor, raw: Tensor, queries: slice
    ) -> tuple[list[RowsByChannel], dict[str, Tensor]]:
        """Of some of the queries what was found for them, and their vectors by channel."""
        here: list[RowsByChannel] = [{channel: rows[channel][queries] for channel in rows} for rows in found]
        query = image[queries].to(self.device).float()
        return here, {"image": query, "raw": raw[queries].to(self.device).float(), "location": query}

    def _lists(
        self,
        found: Sequence[RowsByChannel],
        image: Tensor,
        raw: Tensor,
        hidden: Sequence[Exclusion],
        queries: slice,
    ) -> CandidateBatch:
        here, by_channel = self._asking(found, image, raw, queries)
        row, valid, scores = self.selection.candidates(here, by_channel)
        xyz = self._gather("xyz", row)
        support, short = self._support(row, hidden, queries)
        query = by_channel["image"]
        nothing = torch.empty(*row.shape, 0, device=query.device)
        lists = CandidateBatch(query, row, valid, scores, xyz, support, nothing, nothing, short)
        lists = replace(lists, support_facts=self._support_facts(lists))
        features = [self.selection.features(lists, here)]
        rows = torch.split(row.clamp(min=0), self.slots.per_gallery, dim=1)
        if self.density:
            density = [values[some] for values, some in zip(self.density, rows, strict=True)]
            features.append(torch.cat(density, dim=1)[..., None])
        if self.cells is not None:
            features.append(self.cells.features(by_channel["raw"], rows))
        return replace(lists, features=torch.cat(features, dim=2))

    def _gather(self, what: str, row: Tensor) -> Tensor:
        """`(n, c, width)` float32 of each slot's gallery; row 0 stands in for none."""
        return self._taken(self.galleries, what, row)

    def _support(self, row: Tensor, hidden: Sequence[Exclusion], queries: slice) -> tuple[Tensor, int]:
        """Rows of the support's galleries `(n, c, m)` that the queries may see, and how many fell short."""
        if self.config.support == "none":
            return torch.empty(*row.shape, 0, dtype=torch.int64, device=self.device), 0
        parts, short = [], torch.zeros((), dtype=torch.int64, device=self.device)
        lists = torch.split(row, self.slots.per_gallery, dim=1)
        for own, near, table, exclusion, listed in zip(
            self.galleries, self.support, self.tables, hidden, lists, strict=True
        ):
            assert table is not None
            close = table.index_select(0, listed.clamp(min=0).flatten()).view(*listed.shape, -1)  # (n, c, 64)
            close = close.masked_fill(listed[..., None] < 0, -1)
            if near is own:  # a candidate is no support of itself
                close = close.masked_fill(close == listed[..., None], -1)
            masked = mask_support(close, near.rows, exclusion.take(queries), self.config.support_used)
            parts.append(masked.rows)
            short += masked.short.sum()
        return torch.cat(parts, dim=1), int(short)

    def _support_facts(self, lists: CandidateBatch) -> Tensor:
        """How the support resembles the query, and how much there is of it: what is constant in training."""
        valid = lists.support >= 0
        if not valid.shape[2]:
            return torch.zeros(*valid.shape[:2], 3, device=self.device)
        step = max(1, _PIECE_ELEMENTS[valid.device.type] // (valid[0].numel() * lists.query.shape[1]))
        pieces = [lists.take(queries) for queries in slices(len(lists), step)]
        similar = torch.cat(
            [torch.einsum("ne,ncme->ncm", piece.query, self.support_of(piece)) for piece in pieces]
        )
        count = valid.sum(dim=2)
        highest = similar.masked_fill(~valid, -1.0).amax(dim=2)
        mean = (similar * valid).sum(dim=2) / count.clamp(min=1)
        return torch.stack([highest, mean, torch.log1p(count)], dim=2)

    def support_of(self, lists: CandidateBatch) -> Tensor:
        """Image embeddings of the support, `(n, c, m, e)`; row 0 stands in for none."""
        return self._taken(self.support, "image", lists.support)

    def _taken(self, galleries: Sequence[SourceGallery], what: str, row: Tensor) -> Tensor:
        """Float32 rows of each slot's gallery, `(n, c, ..., width)`."""
        parts = taken(galleries, what, torch.split(row, self.slots.per_gallery, dim=1))
        return torch.cat([part.to(row.device) for part in parts], dim=1).float()

    def embeddings(self, channel: str, lists: CandidateBatch) -> Tensor:
        """The candidates' rows in a channel, `(n, c, width)`; a GPU gathers them where the galleries lie."""
        return self._gather(channel, lists.row)


def galleries_of(folder: Path, raw: Path, sources: Iterable[str], device: str) -> dict[str, SourceGallery]:
    """The galleries of the finished stages `gallery` and `raw`."""
    return {source: SourceGallery(source, folder, raw, device) for source in sources}


def open_retriever(
    config: PinpointConfig,
    source: str,
    galleries: Mapping[str, SourceGallery],
    support: Path | None = None,
    hubness: Path | None = None,
    density: Path | None = None,
    cells: Path | None = None,
    weights: Path | None = None,
) -> SourceRetriever:
    """The retriever of a source, with the support of its candidates from the folder of that stage.

    `hubness` and so on are the folders of the stages `TOLD`, where the configuration has them. With `weights`
    the retriever's own configuration has those that were fitted.

    Support is of the other source than the candidate's; where there is but one, of that one.
    """
    names = list(galleries)
    listed = [source, *(name for name in names if name != source)] if config.galleries == "both" else [source]
    other = {name: next((n for n in names if n != name), name) for name in names}
    near = [galleries[other[name]] for name in listed]
    tables = [_support_table(config, name, support) for name in listed]
    if weights is not None:
        config = replace(config, **read_json(weights / "config.json")["fitted"][source])
    return SourceRetriever(
        [galleries[name] for name in listed],
        near,
        tables,
        config,
        near[0].device,
        [read_rows(hubness, source, name) for name in listed] if hubness else (),
        [read_rows(density, name) for name in listed] if density else (),
        PlaceClassifier.read(cells, listed, near[0].device) if cells else None,
    )


def _support_table(config: PinpointConfig, gallery: str, folder: Path | None) -> NDArray[np.int32] | None:
    """Rows near each row of a gallery; shuffled, those near another row, the same one for every seed."""
    if config.support == "none":
        return None
    assert folder is not None
    table: NDArray[np.int32] = np.load(folder / f"{gallery}.support.npy", mmap_mode="c", allow_pickle=False)
    if config.support == "shuffled":
        return table[np.random.default_rng(0).permutation(len(table))]
    return table
