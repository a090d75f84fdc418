"""A batch of pictures painted shape over shape, at twice the final size.

A shape is a top and a bottom for each of the picture's columns; everything between takes the shape's
material. A picture holds material numbers until the end, when its palette turns them to colours:
painting a shape over `n` pictures costs five passes over bytes and no Python loop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .attributes import Floats

SIDE = 64
FINE = 2 * SIDE
"""Pictures are painted at this side and averaged 2 x 2, which smooths the edges."""

Bytes = NDArray[np.uint8]
_ROWS = np.arange(FINE, dtype=np.uint8)[None, :, None]


class Canvas:
    """`n` pictures of material numbers; coordinates are those of the uncropped scene, 128 by 128."""

    def __init__(self, zoom: Floats, left: Floats, upper: Floats) -> None:
        """`zoom`, and the scene coordinates of the crop's upper left corner, each `(n, 1)`."""
        count = len(zoom)
        self._zoom, self._upper = zoom, upper
        self.x = left + (np.arange(FINE, dtype=np.float32) + 0.5) / zoom  # (n, 128) of each column
        self.y = upper + (np.arange(FINE, dtype=np.float32) + 0.5) / zoom  # (n, 128) of each row
        self.material: Bytes = np.zeros((count, FINE, FINE), np.uint8)
        self._mask = np.empty((count, FINE, FINE), bool)
        self._bytes = np.empty((count, FINE, FINE), np.uint8)

    def _rows(self, y: Floats) -> Bytes:
        screen = (y - self._upper) * self._zoom
        np.maximum(screen, 0, out=screen)
        np.minimum(screen, FINE, out=screen)
        return screen.astype(np.uint8)[:, None, :]  # (n, 1, 128)

    def fill(
        self,
        top: Floats,
        bottom: Floats,
        material: int | Bytes,
        pattern: NDArray[np.bool_] | None = None,
    ) -> None:
        """Paint between `top` and `bottom`, scene rows per column `(n, 128)` or `(n, 1)`.

        Nothing is painted where the bottom is not below the top. `material` is one number, or one
        per column `(n, 128)`; `pattern` `(n, 128, 128)` keeps paint from where it is false.
        """
        first, last = self._rows(top), self._rows(bottom)
        extent = last - np.minimum(first, last)
        painted = np.broadcast_to(extent > 0, np.broadcast_shapes(first.shape, last.shape))
        if not painted.any():
            return
        rows = slice(int(np.broadcast_to(first, painted.shape)[painted].min()), int(last.max()))
        height = np.subtract(_ROWS[:, rows], first, out=self._bytes[:, rows])
        inside = np.less(height, extent, out=self._mask[:, rows])
        if pattern is not None:
            inside &= pattern[:, rows] if pattern.shape[1] > 1 else pattern
        inside_bits = np.negative(inside.view(np.uint8), out=height)  # 255 inside
        paint = np.uint8(material) if isinstance(material, int) else material[:, None, :]
        # material ^= (material ^ paint) & mask: several times faster than a masked copy.
        picture = self.material[:, rows]
        difference = picture ^ paint
        difference &= inside_bits
        picture ^= difference

    def colours(self, palette: Bytes) -> Floats:
        """Pictures in RGB, 0 to 255, `(n, 64, 64, 3)`, from each one's palette `(n, materials, 3)`."""
        count, materials = palette.shape[:2]
        packed = np.zeros((count, materials, 4), np.uint8)
        packed[..., :3] = palette
        index = self.material.astype(np.intp)
        index += (np.arange(count) * materials)[:, None, None]
        fine = packed.view(np.uint32).reshape(-1).take(index).view(np.uint8)
        fine = fine.reshape(count, FINE, FINE, 4)
        rows = fine[:, 0::2].astype(np.uint16)
        rows += fine[:, 1::2]
        pairs = rows[:, :, 0::2] + rows[:, :, 1::2]
        return pairs[..., :3].astype(np.float32) * np.float32(0.25)
