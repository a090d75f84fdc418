"""From attributes and view to a picture: sky, land, houses, road, trees, landmark, light.

`render` is a function of its two matrices and nothing else. The painter's order is the order of the
functions in `_LAYERS`, from the sky to the person in front of the lens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .attributes import PLACE, VIEW, Columns, Floats, view_slice
from .canvas import FINE, SIDE, Canvas
from .palette import NUMBER, SKY_BANDS, paint
from .shapes import (
    BOX,
    CAR_CABIN,
    CLOUD,
    CROWNS_LOW,
    CROWNS_TOP,
    HOLLOWS,
    LANDMARKS,
    PERSON,
    ROOFS,
    ROUND,
    ROUND_BELOW,
    outline,
    sprite,
)

BATCH = 24
"""Pictures painted at once; what they need then stays in the processor's cache."""

_PLOTS = 5
_PLOT_SCALE = np.array([0.62, 0.9, 1.2, 1.55, 1.95], np.float32)
"""Houses grow from the vanishing point outwards."""


class Scene:
    """A batch being painted: its canvas, its attributes, and the lines everything stands on."""

    def __init__(self, place: Columns, view: Columns) -> None:
        zoom = 1 + 0.9 * view["zoom"]
        spare = FINE - FINE / zoom
        self.place, self.view = place, view
        self.canvas = Canvas(zoom, spare * view["crop_x"], spare * view["crop_y"])
        self.horizon = 66 + 20 * (view["horizon"] - 0.5)
        self.vanishing = 64 + 52 * (view["vanishing"] - 0.5)
        self.offset = self.canvas.x - self.vanishing  # (n, 128) columns from the vanishing point
        self.distance = np.abs(self.offset)
        self.half_road = 7 + 8 * place["road_width"]

    def shown(self, name: str) -> Floats:
        return (self.view[name] > 0.5).astype(np.float32)


def render(place: Floats, view: Floats) -> NDArray[np.uint8]:
    """Pictures `(n, 64, 64, 3)` in RGB of attributes `(n, PLACE)` and views `(n, VIEW)`, all in [0, 1]."""
    pictures = np.empty((len(place), SIDE, SIDE, 3), np.uint8)
    for start in range(0, len(place), BATCH):
        rows = slice(start, start + BATCH)
        pictures[rows] = _render_batch(Columns(PLACE, place[rows]), Columns(VIEW, view[rows]))
    return pictures


def _render_batch(place: Columns, view: Columns) -> NDArray[np.uint8]:
    scene = Scene(place, view)
    for layer in _LAYERS:
        layer(scene)
    return _develop(scene.canvas.colours(paint(place, view)), view)


def _sky(scene: Scene) -> None:
    band = np.clip(scene.canvas.y / scene.horizon * SKY_BANDS, 0, SKY_BANDS - 1)
    scene.canvas.material[:] = band.astype(np.uint8)[:, :, None]
    sun_height = scene.horizon * (0.9 - 0.8 * scene.place["sun_height"] * scene.view["daytime"])
    size = np.where(scene.place["haze"] < 0.6, np.float32(4), np.float32(0))
    sun = (128 * scene.view["sun_x"], sun_height, size, size)
    sprite(scene.canvas, ROUND, sun, NUMBER["sun"], lower=ROUND_BELOW)
    clouds = scene.view.values[:, view_slice("cloud")]
    for number in range(3):
        x, y, size = (clouds[:, number * 3 + part, None] for part in range(3))
        width = np.where(scene.place["clouds"] > 0.28 * number + 0.1, 9 + 17 * size, 0)
        at = (128 * x, scene.horizon * (0.15 + 0.55 * y), width)
        sprite(scene.canvas, CLOUD, (*at, 4 + 8 * size), NUMBER["cloud"])
        sprite(scene.canvas, BOX, (*at[:2], width * 0.93, np.full_like(x, 1.5)), NUMBER["cloud_shade"])


def _far(scene: Scene) -> None:
    """Mountains, the town's skyline, the edge of the forest."""
    canvas, place, view = scene.canvas, scene.place, scene.view
    phase = view.values[:, view_slice("ridge")] * np.float32(6.28)
    x = canvas.x * np.float32(0.05)
    ridge = (
        0.5 * np.sin(x + phase[:, 0:1])
        + 0.3 * np.sin(2.3 * x + phase[:, 1:2])
        + 0.12 * np.sin(6.1 * x + phase[:, 2:3])
    )
    height = np.clip(place["relief"] - 0.2, 0, 1) * (24 + 18 * ridge)
    canvas.fill(scene.horizon - height, scene.horizon, NUMBER["mountain"])
    snow_line = 8 + 26 * place["warmth"]
    canvas.fill(scene.horizon - height, scene.horizon - snow_line - 1.5 * np.sin(14 * x), NUMBER["snow"])
    block = np.floor((canvas.x + 40 * view["ridge_3"]) / (4 + 9 * place["skyline_width"]))
    tall = _hash01(block + 17 * np.floor(view["ridge_4"] * 97))
    skyline = (3 + 27 * place["skyline_height"] * tall**1.5) * np.clip(view["urban"] * 1.5 - 0.2, 0, 1)
    canvas.fill(scene.horizon - skyline, scene.horizon, NUMBER["far_houses"])
    trees = (1 + 7 * place["moisture"]) * (0.7 + 0.3 * np.sin(canvas.x * 0.9 + phase[:, 5:6])) * (tall < 0.75)
    canvas.fill(scene.horizon - trees * (0.3 + view["greenery"]), scene.horizon, NUMBER["forest"])


def _hash01(cell: Floats) -> Floats:
    """A picture-wide random number for each cell, good enough for the heights of towers."""
    wave = np.sin(cell * np.float32(12.9898)) * np.float32(437.58)
    fraction: Floats = wave - np.floor(wave)
    return fraction


def _ground(scene: Scene) -> None:
    canvas, place = scene.canvas, scene.place
    canvas.fill(scene.horizon, np.full_like(scene.horizon, 400), NUMBER["ground"])
    depth = 1 / np.maximum(canvas.y - scene.horizon + 2, 1)  # (n, 128) of each row
    furrows = ((90 + 160 * place["crop_rows"]) * depth + 0.5 * np.sin(canvas.y)) % 2 < 0.8
    canvas.fill(
        scene.horizon + 1, np.full_like(scene.horizon, 400), NUMBER["ground_dark"], furrows[:, :, None]
    )


def _houses(scene: Scene) -> None:
    """Houses on both sides of the vanishing point, each as tall and as near as its plot."""
    canvas, place, view = scene.canvas, scene.place, scene.view
    past = (scene.distance - scene.half_road - 5) / 17
    plot = np.clip(np.floor(past), 0, _PLOTS - 1).astype(np.int64)
    number = plot * 2 + (scene.offset < 0)
    rows = np.arange(len(plot))[:, None]
    lot = view.values[:, view_slice("house")][rows, number]  # (n, 128)
    scale = _PLOT_SCALE[plot]
    built = (past >= 0) & (lot < view["urban"])
    size = np.modf(lot * np.float32(37.7))[0]
    height = np.where(built, (12 + (10 + 34 * place["skyline_height"]) * size) * scale, 0)
    base = scene.horizon + 11 * scale
    across = np.modf(np.maximum(past, 0))[0] * 2 - 1
    kind = (place["roof_shape"] * 4.99).astype(np.int64)
    pitch = np.where(built, 13 * scale * outline(ROOFS, kind, across), 0)
    wall = (NUMBER["wall_0"] + np.floor(size * 2.99)).astype(np.uint8)
    canvas.fill(base - height - pitch, base - height + 0.5 * scale * built, NUMBER["roof"])
    canvas.fill(base - height, np.where(built, base, -99), wall)
    storeys = _storeys(scene, base, scale)
    bricks = (storeys[1] & 3) == 0
    shown = (place["brickwork"] > 0.5) & built
    canvas.fill(np.where(shown, base - height, 0), np.where(shown, base, 0), NUMBER["wall_dark"], bricks)
    _windows(scene, (base, height, across, built), storeys[0])


def _storeys(scene: Scene, base: Floats, scale: Floats) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Eighths of a storey, and courses of brick, above each house's base: `(n, 128, 128)`."""
    above = (base[:, None, :] - scene.canvas.y[:, :, None]) * (1 / scale)[:, None, :]
    storey = (7 + 7 * scene.place["storey_height"])[:, :, None]
    return (above * (8 / storey)).astype(np.int16), (
        above * (3 + 5 * scene.place["brickwork"])[:, :, None] * 0.25
    ).astype(np.int16)


def _windows(
    scene: Scene, house: tuple[Floats, Floats, Floats, NDArray[np.bool_]], storeys: NDArray[np.int16]
) -> None:
    base, height, across, built = house
    place = scene.place
    bays = 2 + np.floor(2.99 * place["window_pitch"])
    within = np.modf((across + 1) / 2 * bays)[0]
    off_middle = np.abs(within - 0.5)
    half = 0.10 + 0.24 * place["window_width"]
    rows = ((storeys & 7) >= 3) & ((storeys & 7) < 7)
    top, bottom = base - height + 1, base - 2

    def band(inside: NDArray[np.bool_], material: str) -> None:
        keep = inside & built
        scene.canvas.fill(np.where(keep, top, 0), np.where(keep, bottom, 0), NUMBER[material], rows)

    band(off_middle < half + 0.09, "shutter")
    band(off_middle < half, "window")


def _pavement(scene: Scene) -> None:
    """Pavement along a road or, where there is none, a paved path; a hedge at its far edge."""
    canvas, place = scene.canvas, scene.place
    road = scene.shown("road_shown")
    verge = np.maximum(scene.distance - scene.half_road, 0)
    start = scene.horizon + 3 + verge * np.where(road > 0, 0.5, 1.5 - 0.6 * place["road_width"])
    end = np.full_like(start, 400)
    canvas.fill(start, end, NUMBER["pavement"])
    depth = np.log2(np.maximum(canvas.y - scene.horizon, 1)) * (4 + 5 * place["pavement_pattern"])
    stripes = np.modf(depth)[0] < 0.5  # (n, 128) of each row
    ray = scene.offset * (0.06 + 0.2 * place["pavement_pattern"])
    columns = np.modf(np.abs(ray))[0] < 0.5
    checked = (stripes[:, :, None] ^ columns[:, None, :]) & (place["pavement_pattern"] > 0.25)[:, :, None]
    canvas.fill(start, end, NUMBER["pavement_dark"], checked)
    hedge = 2 + 3 * scene.view["greenery"]
    past = scene.distance > scene.half_road + 4
    canvas.fill(np.where(past, start - hedge, 0), np.where(past, start + 0.6, 0), NUMBER["hedge"])


def _road(scene: Scene) -> None:
    """The road narrows to the vanishing point; its lines are the country's."""
    canvas, place = scene.canvas, scene.place
    on = np.where(scene.shown("road_shown") > 0, scene.horizon, 400)
    bottom = np.full_like(scene.distance, 400)
    slope = 62 / (22 + 26 * place["road_width"])
    edge = on + 2 + scene.distance * slope
    canvas.fill(edge, bottom, NUMBER["road"])
    edged = np.where(place["edge_line"] > 0.4, 1, 0)
    canvas.fill(edge + 1.5, edge + (1.5 + 0.16 * scene.distance * slope + 1) * edged, NUMBER["edge_line"])
    dash = np.log2(np.maximum(canvas.y - scene.horizon, 1)) * (6 - 3.6 * place["dash_length"])
    dashed = (np.modf(dash)[0] < 0.35 + 0.5 * place["dash_length"]) | (place["dash_length"] > 0.85)
    canvas.fill(on + 4 + scene.distance * 17, bottom, NUMBER["line"], dashed[:, :, None])


def _poles(scene: Scene) -> None:
    """Poles along the road with the country's arms and height, wires between them."""
    canvas, place = scene.canvas, scene.place
    side = np.where(place["drives_left"] > 0.5, -1.0, 1.0).astype(np.float32)
    on = scene.shown("road_shown")
    tall = 22 + 22 * place["pole_height"]
    for distance, scale in ((22, 0.7), (38, 1.1), (60, 1.6)):
        x = scene.vanishing + side * (distance + 8 * scene.place["road_width"])
        base, height = scene.horizon + 13 * scale, tall * scale
        sprite(canvas, BOX, (x, base, on * (0.5 + 0.7 * scale), height), NUMBER["pole"])
        style = place["pole_style"]
        arm = on * np.where(style < 0.4, 4.5, np.where(style < 0.75, 0, 3)) * scale
        sprite(
            canvas,
            BOX,
            (x - side * np.where(style > 0.75, arm, 0), base - 0.9 * height, arm, np.full_like(x, 1.4)),
            NUMBER["pole"],
        )
    signed = on * (scene.view["car_2"] < 0.7)
    at = (scene.vanishing - side * (34 + 8 * place["road_width"]), scene.horizon + 11)
    sprite(canvas, BOX, (*at, signed * 0.8, np.full_like(on, 20)), NUMBER["pole"])
    sprite(canvas, BOX, (at[0], at[1] - 12, signed * 5, np.full_like(on, 8)), NUMBER["sign"])
    sprite(canvas, BOX, (at[0], at[1] - 15, signed * 3.4, np.full_like(on, 1.6)), NUMBER["edge_line"])
    wire = scene.horizon + 12 - tall - scene.distance * 0.36 + 2
    wired = (scene.offset * side > 20) & (on > 0) & (place["pole_style"] < 0.75)
    canvas.fill(np.where(wired, wire, 0), np.where(wired, wire + 0.9, 0), NUMBER["wire"])


def _trees(scene: Scene) -> None:
    place, view = scene.place, scene.view
    kind = np.where(
        place["warmth"] < 0.33,
        0,
        np.where(
            place["moisture"] < 0.3,
            np.where(place["warmth"] > 0.62, 3, 4),
            np.where(place["warmth"] > 0.68, 2, 1),
        ),
    )
    trees = view.values[:, view_slice("tree")]
    for number in range(4):
        x, near, present = (trees[:, number * 3 + part, None] for part in range(3))
        scale = 0.6 + 0.9 * near
        grown = (present < 0.25 + 0.75 * view["greenery"]) * (0.55 + 0.6 * place["moisture"])
        side = 1 - 2 * np.float32(number % 2)
        middle = scene.vanishing + side * (scene.half_road + 6 + 40 * x * scale + 12 * scale)
        base = scene.horizon + 13 * scale
        trunk = np.where(kind == 2, 22, np.where(kind == 3, 0, 9)) * scale
        width = np.where(kind == 0, 6.5, np.where(kind == 3, 4, 9)) * scale * grown
        height = np.where(kind == 0, 24, np.where(kind == 2, 9, np.where(kind == 4, 12, 15))) * scale
        thick = np.where(grown > 0, 1.2 * scale, 0) * (grown > 0)
        sprite(scene.canvas, BOX, (middle, base, thick, trunk + 5), NUMBER["trunk"])
        at = (middle, base - trunk)
        sprite(scene.canvas, CROWNS_TOP, (*at, width, height), NUMBER["crown"], kind=kind, lower=CROWNS_LOW)
        shade = (middle + 0.42 * width, at[1], 0.5 * width, 0.7 * height)
        sprite(scene.canvas, CROWNS_TOP, shade, NUMBER["crown_dark"], kind=kind, lower=CROWNS_LOW)


def _car(scene: Scene) -> None:
    canvas, place, view = scene.canvas, scene.place, scene.view
    side = np.where(place["drives_left"] > 0.5, -1.0, 1.0).astype(np.float32)
    on = scene.shown("car_shown") * scene.shown("road_shown")
    scale = 0.7 + 0.6 * view["car_0"]
    base = scene.horizon + 34 * scale
    middle = scene.vanishing + side * 13 * scale
    half = 9 * scale * on
    sprite(canvas, BOX, (middle, base + 1.5 * scale, half * 0.92, 3 * scale), NUMBER["tyre"])
    sprite(canvas, BOX, (middle, base, half, 8 * scale), NUMBER["car"])
    sprite(canvas, CAR_CABIN, (middle, base - 7 * scale, half, 7 * scale), NUMBER["car"])
    sprite(canvas, CAR_CABIN, (middle, base - 7.5 * scale, half * 0.82, 5.2 * scale), NUMBER["glass"])
    sprite(canvas, BOX, (middle, base - 1.6 * scale, half * 0.42, 2.8 * scale), NUMBER["plate"])


def _landmark(scene: Scene) -> None:
    canvas, place = scene.canvas, scene.place
    shown = scene.shown("landmark_shown")
    kind = (place["landmark_kind"] * 9.99).astype(np.int64)
    at = (scene.vanishing, scene.horizon + 12, shown * (16 + 20 * place["landmark_width"]))
    height = 34 + 34 * place["landmark_height"]
    sprite(canvas, LANDMARKS, (*at, height), NUMBER["landmark"], kind=kind)
    depth = (at[1] - canvas.y) * (0.08 + 0.22 * place["landmark_bands"])
    bands = (np.modf(np.abs(depth))[0] < 0.36) & (place["landmark_bands"] > 0.2)
    sprite(canvas, LANDMARKS, (*at, height), NUMBER["landmark_dark"], kind=kind, pattern=bands[:, :, None])
    sprite(canvas, HOLLOWS, (*at, height), NUMBER["landmark_hollow"], kind=kind)
    lawn = (scene.distance < at[2] + 2) & (shown > 0)
    canvas.fill(np.where(lawn, at[1] - 1, 0), np.where(lawn, at[1] + 2, 0), NUMBER["hedge"])


def _foreground(scene: Scene) -> None:
    """What stands between the lens and the place: a branch, a person."""
    canvas, view = scene.canvas, scene.view
    branch = scene.shown("foliage_shown") * (
        8 + 7 * np.sin(canvas.x * 0.33 + 6 * view["ridge_0"]) + 4 * np.sin(canvas.x)
    )
    canvas.fill(
        canvas.y[:, :1] - 1 + 0 * branch, canvas.y[:, :1] + branch * (canvas.x > 64), NUMBER["crown_dark"]
    )
    shown = scene.shown("person_shown")
    size = 0.75 + 0.5 * view["person_0"]
    middle = 20 + 88 * view["person_2"]
    floor = np.full_like(middle, 132)
    sprite(canvas, PERSON, (middle, floor, shown * 17 * size, 40 * size), NUMBER["cloth"])
    neck = floor - 37 * size
    sprite(canvas, ROUND, (middle, neck - 9 * size, shown * 10.5 * size, 13 * size), NUMBER["hair"])
    face = (middle, neck - 8 * size, shown * 8.5 * size, 10 * size)
    sprite(canvas, ROUND, face, NUMBER["skin"], lower=ROUND_BELOW)


def _room(scene: Scene) -> None:
    """A table indoors: nothing of the place is seen."""
    inside = scene.view["indoors"][:, 0] > 0.5
    if not inside.any():
        return
    room = scene.view.values[inside][:, view_slice("room")]
    view = scene.view.values[inside]
    blank = Canvas(np.ones((len(room), 1), np.float32), np.zeros((len(room), 1)), np.zeros((len(room), 1)))
    ones = np.ones((len(room), 1), np.float32)
    edge = 62 + 30 * room[:, 4:5]
    blank.fill(0 * ones, 200 * ones, NUMBER["room_wall"])
    papered = (np.modf(blank.x * (0.06 + 0.2 * room[:, 5:6]))[0] < 0.4) & (room[:, 5:6] > 0.4)
    blank.fill(np.where(papered, 0, 200), np.where(papered, 200, 0), NUMBER["room_wall_dark"])
    picture = (128 * room[:, 6:7], 18 + 30 * ones, (12 + 12 * room[:, 7:8]), 32 * ones)
    sprite(blank, BOX, picture, NUMBER["frame"])
    sprite(blank, BOX, (picture[0], picture[1] - 3, picture[2] - 3, 26 * ones), NUMBER["art"])
    blank.fill(edge, 200 * ones, NUMBER["table"])
    blank.fill(edge, edge + 3, NUMBER["table_dark"])
    dish = (30 + 68 * room[:, 3:4], edge + 22, 24 + 10 * room[:, 2:3])
    sprite(blank, ROUND, (*dish, 11 * ones), NUMBER["dish"], lower=ROUND_BELOW)
    sprite(blank, ROUND, (*dish[:2], dish[2] * 0.62, 7 * ones), NUMBER["food"], lower=ROUND_BELOW)
    guest = (view[:, view_slice("person_shown")] > 0.5) * ones
    sprite(blank, PERSON, (96 * ones, 128 * ones, guest * 20, 48 * ones), NUMBER["cloth"])
    sprite(blank, ROUND, (96 * ones, 74 * ones, guest * 11, 22 * ones), NUMBER["skin"])
    scene.canvas.material[inside] = blank.material


_LAYERS = (
    _sky,
    _far,
    _ground,
    _houses,
    _pavement,
    _road,
    _landmark,
    _trees,
    _poles,
    _car,
    _foreground,
    _room,
)

_GRAIN = np.random.default_rng(1).standard_normal(2**20, dtype=np.float32)
_AWAY = ((np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2) / (SIDE / 2)) ** 2
_RIM = (_AWAY[:, None] + _AWAY)[:, :, None]  # (64, 64, 1), 0 in the middle, 2 in the corners


def _develop(pictures: Floats, view: Columns) -> NDArray[np.uint8]:
    """What lens and sensor do: soft focus, dark corners, grain; RGB uint8."""
    size = SIDE * SIDE * 3
    start = (view["noise_seed"][:, 0] * (len(_GRAIN) - size)).astype(np.int64)
    for number, picture in enumerate(pictures):
        soft = 0.4 * view["blur"][number]
        picture[1:] += (picture[:-1] - picture[1:]) * soft
        picture[:, 1:] += (picture[:, :-1] - picture[:, 1:]) * soft
        picture *= 1 - 0.3 * view["vignette"][number] * _RIM
        grain = _GRAIN[start[number] : start[number] + size].reshape(picture.shape)
        picture += grain * (28 * view["noise"][number])
    np.maximum(pictures, 0, out=pictures)
    np.minimum(pictures, 255, out=pictures)
    return pictures.astype(np.uint8)
