"""The colours of a scene: which materials there are, and what a place and its light make of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .attributes import Columns, Floats, view_slice

SKY_BANDS = 16

MATERIALS = (
    *(f"sky_{band}" for band in range(SKY_BANDS)),
    *("sun", "cloud", "cloud_shade", "mountain", "snow", "far_houses", "forest"),
    *(
        "ground",
        "ground_dark",
        "wall_0",
        "wall_1",
        "wall_2",
        "wall_dark",
        "roof",
        "roof_dark",
        "window",
        "shutter",
    ),
    *("pavement", "pavement_dark", "hedge", "road", "line", "edge_line", "pole", "wire", "trunk"),
    *("crown", "crown_dark", "car", "glass", "tyre", "plate", "sign"),
    *("landmark", "landmark_dark", "landmark_hollow", "skin", "hair", "cloth"),
    *("room_wall", "room_wall_dark", "table", "table_dark", "dish", "food", "frame", "art"),
)
NUMBER = {name: number for number, name in enumerate(MATERIALS)}


def _rgb(red: float, green: float, blue: float) -> Floats:
    return np.array([red, green, blue], np.float32)


def _ramp(colours: str) -> NDArray[np.float32]:
    return np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in colours.split()], np.float32)


SKY_TOP = _ramp("2b62a8 3f86d0 56a8e0 7fb8d8 9aaed0")
SKY_LOW = _ramp("a9cbe6 cfe3ee f0ead8 f4dcc0 dcd2e4")
DUSK_TOP = _ramp("3a3f78")[0]
DUSK_LOW = _ramp("f49a5a")[0]
SOIL = _ramp("4b3a2e 7a5236 a8502f c97b3c dcb36a e9dcb4 b3a79a 7f8a86")
GRASS_DRY = _ramp("c9b45c")[0]
GRASS_WET = _ramp("4f9440")[0]
ROOF = _ramp("3f4652 6d7c8c 8c2f2a c4552f dd8a4a d8c088 5f8f7a 37557f")
FACADE = _ramp("f1ece0 ead9a6 e8b77a d98266 c06a70 b090b0 8fa6c4 8fbcae c0c89a a88f78")
SHUTTER = _ramp("2f5d3a 2f6f8f 7a2f3a d0902f e8e4da 5a3f7a")
PAVEMENT = _ramp("8a8a8e b7a894 c98f70 a0684f d9cfa8 7f95a0")
HEDGE = _ramp("2f6b35 7fae3f d77fa8 e8e0e8 d8503f 7a5fb0")
LINE = _ramp("f6f4ee f6f4ee f2c230 f2a020")
PLATE = _ramp("ffffff f5d020 e05030 2f60c0 202020")
SIGN = _ramp("1f5fb0 1f8f4f c8302a f0b820 202428 f4f4f4 8a4a20")
LANDMARK = _ramp("e9e2d0 d2b27c b5683f 8f8f96 7fb0a0 d9b23a 9c4a5a 5f7fb0")
CAR = _ramp("d0d4d8 2a2e36 b02a2a 2a52a0 e0c040 3f7f5a f4f4f0")
ROOM = _ramp("e8dcc8 c8d4c0 d8b8a8 a8b8d0 8f7f9a f2f0e8 c9a15f 5f6a70")
TABLE = _ramp("8a5a34 5a3a26 c89a64 e4e2de 3a3e46 b06a4a")
FOOD = _ramp("c8502f e0b040 6fa03f 8a4a2a e8d8b0 b03a5a")
SKIN = _ramp("f2cdb0 d9a57f a8714a 6b4630")
CLOTH = _ramp("2f3f6f b03a3a 3f7f5a e0c060 20242a e8e6e2 8a5aa0")
CROWN_COLD = _ramp("2f5a45")[0]
CROWN_WARM = _ramp("5fa03a")[0]
CROWN_DRY = _ramp("9aa052")[0]
AUTUMN = _ramp("d8862f")[0]


def ramp(colours: NDArray[np.float32], position: Floats) -> Floats:
    """The colour at a position in [0, 1] along a row of colours: `(n, 1)` to `(n, 3)`."""
    place = np.clip(position[:, 0], 0, 1) * (len(colours) - 1)
    first = np.minimum(place.astype(np.int64), max(len(colours) - 2, 0))
    part = (place - first)[:, None]
    mixed: Floats = colours[first] * (1 - part) + colours[np.minimum(first + 1, len(colours) - 1)] * part
    return mixed


def mix(first: Floats, second: Floats, part: Floats | float) -> Floats:
    mixed: Floats = first + (second - first) * part
    return mixed


def paint(place: Columns, view: Columns) -> NDArray[np.uint8]:
    """Each picture's palette, `(n, materials, 3)`."""
    colours = np.zeros((len(place.values), len(MATERIALS), 3), np.float32)
    for group in (_sky, _land, _town, _street, _plants, _things, _room):
        for name, value in group(place, view).items():
            colours[:, NUMBER[name]] = value
    return np.clip(_grade(colours, view), 0, 255).astype(np.uint8)


def _grade(colours: Floats, view: Columns) -> Floats:
    """Exposure, colour of the light, saturation and contrast, which act on each colour alone."""

    def of(name: str) -> Floats:
        return view[name][:, :, None]

    grey = colours.mean(axis=2, keepdims=True)
    colours = grey + (colours - grey) * (0.1 + 1.6 * of("saturation"))
    colours = (colours - 118) * (0.6 + 0.8 * of("contrast")) + 118
    tint = 1 + (of("warm_light") - 0.5) * _rgb(0.5, 0.04, -0.5)
    graded: Floats = colours * (0.45 + 1.1 * of("exposure")) * tint
    return graded


def _sky(place: Columns, view: Columns) -> dict[str, Floats]:
    noon = np.clip(view["daytime"] * 1.6, 0, 1) * (0.55 + 0.45 * place["sun_height"])
    grey = 0.55 * place["haze"]
    top = mix(DUSK_TOP, ramp(SKY_TOP, place["sky_hue"]), noon)
    low = mix(DUSK_LOW, ramp(SKY_LOW, place["sky_hue"]), noon)
    top, low = (mix(colour, _rgb(205, 210, 216), grey) for colour in (top, low))
    bands = {f"sky_{band}": mix(top, low, (band / (SKY_BANDS - 1)) ** 1.4) for band in range(SKY_BANDS)}
    cloud = mix(low, _rgb(255, 255, 255), 0.7)
    far = mix(_soil(place) * 0.6 + _rgb(30, 45, 70), low, 0.35 + 0.3 * place["haze"])
    return {
        **bands,
        "sun": mix(_rgb(255, 190, 90), _rgb(255, 250, 225), noon),
        "cloud": cloud,
        "cloud_shade": cloud * 0.9,
        "mountain": far,
        "snow": mix(low, _rgb(252, 252, 255), 0.75),
        "far_houses": mix(ramp(FACADE, place["facade_hue"]) * 0.7, low, 0.45),
    }


def _soil(place: Columns) -> Floats:
    return ramp(SOIL, place["soil_hue"]) * (0.75 + 0.45 * place["soil_value"])


def _land(place: Columns, view: Columns) -> dict[str, Floats]:
    grass = mix(GRASS_DRY, GRASS_WET, place["moisture"])
    ground = mix(_soil(place), grass, np.clip(place["moisture"] * 1.1 - 0.25, 0, 0.62))
    winter = np.clip((0.3 - place["warmth"]) * 3, 0, 1) * (view["season"] < 0.35)
    ground = mix(ground, _rgb(236, 240, 246), 0.8 * winter)
    return {"ground": ground, "ground_dark": mix(ground, _soil(place), 0.6) * 0.84}


def _town(place: Columns, view: Columns) -> dict[str, Floats]:
    spread = 0.35 * place["facade_spread"]
    value = 0.62 + 0.42 * place["facade_value"]
    walls = [ramp(FACADE, place["facade_hue"] + step * spread) * value for step in (0, 1, -1)]
    roof = ramp(ROOF, place["roof_hue"]) * (0.7 + 0.5 * place["roof_value"])
    lit = np.where(view["daytime"] < 0.25, _rgb(250, 214, 120), _rgb(62, 78, 96))
    return {
        **{f"wall_{number}": wall for number, wall in enumerate(walls)},
        "wall_dark": walls[0] * 0.8,
        "roof": roof,
        "roof_dark": roof * 0.78,
        "window": lit.astype(np.float32),
        "shutter": ramp(SHUTTER, place["shutter_hue"]),
    }


def _street(place: Columns, view: Columns) -> dict[str, Floats]:
    pavement = ramp(PAVEMENT, place["pavement_hue"]) * (0.7 + 0.45 * place["pavement_value"])
    line = ramp(LINE, place["line_hue"])
    pole = ramp(_ramp("6b4a30 8f8f8c c8c8c4 3f4448"), place["pole_style"])
    return {
        "pavement": pavement,
        "pavement_dark": pavement * 0.76,
        "road": mix(_rgb(88, 90, 96), _soil(place), 0.18),
        "line": line,
        "edge_line": mix(line, _rgb(246, 244, 238), 0.6),
        "pole": pole,
        "wire": np.full_like(pole, 60),
        "sign": ramp(SIGN, place["sign_hue"]),
    }


def _plants(place: Columns, view: Columns) -> dict[str, Floats]:
    crown = mix(CROWN_COLD, CROWN_WARM, place["warmth"])
    crown = mix(CROWN_DRY, crown, np.clip(0.25 + place["moisture"], 0, 1))
    autumn = (view["season"] > 0.7) * np.clip(1.4 - 2 * np.abs(place["warmth"] - 0.45), 0, 1) * 0.7
    crown = mix(crown, AUTUMN, autumn)
    return {
        "crown": crown,
        "crown_dark": crown * 0.76,
        "forest": crown * 0.7,
        "trunk": np.broadcast_to(_rgb(96, 70, 48), crown.shape),
        "hedge": ramp(HEDGE, place["hedge_hue"]),
    }


def _things(place: Columns, view: Columns) -> dict[str, Floats]:
    stone = ramp(LANDMARK, place["landmark_hue"]) * (0.65 + 0.45 * place["landmark_value"])
    car = ramp(CAR, view["car_1"])
    return {
        "landmark": stone,
        "landmark_dark": stone * 0.74,
        "landmark_hollow": stone * 0.42,
        "car": car,
        "glass": np.full_like(car, 52) + _rgb(0, 10, 22),
        "tyre": np.full_like(car, 28),
        "plate": ramp(PLATE, place["plate_hue"]),
        "skin": ramp(SKIN, view["person_1"]),
        "hair": ramp(_ramp("20180f 5a3a20 c8a050 8a8a88"), view["person_2"]),
        "cloth": ramp(CLOTH, view["person_3"]),
    }


def _room(place: Columns, view: Columns) -> dict[str, Floats]:
    room = view.values[:, view_slice("room")]
    wall, table = ramp(ROOM, room[:, 0:1]), ramp(TABLE, room[:, 1:2])
    return {
        "room_wall": wall,
        "room_wall_dark": wall * 0.86,
        "table": table,
        "table_dark": table * 0.8,
        "dish": np.broadcast_to(_rgb(240, 240, 236), wall.shape),
        "food": ramp(FOOD, room[:, 2:3]),
        "frame": table * 0.6,
        "art": ramp(FOOD, room[:, 3:4]),
    }
