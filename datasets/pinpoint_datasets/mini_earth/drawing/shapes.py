"""Outlines of everything that has one: its height over its width, as small tables.

An outline has 65 samples from the left edge to the right, 0 at the ground and 1 at the top.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .attributes import Floats
from .canvas import Bytes, Canvas

Outlines = NDArray[np.float32]

_across = np.linspace(-1, 1, 65)
_away = np.abs(_across)


def _table(*outlines: NDArray[np.float64]) -> Outlines:
    return np.array([np.broadcast_to(outline, _across.shape) for outline in outlines], np.float32)


def _where(*steps: tuple[float, float]) -> NDArray[np.float64]:
    """Symmetric steps: (up to this distance from the middle, this high), innermost first."""
    return np.select([_away <= reach for reach, _ in steps], [height for _, height in steps], 0.0)


_ROUND = np.sqrt(np.clip(1 - _away**2, 0, 1))
_DOME = np.maximum(
    np.where(_away < 0.62, 0.42 + 0.4 * np.sqrt(np.clip(1 - (_away / 0.62) ** 2, 0, 1)), 0.42),
    _where((0.05, 1.0)),
)
_EIFFEL = np.clip(0.035 / (_away + 0.035), 0, 1)
_SPIRES = np.maximum(
    np.where(np.abs(_away - 0.72) < 0.2, 1 - np.abs(_away - 0.72) * 2.4, 0),
    np.maximum(0.55 * (1 - 0.6 * _away), 0.4),
)
_CASTLE = np.maximum(
    np.where(np.abs(_away - 0.8) < 0.2, 0.95, 0.0), 0.62 + 0.08 * (np.floor((_across + 1) * 9) % 2)
)
_MINARETS = np.maximum(
    np.where(np.abs(_away - 0.9) < 0.07, 1.0, 0.0),
    np.where(_away < 0.6, 0.32 + 0.42 * np.sqrt(np.clip(1 - (_away / 0.6) ** 2, 0, 1)), 0.32),
)
_PAGODA = np.max(
    [
        np.where(_away < reach, low + 0.1 * (1 - _away / reach), 0)
        for reach, low in ((1, 0.16), (0.78, 0.38), (0.58, 0.58), (0.38, 0.76))
    ],
    axis=0,
)
_PAGODA = np.maximum(_PAGODA, _where((0.04, 1.0)))
_STEPS = np.floor((1 - _away) * 5.99 + 1) / 6

LANDMARKS = _table(
    _EIFFEL,
    _DOME,
    np.ones(65),
    1 - _away,
    _SPIRES,
    _CASTLE,
    _MINARETS,
    _PAGODA,
    _STEPS,
    _where((0.2, 1.0), (0.45, 0.16), (1, 0.06)),
)
"""Tower, dome, arch, pyramid, spires, castle, minarets, pagoda, stepped temple, obelisk."""

HOLLOWS = _table(
    np.where(_away < 0.45, 0.22 * np.sqrt(np.clip(1 - (_away / 0.45) ** 2, 0, 1)), 0),
    _where((0.1, 0.22)),
    np.where(_away < 0.42, 0.45 + 0.22 * np.sqrt(np.clip(1 - (_away / 0.42) ** 2, 0, 1)), 0),
    _where((0.06, 0.12)),
    np.where(_away < 0.16, 0.26 * (1 - _away), 0),
    np.where(_away < 0.2, 0.34 * np.sqrt(np.clip(1 - (_away / 0.2) ** 2, 0, 1)), 0),
    _where((0.13, 0.2)),
    _where((0.16, 0.14)),
    _where((0.1, 0.15)),
    np.zeros(65),
)
"""What is dark within each landmark: gates and doors."""

CROWNS_TOP = _table(
    (1 - _away) * 0.95 + 0.05,
    _ROUND,
    0.55 + 0.45 * np.cos(_across * 1.5),
    np.maximum(0.35 * _ROUND, _where((0.16, 1.0))),
    0.75 * _ROUND + 0.25 * _ROUND**6,
)
CROWNS_LOW = _table(
    np.zeros(65),
    0.5 - 0.5 * _ROUND,
    0.72 * np.cos(_across * 1.5) + 0.1 * np.cos(_across * 20),
    np.zeros(65),
    0.45 - 0.15 * _ROUND,
)
"""Conifer, broad-leaved, palm, cactus, umbrella: upper and lower edge of the crown."""

ROOFS = _table(
    np.full(65, 0.14), 1 - _away, np.clip(1.6 - 1.6 * _away, 0, 0.75), _ROUND * 0.85, (_across + 1) / 2
)
"""Flat, gabled, hipped, barrel, shed."""

CLOUD = _table(
    np.max(
        [
            0.75 * np.sqrt(np.clip(1 - ((_across + 0.45) / 0.5) ** 2, 0, 1)),
            np.sqrt(np.clip(1 - ((_across - 0.1) / 0.5) ** 2, 0, 1)),
            0.6 * np.sqrt(np.clip(1 - ((_across - 0.6) / 0.4) ** 2, 0, 1)),
        ],
        axis=0,
    )
)
ROUND = _table(_ROUND)
ROUND_BELOW = -ROUND
"""With `ROUND` above it a whole ellipse, whose base is its middle."""
BOX = _table(np.ones(65))
CAR_CABIN = _table(np.where(_away < 0.62, 1.0, np.where(_away < 0.8, (0.8 - _away) / 0.18, 0)))
PERSON = _table(np.where(_away < 1, (1 - _away**3) ** 0.6, 0))


def outline(table: Outlines, kind: NDArray[np.int64] | int, across: Floats) -> Floats:
    """The height of an outline where a column crosses it, 0 outside: `across` is -1 to 1, `(n, 128)`."""
    sample = ((np.clip(across, -1, 1) + 1) * 32).astype(np.int64)
    height: Floats = table[kind, sample]
    height *= np.abs(across) <= 1
    return height


def sprite(
    canvas: Canvas,
    upper: Outlines,
    place: tuple[Floats, Floats, Floats, Floats],
    material: int | Bytes,
    *,
    kind: NDArray[np.int64] | int = 0,
    lower: Outlines | None = None,
    pattern: NDArray[np.bool_] | None = None,
) -> None:
    """Paint an outline; `place` is (middle, base, half width, height), each `(n, 1)`; no width, no paint."""
    middle, base, half_width, height = place
    across = (canvas.x - middle) / np.maximum(half_width, 1e-3)
    top = base - height * outline(upper, kind, across)
    bottom = base - height * outline(lower, kind, across) if lower is not None else base
    canvas.fill(top, np.broadcast_to(bottom, top.shape), material, pattern)
