"""The contract of a method: whoever keeps it passes, and each way to break it fails one check."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, UsageError
from pinpoint_harness.features import PhotoGallery
from pinpoint_harness.images.decode import decode
from pinpoint_harness.images.positions import Position, position_of
from pinpoint_harness.params import param
from pinpoint_harness.plugins import Entry, Origin, load_registry
from pinpoint_harness.search import Exclusion
from pinpoint_harness.testing import RULES, assert_contract, check_method
from pinpoint_harness.testing.made_up import developed, drawn_jpeg
from pinpoint_harness.training import Stage, StageContext, describe, open_stages
from pinpoint_harness.types import Candidates, Context, MethodInfo, Predictions, Queries


@dataclass(frozen=True)
class GoodParams:
    east: float = param(0.0, "degrees", minimum=-90, maximum=90)


class Good:
    """Hashes each key to a place."""

    Params: ClassVar[Any] = GoodParams
    answer_version: ClassVar[Any] = 1
    input: Any = "none"

    def __init__(self, params: GoodParams, context: Context) -> None:
        self.east = params.east
        self.seed = context.seed

    def predict(self, queries: Queries) -> Predictions:
        return Predictions(self.places(queries), confidence=np.ones(len(queries)))

    def places(self, queries: Queries) -> Any:
        latitude = (queries.key % np.uint64(161)).astype(np.float64) - 80
        longitude = (queries.key % np.uint64(181)).astype(np.float64) - 90 + self.east
        return np.stack([latitude, longitude], axis=1)


class GoodPicture(Good):
    """Places each picture by its mean colour."""

    input = "image"

    def places(self, queries: Queries) -> Any:
        return np.array([picture.mean(axis=(0, 1))[:2] / 3 for picture in queries.input])


class Cautious(GoodPicture):
    """Has no answer, with or without candidates, where a picture is too small."""

    def predict(self, queries: Queries) -> Predictions:
        small = np.array([min(picture.shape[:2]) < 32 for picture in queries.input])
        places = np.where(small[:, None], np.nan, self.places(queries))
        return Predictions(places, candidates=Candidates(places[:, None]))


# Form


@dataclass
class ThawedParams:
    east: float = 0.0


@dataclass(frozen=True)
class ListParams:
    places: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class FarParams:
    east: float = param(100.0, minimum=-90, maximum=90)


@dataclass(frozen=True)
class TextParams:
    east: int = param("7")


def with_(base: type[Good] = Good, **attributes: Any) -> type[Good]:
    return type(base.__name__, (base,), attributes)


class TakesNothing(Good):
    def __init__(self) -> None: ...


class CannotStart(Good):
    def __init__(self, params: GoodParams, context: Context) -> None:
        raise RuntimeError("no weights")


class Mute:
    Params: ClassVar[Any] = GoodParams
    answer_version: ClassVar[int] = 1
    input = "none"

    def __init__(self, params: GoodParams, context: Context) -> None: ...


class OneShort(Good):
    def places(self, queries: Queries) -> Any:
        return super().places(queries)[1:]


class SinglePrecision(Good):
    def places(self, queries: Queries) -> Any:
        return super().places(queries).astype(np.float32)


class Listed(Good):
    def places(self, queries: Queries) -> Any:
        return super().places(queries).tolist()


class BareArray(Good):
    def predict(self, queries: Queries) -> Any:
        return self.places(queries)


class Raises(Good):
    def predict(self, queries: Queries) -> Predictions:
        raise KeyError("weights")


class InfinitelySure(Good):
    def predict(self, queries: Queries) -> Predictions:
        return replace(super().predict(queries), confidence=np.full(len(queries), np.inf))


# Content


class LongitudeFirst(Good):
    def places(self, queries: Queries) -> Any:
        return (super().places(queries) * (1, 2))[:, ::-1]


class EastOf360(Good):
    def places(self, queries: Queries) -> Any:
        return super().places(queries) * (1, 2) % (360, 360)


class Radians(Good):
    def places(self, queries: Queries) -> Any:
        return np.radians(super().places(queries))


class Squeezed(Good):
    def places(self, queries: Queries) -> Any:
        return super().places(queries).squeeze()


class SortsKeys(Good):
    def places(self, queries: Queries) -> Any:
        answers = super().places(queries)
        queries.key.sort()
        return answers


class PaintsPictures(GoodPicture):
    def places(self, queries: Queries) -> Any:
        answers = super().places(queries)
        for picture in queries.input:
            picture //= 2
        return answers


# Chance


class GlobalNumpy(Good):
    def places(self, queries: Queries) -> Any:
        return np.random.uniform(-80, 80, (len(queries), 2))


class GlobalPython(Good):
    def __init__(self, params: GoodParams, context: Context) -> None:
        super().__init__(params, context)
        self.east = random.uniform(0, 1)


class GlobalTorch(Good):
    def places(self, queries: Queries) -> Any:
        import torch

        return torch.rand(len(queries), 2, dtype=torch.float64).numpy() * 80


class OperatingSystem(Good):
    def places(self, queries: Queries) -> Any:
        return np.random.default_rng().uniform(-80, 80, (len(queries), 2))


class CountsInstances(Good):
    built: ClassVar[list[float]] = []

    def __init__(self, params: GoodParams, context: Context) -> None:
        super().__init__(params, context)
        self.built.append(0.0)
        self.east = float(len(self.built))


class OneGenerator(Good):
    def __init__(self, params: GoodParams, context: Context) -> None:
        super().__init__(params, context)
        self.generator = np.random.default_rng(context.seed)

    def places(self, queries: Queries) -> Any:
        return self.generator.uniform(-80, 80, (len(queries), 2))


class RunningMaximum(Good):
    highest = 0.0

    def predict(self, queries: Queries) -> Predictions:
        answer = super().predict(queries)
        self.highest = max(self.highest, answer.coordinates.max())
        return replace(answer, confidence=np.full(len(queries), self.highest))


# Company


class Maximum(Good):
    def places(self, queries: Queries) -> Any:
        places = super().places(queries)
        return places - (0, places[:, 1].max() / 10)


class NeighboursMean(Good):
    def places(self, queries: Queries) -> Any:
        # Whole numbers, so that the sum does not depend on its order.
        places = super().places(queries)
        return np.floor(places / 2) + np.floor(places.sum(axis=0) / len(places) / 2)


class SureOfTheBest(Good):
    def predict(self, queries: Queries) -> Predictions:
        answer = super().predict(queries)
        return replace(answer, confidence=answer.coordinates[:, 0] / answer.coordinates[:, 0].max())


class StatesTheTilesShare(Good):
    def predict(self, queries: Queries) -> Predictions:
        answer = super().predict(queries)
        south = float((answer.coordinates[:, 0] < 0).mean())
        return replace(answer, within=np.full((len(queries), 5), south))


class RefusesTwins(Good):
    def places(self, queries: Queries) -> Any:
        if len(set(queries.key.tolist())) < len(queries):
            raise ValueError("the same query twice")
        return super().places(queries)


class RefusesTwinPictures(GoodPicture):
    def places(self, queries: Queries) -> Any:
        pictures = {picture.tobytes(): key for picture, key in zip(queries.input, queries.key, strict=True)}
        if len(pictures) < len(set(queries.key.tolist())):
            raise ValueError("the same picture under two keys")
        return super().places(queries)


class PadsPictures(GoodPicture):
    def places(self, queries: Queries) -> Any:
        largest = max(picture.size for picture in queries.input)
        return np.array([(picture.sum() / largest / 3, 0.0) for picture in queries.input])


class CountsAlong(Good):
    def places(self, queries: Queries) -> Any:
        return super().places(queries) + np.arange(len(queries))[:, None] / 100


class OneGeneratorPerTile(Good):
    def places(self, queries: Queries) -> Any:
        return np.random.default_rng(self.seed).uniform(-80, 80, (len(queries), 2))


class FirstIsSpecial(Good):
    def places(self, queries: Queries) -> Any:
        places = super().places(queries)
        places[0] = (0.25, 0.25)
        return places


# Pictures


class NeedsSize(GoodPicture):
    def places(self, queries: Queries) -> Any:
        if min(min(picture.shape[:2]) for picture in queries.input) < 16:
            raise ValueError("a picture has 1 pixel")
        return super().places(queries)


class NeedsContrast(GoodPicture):
    def predict(self, queries: Queries) -> Predictions:
        with np.errstate(divide="ignore"):
            surety = 1 / np.array([picture.std() for picture in queries.input])
        return Predictions(self.places(queries), confidence=surety)


class KnowsNames(GoodPicture):
    def places(self, queries: Queries) -> Any:
        return super().places(queries) + (queries.key % np.uint64(7)).astype(np.float64)[:, None]


# Galleries and stages


@dataclass(frozen=True)
class SearchParams:
    gallery: str = param(help="dataset to search")
    author_filter: bool = param(False, "leave out photos by the query's photographer")


class ForgetsContent:
    """Answers with the most similar photo of a gallery, and does not say what is in it."""

    Params: ClassVar[Any] = SearchParams
    check_with: ClassVar[Any] = {"gallery": "photos,streetview"}
    answer_version: ClassVar[Any] = 1
    input: Any = "a backbone of nobody"

    def __init__(self, params: SearchParams, context: Context) -> None:
        self.params = params
        self.gallery = PhotoGallery.open(
            context, params.gallery, self.input, author_filter=params.author_filter
        )

    def predict(self, queries: Queries) -> Predictions:
        found = self.found(queries)
        return Predictions(found.coordinates[:, 0], candidates=self.gallery.candidates(found))

    def found(self, queries: Queries) -> Any:
        return self.gallery.search(queries, 5)


class Searches(ForgetsContent):
    def content(self) -> dict[str, Any]:
        return {"gallery": self.gallery.keys}


class NamesItsGallery(Searches):
    def content(self) -> dict[str, Any]:
        return {"gallery": [store.dataset for store in self.gallery.stores]}


class FindsItself(Searches):
    def found(self, queries: Queries) -> Any:
        by_author = Exclusion(author_token=queries.author_token)
        return self.gallery.nearest(queries.input, 5, by_author if self.params.author_filter else None)


class AveragesItself(FindsItself):
    """Shows no photo, yet its own takes part in the answer."""

    def predict(self, queries: Queries) -> Predictions:
        return Predictions(self.found(queries).coordinates.mean(axis=1))


class IgnoresTheFilter(Searches):
    def found(self, queries: Queries) -> Any:
        return self.gallery.nearest(queries.input, 5, Exclusion(own_key=queries.key))


@dataclass(frozen=True)
class TrainedParams:
    epochs: int = param(1000, "passes")
    models: Path | None = param(None, "folder of trained stages")


class Trained(Good):
    """Answers with the mean place of its training photos, which is what it learns."""

    Params: ClassVar[Any] = TrainedParams
    check_with: ClassVar[Any] = {"epochs": 1}
    input: Any = "a backbone of nobody"

    def __init__(self, params: TrainedParams, context: Context) -> None:
        stages = open_stages(self.stages(params, context), context.models, context)
        config = json.loads((stages["mean"].folder / "config.json").read_text())
        self.mean = config["mean"]

    @classmethod
    def stages(cls, params: TrainedParams, context: Context) -> list[Stage]:
        assert context.stores is not None
        assert params.epochs == 1, "a whole training"
        store = context.stores.gallery("photos", cls.input)

        def make(stage_context: StageContext) -> dict[str, Any]:
            table = stage_context.truth("photos")
            assert set(table["id"]) == set(store.table["id"].to_pylist())
            return {"config.json": cls.learned(table[["latitude", "longitude"]].mean().tolist())}

        return [Stage("mean", "test-mean", {"store": store.key}, make)]

    @classmethod
    def learned(cls, mean: list[float]) -> bytes:
        return describe({}, mean=mean)

    def places(self, queries: Queries) -> Any:
        return np.tile(self.mean, (len(queries), 1)).astype(np.float64)

    def content(self) -> dict[str, Any]:
        return {"mean": self.mean}


class CannotLearn(Trained):
    @classmethod
    def learned(cls, mean: list[float]) -> bytes:
        raise DataError("nothing to learn from")


OF_PICTURES = {"odd-pictures", "files"}
OF_GALLERIES = {"content", "own-photo", "author-filter"}

BROKEN: list[tuple[type[Any], str, str]] = [
    (with_(Params=ThawedParams), "parameters", "ThawedParams is not frozen"),
    (with_(Params=dict), "parameters", "no dataclass"),
    (with_(Params=ListParams), "parameters", "must be int, float, bool, str or Path"),
    (with_(Params=FarParams), "parameters", "east=100.0 does not fit"),
    (with_(Params=TextParams), "parameters", "the default of east is not of the declared type"),
    (with_(answer_version=0), "version", "answer_version is 0"),
    (with_(answer_version=True), "version", "answer_version is True"),
    (with_(answer_version="1"), "version", "answer_version is '1'"),
    (with_(answer_version=None), "version", "answer_version is None"),
    (TakesNothing, "set-up", "TypeError"),
    (CannotStart, "set-up", "RuntimeError: no weights"),
    (Mute, "set-up", "Mute has no predict"),
    (with_(input="id"), "input", "input is 'id'"),
    (with_(input=None), "input", "input is None"),
    (OneShort, "answers", "(15, 2)"),
    (SinglePrecision, "answers", "float32"),
    (Listed, "answers", "builtins.list"),
    (BareArray, "answers", "predict must return Predictions; ndarray"),
    (Raises, "answers", "KeyError: 'weights'"),
    (InfinitelySure, "answers", "confidence must be finite"),
    (LongitudeFirst, "range", "answers are no place on Earth"),
    (EastOf360, "range", "answers are no place on Earth"),
    (Radians, "units", "different answers, all within 1.5708"),
    (Squeezed, "single", "float64 of shape (2,)"),
    (SortsKeys, "untouched", "predict changed key"),
    (PaintsPictures, "untouched", "predict changed input"),
    (GlobalNumpy, "seed", "16 of 16 answers differ"),
    (GlobalPython, "seed", "16 of 16 answers differ, the first in its predicted_longitude"),
    (GlobalTorch, "seed", "16 of 16 answers differ"),
    (OperatingSystem, "seed", "16 of 16 answers differ"),
    (CountsInstances, "seed", "the first in its predicted_longitude"),
    (OneGenerator, "memory", "16 of 16 answers differ"),
    (RunningMaximum, "memory", "the first in its confidence"),
    (Maximum, "neighbours", "the first in its predicted_longitude"),
    (NeighboursMean, "neighbours", "the first in its predicted_latitude"),
    (SureOfTheBest, "neighbours", "the first in its confidence"),
    (StatesTheTilesShare, "neighbours", "the first in its within"),
    (RefusesTwins, "neighbours", "ValueError: the same query twice"),
    (RefusesTwinPictures, "neighbours", "the same picture under two keys"),
    (PadsPictures, "neighbours", "the first in its predicted_latitude"),
    (CountsAlong, "position", "16 of 16 answers differ"),
    (OneGeneratorPerTile, "position", "16 of 16 answers differ"),
    (FirstIsSpecial, "position", "2 of 16 answers differ"),
    (NeedsSize, "odd-pictures", "ValueError: a picture has 1 pixel"),
    (NeedsContrast, "odd-pictures", "confidence must be finite"),
    (KnowsNames, "files", "answers differ"),
    (CannotLearn, "stages", "nothing to learn from"),
    (ForgetsContent, "content", "there is no content()"),
    (NamesItsGallery, "content", "the same for two galleries of one name"),
    (FindsItself, "own-photo", "16 of 16 queries are answered with, or shown, the photo itself"),
    (AveragesItself, "own-photo", "changes with the place of the query's own photo: 1 of 1 answers differ"),
    (IgnoresTheFilter, "author-filter", "with author_filter=True 16 of 16 queries are answered with"),
]


def entry(method: type[Any], info: MethodInfo) -> Entry[MethodInfo]:
    globals()[method.__name__] = method
    return Entry("method", "mine", f"{__name__}:{method.__name__}", info, Origin("test", "explicit"))


@pytest.mark.parametrize("method", [Good, GoodPicture, Cautious, Searches, Trained])
def test_a_method_that_keeps_the_contract_passes_every_check(method: type[Any]) -> None:
    checks = check_method(method)
    assert [(check.name, check.found) for check in checks if not check.passed] == []
    skipped = {"declaration"} | (OF_PICTURES if method.input != "image" else set())
    skipped |= {Searches: {"stages"}, Trained: {"author-filter"}}.get(method, {"stages", *OF_GALLERIES})
    assert [check.name for check in checks] == [rule.name for rule in RULES if rule.name not in skipped]


@pytest.mark.parametrize(
    ("method", "name", "found"), BROKEN, ids=[f"{method.__name__}-{name}" for method, name, _ in BROKEN]
)
def test_a_method_that_breaks_one_promise_fails_that_check_alone(
    method: type[Any], name: str, found: str
) -> None:
    (failed,) = [check for check in check_method(method) if not check.passed]
    assert failed.name == name
    assert found in failed.found
    assert failed.fix


@pytest.mark.parametrize(
    ("info", "found"),
    [
        (MethodInfo(title="t", training_data="MP-16"), "licence is ''"),
        (MethodInfo(title="t", licence="MIT", training_data="?"), "training_data is '?'"),
        (MethodInfo(title="t", training_data=" "), "licence is '', training_data is ' '"),
    ],
)
def test_a_method_that_hides_its_licence_or_its_training_data_fails_that_check_alone(
    info: MethodInfo, found: str
) -> None:
    (failed,) = [check for check in check_method(entry(Good, info)) if not check.passed]
    assert (failed.name, failed.found) == ("declaration", found)


def test_every_rule_is_broken_by_some_method_of_this_file() -> None:
    assert {name for _, name, _ in BROKEN} | {"declaration"} == {rule.name for rule in RULES}


def test_a_rule_stands_behind_those_it_needs() -> None:
    names = [rule.name for rule in RULES]
    for position, rule in enumerate(RULES):
        assert set(rule.needs) <= set(names[:position])


def test_what_can_say_nothing_after_a_failure_is_left_out() -> None:
    names = [check.name for check in check_method(GlobalNumpy)]
    assert names[-1] == "seed"
    assert [check.name for check in check_method(CannotLearn)] == ["parameters", "version", "stages"]
    assert [check.name for check in check_method(CannotStart)] == ["parameters", "version", "set-up"]


@pytest.mark.parametrize("tile", [2, 3, 7, 40])
def test_any_tile_with_neighbours_can_be_checked(tile: int) -> None:
    assert all(check.passed for check in check_method(GoodPicture, tile=tile))
    assert [check.name for check in check_method(CountsAlong, tile=tile) if not check.passed] == ["position"]


def test_a_tile_of_one_has_nothing_to_check() -> None:
    with pytest.raises(UsageError, match="give 2 or more"):
        check_method(Good, tile=1)


def test_parameters_reach_the_method_and_wrong_ones_are_the_users_mistake() -> None:
    assert all(check.passed for check in check_method(Good, {"east": "45"}))
    with pytest.raises(UsageError, match=r"Good: east=99 does not fit[\s\S]*-90 to 90"):
        check_method(Good, {"east": "99"})
    with pytest.raises(UsageError, match="has no parameter 'west'"):
        check_method(Good, {"west": "1"})


def test_the_context_reaches_the_method() -> None:
    seen = []

    class Curious(Good):
        def __init__(self, params: GoodParams, context: Context) -> None:
            super().__init__(params, context)
            seen.append(context)

    check_method(Curious, context=Context(seed=5))
    assert set(seen) == {Context(seed=5)}
    assert len(seen) == 2


def test_global_generators_are_left_as_they_were() -> None:
    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    check_method(GlobalNumpy)
    check_method(GlobalPython)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]


def test_the_falsified_files_differ_in_all_but_their_pixels() -> None:
    for number in range(4):
        plain, falsified = drawn_jpeg(number), drawn_jpeg(number, falsified=True)
        assert not isinstance(position_of(plain), Position)
        position = position_of(falsified)
        assert isinstance(position, Position)
        assert position.latitude == pytest.approx(48.85 + number / 3600)
        assert b"48.8584" in falsified
        assert b"48.8584" not in plain
        np.testing.assert_array_equal(developed(plain), decode(falsified))


def test_drawn_pictures_differ_in_size_and_content() -> None:
    pictures = [developed(drawn_jpeg(number)) for number in range(32)]
    assert len({picture.tobytes() for picture in pictures}) == 32
    assert len({picture.shape for picture in pictures}) > 16
    assert all(96 <= side <= 256 for picture in pictures for side in picture.shape[:2])


def test_the_contract_is_asserted_with_what_was_found_and_how_to_mend_it() -> None:
    assert_contract(Good)
    with pytest.raises(AssertionError) as failure:
        assert_contract(CountsAlong)
    text = str(failure.value)
    assert text.startswith("position: an answer does not depend on its place in the tile\n  found: 16 of 16")
    assert "\n  fix:   " in text


@pytest.mark.parametrize("name", ["constant", "random-prior"])
def test_the_methods_that_come_with_the_project_keep_the_contract(name: str) -> None:
    place = {"latitude": 1, "longitude": 2} if name == "constant" else {}
    assert_contract(load_registry().method(name), place)


def test_stored_answers_are_no_method_to_check() -> None:
    with pytest.raises(UsageError, match="stored-predictions"):
        check_method(load_registry().method("stored-predictions"))


PLUGIN = """
import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl

class Method:
    input = "none"
    answer_version = 1
    def __init__(self, params, context): pass
    def predict(self, queries):
        return Predictions(np.zeros((len(queries), 2)) + SHIFT)

@hookimpl
def pinpoint_register(register):
    register.method("mine", f"{__name__}:Method", MethodInfo(title="Mine", licence="MIT"))
"""


def test_the_command_prints_a_line_per_check_and_fails_when_one_does(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(PLUGIN.replace("SHIFT", "1"))
    bad.write_text(PLUGIN.replace("SHIFT", "np.arange(len(queries))[:, None]"))
    passing = CliRunner().invoke(cli, ["--plugin", str(good), "methods", "check", "mine"])
    assert passing.exit_code == 0, passing.output
    assert all(line.startswith("ok ") for line in passing.stdout.splitlines())
    assert len(passing.stdout.splitlines()) == len(RULES) - len({*OF_PICTURES, *OF_GALLERIES, "stages"})
    failing = CliRunner().invoke(cli, ["--plugin", str(bad), "methods", "check", "mine", "--tile", "20"])
    assert failing.exit_code == 1
    assert "\nFAILED  position      an answer does not depend on its place" in failing.stdout
    assert "\n        found: 20 of 20 answers differ" in failing.stdout
    assert "\n        fix:   use nothing that counts along the tile" in failing.stdout


def test_the_command_prints_json() -> None:
    command = ["methods", "check", "constant", "--set", "latitude=1", "--set", "longitude=2", "--json"]
    checks = json.loads(CliRunner().invoke(cli, command).stdout)
    skipped = {*OF_PICTURES, *OF_GALLERIES, "stages"}
    assert {check["name"] for check in checks} == {rule.name for rule in RULES} - skipped
    assert all(check["passed"] is True for check in checks)


def test_the_command_asks_for_parameters_that_are_needed() -> None:
    result = CliRunner().invoke(cli, ["methods", "check", "constant"])
    assert result.exit_code == 2
    assert "needs a value for 'latitude'" in result.stderr


def test_a_method_may_declare_that_it_finds_the_photo_itself() -> None:
    info = MethodInfo(title="t", licence="MIT", finds_own_photo=True)
    names = [check.name for check in check_method(entry(FindsItself, info)) if check.passed]
    assert "own-photo" not in names
    assert names[-1] == "author-filter"


def test_the_author_filter_can_be_checked_where_it_is_set() -> None:
    assert all(check.passed for check in check_method(Searches, {"author_filter": True}))


def test_a_trained_method_is_trained_for_the_check_and_nowhere_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave models="):
        check_method(Trained, {"models": str(tmp_path)})


# Features


class Projection(Good):
    """Looks at a backbone's features."""

    input = "tower"

    def predict(self, queries: Queries) -> Predictions:
        first = queries.input.float().cpu().numpy()[:, :2].astype(np.float64)
        return Predictions(np.tanh(first) * (80.0, 170.0))


class TileMean(Projection):
    """Subtracts the tile's mean, and so depends on the neighbours."""

    def predict(self, queries: Queries) -> Predictions:
        centred = queries.input.float() - queries.input.float().mean(dim=0)
        return Predictions(np.tanh(centred.cpu().numpy()[:, :2].astype(np.float64)) * (80.0, 170.0))


def test_a_method_on_features_is_asked_with_random_ones() -> None:
    assert all(check.passed for check in check_method(Projection, widths={"tower": 8}))
    failed = {check.name for check in check_method(TileMean, widths={"tower": 8}) if not check.passed}
    assert "neighbours" in failed


def test_a_backbone_nobody_knows_is_no_input() -> None:
    failed = {check.name for check in check_method(Projection, widths={"other": 8}) if not check.passed}
    assert failed == {"input"}
