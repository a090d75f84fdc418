"""How `outlines.npz` was made; run once, kept so that anyone can see where the outlines come from.

    curl -O https://registry.npmjs.org/world-atlas/-/world-atlas-2.0.2.tgz
    pip install shapely==2.2.0
    python -m pinpoint_harness.reports.build_outlines world-atlas-2.0.2.tgz outlines.npz

The archive carries Natural Earth 4.1.0 at 1:50m (public domain) as TopoJSON: arcs that countries share.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .outlines import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .outlines import Lines

MEMBER = "package/countries-50m.json"
TOLERANCE_DEG = 0.02


def simplified(topology: Mapping[str, Any], tolerance_deg: float) -> Lines:
    """The arcs of a topology in degrees, each simplified by itself, so that neighbours still meet."""
    # By name, since it is no dependency: it is needed once.
    line_string = importlib.import_module("shapely").LineString
    scale, shift = (np.array(topology["transform"][name]) for name in ("scale", "translate"))
    degrees = (np.cumsum(arc, axis=0) * scale + shift for arc in topology["arcs"])
    return [np.asarray(line_string(arc).simplify(tolerance_deg).coords, np.float32) for arc in degrees]


def polygons(geometry: Mapping[str, Any]) -> Iterator[list[list[int]]]:
    """The polygons of one geometry, each its rings, each the arcs that it follows; `~n` is `n` backwards."""
    if "geometries" in geometry:
        for part in geometry["geometries"]:
            yield from polygons(part)
    elif geometry["type"] == "MultiPolygon":
        yield from geometry["arcs"]
    else:
        yield geometry["arcs"]


def closed(ring: Iterable[int], arcs: Lines) -> NDArray[np.float32]:
    """The points of a ring; where two arcs meet their point is there once."""
    parts = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in ring]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def cut(ring: NDArray[np.float32]) -> Lines:
    """A ring within -180 to 180; one across the antimeridian is cut there, one around a pole along 90°S."""
    if (np.abs(np.diff(ring[:, 0])) <= 180).all():
        return [ring]
    x, y = np.unwrap(ring[:, 0], period=360), ring[:, 1]
    if abs(x[-1] - x[0]) > 180:
        x, y = np.append(x, [x[-1], x[0]]), np.append(y, [-90, -90])
    shapely, translate = (
        importlib.import_module("shapely"),
        importlib.import_module("shapely.affinity").translate,
    )
    area = shapely.Polygon(np.stack([x, y], axis=1))
    clockwise = not shapely.is_ccw(area.exterior)
    world = shapely.box(-180, -90, 180, 90)
    parts: Lines = []
    for turn in (-360, 0, 360):
        inside = shapely.intersection(translate(area, turn), world)
        pieces = [piece for piece in shapely.get_parts(inside) if piece.area > 0]
        for piece in shapely.orient_polygons(pieces, exterior_cw=clockwise).tolist():
            parts.append(np.asarray(piece.exterior.coords, np.float32))
    return parts


def outlines(topology: Mapping[str, Any], arcs: Lines) -> tuple[Lines, Lines]:
    """Rings of land, and the arcs that two countries share."""
    users: Counter[int] = Counter()
    for country in topology["objects"]["countries"]["geometries"]:
        rings = (ring for polygon in polygons(country) for ring in polygon)
        users.update({max(number, ~number) for ring in rings for number in ring})
    land = [
        ring
        for polygon in polygons(topology["objects"]["land"])
        for numbers in polygon
        for ring in cut(closed(numbers, arcs))
    ]
    # The source closes Antarctica by a ring of its own along the pole, which holds nothing.
    land = [ring for ring in land if ring[:, 1].max() > -89.9]
    return land, [arcs[number] for number, times in sorted(users.items()) if times > 1]


def main(archive: Path, out: Path) -> None:
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        assert member is not None  # a directory is none of the archive's members of that name
        topology = json.load(member)
    land, borders = (pack(lines) for lines in outlines(topology, simplified(topology, TOLERANCE_DEG)))
    data = io.BytesIO()
    np.savez_compressed(
        data,
        land_differences=land[0],
        land_lengths=land[1],
        borders_differences=borders[0],
        borders_lengths=borders[1],
    )
    out.write_bytes(data.getvalue())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
