"""The sigmoid loss of SigLIP (Zhai et al. 2023, arXiv:2303.15343), with its gradient made on the way.

Every pair of a picture and a place in the batch is a yes-or-no question:

    loss = 1/B sum_ij softplus(-z_ij (t x_i . y_j + b)),  z = 1 on the diagonal, -1 elsewhere

Written plainly this keeps several B x B matrices for the backward pass. Here each tile is
turned into its share of the gradient while it is at hand: three matrix products, nothing kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from pinpoint_harness.geo import chord_from_km

CPU_TILE = (512, 1024)
"""Rows and columns at hand at once: 2 MiB, which a core's cache holds."""
GPU_TILE = (4096, 1 << 30)
"""Whole rows: a GPU wants large products, and has the memory for them."""

_PIECE_PAIRS = 1 << 22
# Cities lie side by side rather than one behind the other along this direction.
_SWEEP = (0.36, 0.48, 0.8)

Pairs = tuple[Tensor, Tensor]


def sigmoid_loss(
    images: Tensor,
    places: Tensor,
    temperature: Tensor,
    bias: Tensor,
    masked: Pairs | None = None,
    first: int = 0,
    tile: tuple[int, int] | None = None,
) -> Tensor:
    """The loss of pictures `(b, e)` against places `(B, e)`, of which row i belongs to `first + i`.

    `masked` are pairs (row, place) that are no negatives, sorted by row. With more places than
    pictures, as when others hold the rest of the batch, it is this part's share of the whole loss.
    """
    loss: Tensor = _SigmoidLoss.apply(  # type: ignore[no-untyped-call] # torch has no type for it
        images, places, temperature, bias, masked, first, tile or (GPU_TILE if images.is_cuda else CPU_TILE)
    )
    return loss


def near_pairs(xyz: Tensor, radius_km: float, first: int = 0, count: int | None = None) -> Pairs:
    """Pairs `(row, place)` of different members of a batch less than `radius_km` apart, by row.

    `xyz` `(B, 3)` lies on the unit sphere; rows are `count` from `first` on and counted from 0.
    Distances are chords of coordinate differences: in float32 a dot product puts points 1 km apart
    at 0 m. A sweep along one direction leaves each point only those within the radius of it.
    """
    limit = float(chord_from_km(radius_km))
    x, y, z = (w * side for w, side in zip(_SWEEP, xyz.unbind(dim=1), strict=True))
    height, order = torch.sort(x + y + z)
    points = xyz[order]
    stop = torch.searchsorted(height, height + limit * 1.001 + 1e-6, right=True)
    ahead = stop - torch.arange(len(points), device=xyz.device) - 1  # (B,) points yet to compare with
    found = [_compare(points, ahead, piece, times, limit) for piece, times in _pieces(ahead)]
    one, other = (torch.cat(side) for side in zip(*found, strict=True))
    one, other = order[torch.cat([one, other])], order[torch.cat([other, one])]
    last = len(xyz) if count is None else first + count
    if (first, last) != (0, len(xyz)):
        kept = torch.nonzero((one >= first) & (one < last)).flatten()
        one, other = one[kept] - first, other[kept]
    by_row = torch.argsort(one * len(xyz) + other)
    return one[by_row], other[by_row]


def _pieces(ahead: Tensor) -> list[tuple[slice, int]]:
    """Runs of points, and how often they are compared: a batch in one town must fit as well.

    One look at the device where a run is enough: each look waits for all that was begun there.
    """
    before = torch.cumsum(ahead, 0)
    total = int(before[-1])
    if total <= _PIECE_PAIRS:
        return [(slice(0, len(ahead)), total)]
    piece = before // _PIECE_PAIRS
    inner = torch.nonzero(piece[1:] > piece[:-1]).flatten() + 1
    cuts, sums = [0, *inner.tolist(), len(ahead)], [0, *before[inner - 1].tolist(), total]
    return [
        (slice(*ends), upto - since)
        for ends, since, upto in zip(pairwise(cuts), sums, sums[1:], strict=False)
    ]


def _compare(points: Tensor, ahead: Tensor, piece: slice, times: int, limit: float) -> Pairs:
    counts = ahead[piece]
    start = torch.arange(piece.start, piece.stop, device=points.device)
    one = torch.repeat_interleave(start, counts, output_size=times)
    within = torch.arange(times, device=points.device) - torch.repeat_interleave(
        torch.cumsum(counts, 0) - counts, counts, output_size=times
    )
    other = one + 1 + within
    close = (points[one] - points[other]).square().sum(dim=1) < limit**2
    kept = torch.nonzero(close).flatten()
    return one[kept], other[kept]


class _SigmoidLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        places: Tensor,
        temperature: Tensor,
        bias: Tensor,
        masked: Pairs | None,
        first: int,
        tile: tuple[int, int],
    ) -> Tensor:
        exact = torch.float64 if images.dtype == torch.float64 else torch.float32
        scaled = images * temperature.to(images.dtype)  # (b, e)
        d_images, d_places = (torch.zeros_like(side, dtype=exact) for side in (images, places))
        d_bias, loss = (torch.zeros((), dtype=torch.float64, device=images.device) for _ in range(2))
        # Two tiles for all: memory that is new each time costs as much as a matrix product.
        space = images.new_empty(2, min(tile[0], len(images)) * min(tile[1], len(places)), dtype=exact)
        for rows, columns, hidden in _tiles(len(images), len(places), tile, masked):
            mine, theirs = scaled[rows], places[columns]
            logits, each = (flat[: len(mine) * len(theirs)].view(len(mine), -1) for flat in space)  # (r, c)
            _put_product(logits, mine, theirs.T)
            logits += bias
            own = torch.diagonal(logits, offset=first + rows.start - columns.start)
            torch.ops.aten.softplus.out(logits, out=each)  # what a negative costs
            loss -= own.sum(dtype=torch.float64)
            share = logits.sigmoid_()  # (r, c) the derivative by the logits
            own -= 1  # a view of it
            if hidden is not None:
                each[hidden] = 0
                share[hidden] = 0
            loss += each.sum()
            d_bias += share.sum()
            share = share.to(images.dtype)
            _add_product(d_images[rows], share, theirs)
            _add_product(d_places[columns], share.T, mine)
        d_temperature = (images * d_images).sum(dtype=torch.float64)
        d_images *= temperature
        found = (d_images, d_places, d_temperature, d_bias)
        given = (images, places, temperature, bias)
        size = len(places)
        ctx.save_for_backward(*((d / size).to(of.dtype) for d, of in zip(found, given, strict=True)))
        return (loss / size).to(exact)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return *(outer.to(found.dtype) * found for found in ctx.saved_tensors), None, None, None


def _tiles(
    rows: int, columns: int, tile: tuple[int, int], masked: Pairs | None
) -> Iterator[tuple[slice, slice, Pairs | None]]:
    """Rows and columns of each tile, and its masked pairs counted from its corner."""
    cuts = [0, 0 if masked is None else len(masked[0])]
    if masked is not None and rows > tile[0]:
        edges = torch.arange(0, rows + tile[0], tile[0], device=masked[0].device)
        cuts = torch.searchsorted(masked[0].contiguous(), edges).tolist()
    for number, top in enumerate(range(0, rows, tile[0])):
        strip = None
        if masked is not None:
            strip = (
                masked[0][cuts[number] : cuts[number + 1]] - top,
                masked[1][cuts[number] : cuts[number + 1]],
            )
        for left in range(0, columns, tile[1]):
            right = min(left + tile[1], columns)
            hidden = strip
            if strip is not None and right - left < columns:
                inside = (strip[1] >= left) & (strip[1] < right)
                hidden = (strip[0][inside], strip[1][inside] - left)
            yield slice(top, min(top + tile[0], rows)), slice(left, right), hidden


def _put_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """A matrix product that is never rounded below float32."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    elif a.is_cuda:
        torch.mm(a, b, out_dtype=torch.float32, out=out)
    else:
        torch.mm(a.float(), b.float(), out=out)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    elif a.is_cuda:
        total += torch.mm(a, b, out_dtype=torch.float32)
    else:
        total.addmm_(a.float(), b.float())


class _Gather(torch.autograd.Function):
    """All processes' rows; backward sums what each of them has to say about mine."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        return gather(mine)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> Tensor:
        total = outer.contiguous()
        dist.all_reduce(total)
        rows = len(total) // dist.get_world_size()
        return total[dist.get_rank() * rows : (dist.get_rank() + 1) * rows]


def gather(mine: Tensor) -> Tensor:
    """All processes' rows in the order of their ranks, without a gradient."""
    parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, mine.contiguous())
    return torch.cat(parts)


def gather_with_gradient(mine: Tensor) -> Tensor:
    """All processes' rows; what any of them does with mine comes back as gradient."""
    rows: Tensor = _Gather.apply(mine)  # type: ignore[no-untyped-call] # torch has no type for it
    return rows
