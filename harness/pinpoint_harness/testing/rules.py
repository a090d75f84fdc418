"""The rules of the contract: what each promises, and how that is put to the test.

A test says what was found wrong, or nothing.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..batching import Tile, padded
from ..running import backbones_of
from .made_up import Place, developed, drawn_jpeg, made_up_truth
from .trial import COMPARED, Answer, Trial

INPUTS = ("none", "image")

_SUSPICIOUS_RADIANS = 8
_SHOWN_LETTERS = 200


def _declaration(trial: Trial) -> str:
    declared = {name: getattr(trial.info, name) for name in ("licence", "training_data")}
    return ", ".join(f"{name} is {value!r}" for name, value in declared.items() if value.strip() in ("", "?"))


def _answer_version(trial: Trial) -> str:
    version = getattr(trial.target, "answer_version", None)
    fits = isinstance(version, int) and not isinstance(version, bool) and version >= 1
    return "" if fits else f"answer_version is {version!r}"


def _input(trial: Trial) -> str:
    asked = getattr(trial.method, "input", None)
    looked_through = {*trial.widths, *trial.stores.backbones}
    known = asked in INPUTS or (isinstance(asked, str) and set(backbones_of(asked)) <= looked_through)
    return "" if known else f"input is {asked!r}"


def _stages(trial: Trial) -> str:
    trial.train()
    return ""


def _set_up(trial: Trial) -> str:
    return "" if hasattr(trial.method, "predict") else f"{type(trial.method).__name__} has no predict"


def _answers(trial: Trial) -> str:
    _ = trial.first  # raises what is wrong with it
    return ""


def _range(trial: Trial) -> str:
    off = [answer for answer in trial.first if answer["status"] == "invalid coordinate"]
    return f"{len(off)} of {len(trial.first)} answers are no place on Earth" if off else ""


def _units(trial: Trial) -> str:
    places = {(answer["predicted_latitude"], answer["predicted_longitude"]) for answer in trial.first}
    near = [abs(north) <= np.pi / 2 and abs(east) <= np.pi for north, east in places if north is not None]
    if len(near) < _SUSPICIOUS_RADIANS or not all(near):
        return ""
    return f"{len(near)} different answers, all within 1.5708 of the equator and 3.1416 of the prime meridian"


def _single(trial: Trial) -> str:
    trial.predict_rows(trial.rows[:1])
    return ""


def _untouched(trial: Trial) -> str:
    given, kept = trial.take(trial.rows), trial.take(trial.rows)
    trial.predict(given)
    changed = [
        name
        for name in ("key", "author_token", "source", "input")
        if not _same_content(getattr(given, name), getattr(kept, name))
    ]
    return f"predict changed {', '.join(changed)}" if changed else ""


def _seed(trial: Trial) -> str:
    return difference(trial.first, trial.predict_rows(trial.rows, method=trial.built()))


def _memory(trial: Trial) -> str:
    trial.predict_rows(trial.other_rows)
    return difference(trial.first, trial.predict_rows(trial.rows))


def _neighbours(trial: Trial) -> str:
    every_other = trial.rows % 2 == 0
    mixed = trial.predict_rows(np.where(every_other, trial.rows, trial.other_rows))
    half = trial.tile // 2
    # As the runner fills the last tile of a dataset.
    repeated = trial.predict_rows(padded(Tile(0, 0, half), trial.tile))
    found = difference(trial.first[::2], mixed[::2]) or difference(trial.first[:half], repeated[:half])
    if not found and trial.pictures is not None:
        # As the harness fills the place of a picture that cannot be read.
        one_failed = [trial.pictures[0 if row == 1 else row] for row in trial.rows]
        answers = trial.predict_rows(trial.rows, one_failed)
        found = difference([trial.first[0], *trial.first[2:]], [answers[0], *answers[2:]])
    if not found and hasattr(trial.method, "predict_tiles"):
        tiles = [trial.take(rows) for rows in (trial.rows, trial.other_rows)]
        method: Any = trial.method
        together = list(method.predict_tiles(tiles))
        found = difference(trial.first, trial.stored(together[0])[: trial.tile])
    return found


def _position(trial: Trial) -> str:
    for rows in (trial.rows[::-1], np.roll(trial.rows, 1)):
        if found := difference([trial.first[row] for row in rows], trial.predict_rows(rows)):
            return found
    everywhere = trial.predict_rows(np.full(trial.tile, trial.tile // 2))  # one query at every place
    return difference([everywhere[0]] * trial.tile, everywhere)


def _odd_pictures(trial: Trial) -> str:
    shapes = ((1, 1), (1, 400), (400, 1), (64, 64))
    levels = np.linspace(0, 255, trial.tile).astype(np.uint8)  # from black to white
    odd = [np.full((*shapes[row % len(shapes)], 3), levels[row]) for row in trial.rows]
    trial.predict_rows(trial.rows, odd)
    return ""


def _files(trial: Trial) -> str:
    names = [f"{90 - row}.{row}_{10 * row}.{row}_Paris,_France.jpg" for row in trial.rows]
    with tempfile.TemporaryDirectory() as folder:
        for row, name in enumerate(names):
            Path(folder, name).write_bytes(drawn_jpeg(row, falsified=True))
        pictures = [developed(Path(folder, name).read_bytes()) for name in names]
        renamed = trial.take(trial.rows, pictures, made_up_truth(names, all_authors=trial.all_authors))
        return difference(trial.first, trial.stored(trial.predict(renamed))[: trial.tile])


def _content(trial: Trial) -> str:
    if not hasattr(trial.method, "content"):
        return "there is no content(), and a gallery's name says nothing about what it holds"
    if trial.is_trained:  # its stages are of this gallery; over another it would have to be trained again
        return ""
    same = trial.method.content() == trial.built(moved=True).content()  # type: ignore[attr-defined]
    return "content() is the same for two galleries of one name that hold different photos" if same else ""


def _own_photo(trial: Trial) -> str:
    if shown := _shown(trial, trial.first, trial.stores.copies):
        return f"{shown} of {trial.tile} queries are answered with, or shown, the photo itself"
    if trial.is_trained:  # where the copies lie is something it may have learned
        return ""
    moved = trial.predict_rows(trial.rows, method=trial.built(moved=True))
    found = difference(trial.first[:1], moved[:1])
    return f"the answer changes with the place of the query's own photo: {found}" if found else ""


def _author_filter(trial: Trial) -> str:
    method = trial.built(dataclasses.replace(trial.params, author_filter=True))
    truth = made_up_truth(trial.names, all_authors=True)
    answers = trial.predict_rows(trial.rows, method=method, truth=truth)
    shown = _shown(trial, answers, trial.stores.by_author)
    words = "queries are answered with, or shown, a photo by their photographer"
    return f"with author_filter=True {shown} of {trial.tile} {words}" if shown else ""


def _shown(trial: Trial, answers: Sequence[Answer], planted: Mapping[int, set[Place]]) -> int:
    """How many answers lie, or have a candidate, exactly where a photo planted for the query does."""
    count = 0
    for row, answer in zip(trial.rows.tolist(), answers, strict=True):
        places = {(answer["predicted_latitude"], answer["predicted_longitude"])}
        places |= {(one["latitude"], one["longitude"]) for one in answer["candidates"] or ()}
        count += bool(places & planted[row])
    return count


@dataclass(frozen=True)
class Rule:
    """A promise and how it is put to the test.

    `needs` names the rules without which this one says nothing: where one of them is broken,
    whatever is found here has that cause.
    """

    name: str
    promise: str
    test: Callable[[Trial], str]
    fix: str
    needs: tuple[str, ...] = ()
    applies: Callable[[Trial], bool] = lambda trial: True


def _sees_pictures(trial: Trial) -> bool:
    return trial.method.input == "image"


def _has_gallery(trial: Trial) -> bool:
    return trial.stores.opened


def _keeps_own_photo_out(trial: Trial) -> bool:
    return trial.stores.opened and not (trial.info and trial.info.finds_own_photo)


def _filters_authors(trial: Trial) -> bool:
    return trial.stores.opened and isinstance(getattr(trial.params, "author_filter", None), bool)


RULES = (
    Rule(
        "declaration",
        "the licence and the training data are named",
        _declaration,
        "name both in MethodInfo; training_data='none' if nothing was trained",
        applies=lambda trial: trial.info is not None,
    ),
    Rule(
        "parameters",
        "parameters are a frozen dataclass whose defaults fit",
        lambda trial: trial.misdeclared,
        "declare a @dataclass(frozen=True) of int, float, bool, str or Path fields made by param(...)",
    ),
    Rule(
        "version",
        "answer_version is a whole number from 1",
        _answer_version,
        "set answer_version = 1, and raise it whenever the same parameters give other answers",
    ),
    Rule(
        "stages",
        "what the method is trained on can be a small gallery as well",
        _stages,
        "train from any photos by several authors; name parameters that make it quick in check_with",
        needs=("parameters",),
        applies=lambda trial: trial.is_trained,
    ),
    Rule(
        "set-up",
        "the method can be built from its parameters and a context",
        _set_up,
        "write __init__(self, params, context) and predict(self, queries)",
        needs=("parameters", "stages"),
    ),
    Rule(
        "input",
        "the method asks to see nothing, pictures, or a backbone's features",
        _input,
        "set input = 'none', 'image' or a backbone's name; ids and file names would give the answers away",
        needs=("set-up",),
    ),
    Rule(
        "answers",
        "every query gets an answer of the agreed shape and type",
        _answers,
        "return Predictions(coordinates) with a float64 array (n, 2), NaN where there is no answer",
        needs=("input",),
    ),
    Rule(
        "range",
        "answers are places on Earth",
        _range,
        "give (latitude, longitude): -90 to 90 and -180 to 180, in this order",
        needs=("answers",),
    ),
    Rule(
        "units",
        "answers are in degrees",
        _units,
        "these look like radians: use numpy.degrees",
        needs=("answers",),
    ),
    Rule(
        "single",
        "a tile of one query is answered",
        _single,
        "keep the first axis: squeeze() drops it where it has length 1",
        needs=("answers",),
    ),
    Rule(
        "untouched",
        "predict leaves its queries as they are",
        _untouched,
        "work on a copy: pictures of a tile may share their memory",
        needs=("answers",),
    ),
    Rule(
        "seed",
        "the same seed gives the same answers, whoever else draws",
        _seed,
        "draw from a generator of your own, seeded with context.seed and the query",
        needs=("answers",),
    ),
    Rule(
        "memory",
        "an answer does not depend on the tiles asked before",
        _memory,
        "keep nothing between calls of predict: a resumed run begins in the middle",
        needs=("seed",),
    ),
    Rule(
        "neighbours",
        "an answer does not depend on the other queries of its tile",
        _neighbours,
        "use no statistic of the tile, such as a mean over it or a common padding",
        needs=("memory",),
    ),
    Rule(
        "position",
        "an answer does not depend on its place in the tile",
        _position,
        "use nothing that counts along the tile, such as one generator for all of its queries",
        needs=("neighbours",),
    ),
    Rule(
        "content",
        "a gallery stands in the key of a run by what it holds",
        _content,
        "write content(self), with the keys of the gallery under the name of its parameter",
        needs=("answers",),
        applies=_has_gallery,
    ),
    Rule(
        "own-photo",
        "a query's own photo is not found, if it stands in the gallery",
        _own_photo,
        "search with PhotoGallery.search, which leaves it out, or register MethodInfo(finds_own_photo=True)",
        needs=("seed",),
        applies=_keeps_own_photo_out,
    ),
    Rule(
        "author-filter",
        "with author_filter no photo by the query's photographer is found",
        _author_filter,
        "open the gallery with PhotoGallery.open(..., author_filter=params.author_filter)",
        needs=("seed",),
        applies=_filters_authors,
    ),
    Rule(
        "odd-pictures",
        "pictures of one pixel, a line or a single colour do not stop the tile",
        _odd_pictures,
        "answer NaN where a picture is of no use",
        needs=("answers",),
        applies=_sees_pictures,
    ),
    Rule(
        "files",
        "other file names, comments and EXIF positions change nothing",
        _files,
        "answer from the pixels alone: a key is made from the photo's name",
        needs=("memory",),
        applies=_sees_pictures,
    ),
)
"""In the order they are made; a rule stands behind those it needs."""


def difference(expected: Sequence[Answer], answers: Sequence[Answer]) -> str:
    """What differs between two lists of answers to the same queries, bit for bit."""
    differing = [(one, other) for one, other in zip(expected, answers, strict=True) if one != other]
    if not differing:
        return ""
    one, other = differing[0]
    name = next(name for name in COMPARED if one[name] != other[name])
    return (
        f"{len(differing)} of {len(expected)} answers differ, the first in its {name}: "
        f"{_shortened(one[name])} and {_shortened(other[name])}"
    )


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]} ..."


def _same_content(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same_content, one, other))
    if hasattr(one, "shape"):  # a tensor, wherever it lies
        return bool((one == other).all())
    return bool(one == other)
