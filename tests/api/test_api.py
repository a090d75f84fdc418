"""The package from Python does what the command line does, and speaks of arguments instead of options."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from tests.support.pinpoint_world import World, one_thread

import pinpoint_harness
from pinpoint_harness import api
from pinpoint_harness.api.python_words import ARGUMENTS, CALLS, in_python
from pinpoint_harness.api.show import Picture
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, DataError, UsageError
from pinpoint_harness.features import FeatureStore
from pinpoint_methods.common.training import Trainer

SMALL = {
    "train": "toy/photos,toy/streetview",
    "backbone": "colours",
    "held_out_one_in": 3,
    "epochs": 2,
    "hidden": 8,
    "batch": 32,
}
CELLS = {**SMALL, "levels": "60,20", "smallest_cell": 2}

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with one_thread():
        yield World(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[World]:
    with one_thread():
        yield World(tmp_path)


def given(world: World) -> dict[str, Any]:
    return {"home": world.folder, "registry": world.registry}


def pinpoint(world: World, *words: str, code: int = 0) -> Result:
    where = ["--plugin", str(world.plugin), "--home", str(world.folder)]
    result = CliRunner().invoke(cli, [*where, *words], prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return result


def sets(settings: dict[str, Any], **changes: Any) -> list[str]:
    return [word for name, value in {**settings, **changes}.items() for word in ("--set", f"{name}={value}")]


def heads(result: Result) -> list[dict[str, str]]:
    return json.loads(result.stdout)  # type: ignore[no-any-return]


# Training and running


def test_what_one_trains_the_other_finds(toy: World) -> None:
    (made,) = api.train("regression", parameters=SMALL, log=["csv"], **given(toy))
    assert made.made
    (row,) = heads(pinpoint(toy, "train", "regression", *sets(SMALL), "--json"))
    assert row == {"stage": "head", "made": "before", "key": made.key[:16], "folder": str(made.folder)}
    log = pd.read_csv(made.folder / "log.csv")
    curve = pd.read_csv(made.folder / "curve.csv")
    assert log.loc[log["name"] == "toy/photos_25km", "value"].tolist() == pytest.approx(
        curve["toy/photos_25km"].tolist()
    )


def test_a_run_has_its_scores_and_stands_in_the_table(toy: World) -> None:
    home = {**given(toy), "home": toy.folder / "alone"}
    api.train("regression", parameters=SMALL, **home)
    run = api.evaluate("regression", "toy/asked", parameters=SMALL, protocol="haversine-6371-le", **home)
    assert [file.stem for file in (run.folder / "scores").iterdir()] == ["haversine-6371-le"]
    table = api.table("toy/asked", **home)
    assert "<table" in table._repr_html_()
    assert table._repr_html_() in table.text("html")
    assert table.to_frame()["method"].tolist() == [run.title]
    text = pinpoint(toy, "table", "toy/asked", "--home", str(home["home"])).stdout
    assert text == str(table) + "\n" * (not str(table).endswith("\n"))
    with pytest.raises(
        UsageError, match=r'evaluate\("METHOD", "toy/single", home=.*\); or add published=True'
    ):
        api.table("toy/single", **home)


def test_a_protocol_that_is_none_is_refused_before_the_run(empty: World) -> None:
    with pytest.raises(UsageError, match="manhattan"):
        api.evaluate("random-prior", "toy/asked", protocol="manhattan", **given(empty))
    assert not (empty.folder / "runs").exists()


def test_a_method_that_is_not_trained_is_refused_before_anything_is_embedded(empty: World) -> None:
    with pytest.raises(DataError) as refused:
        api.evaluate("regression", "toy/asked", parameters=SMALL, **given(empty))
    assert refused.value.fix is not None
    call = 'train("regression", parameters={"train": "toy/photos,toy/streetview", "backbone": "colours"'
    assert refused.value.fix.startswith(call)
    result = pinpoint(empty, "run", "regression", "toy/asked", *sets(SMALL), code=2)
    assert "fix:   pinpoint train regression --set train=toy/photos,toy/streetview" in result.stderr
    assert not (empty.folder / "stores").exists()
    for name in ("photos", "streetview"):
        api.embed(f"toy/{name}", "colours", **given(empty))
    with pytest.raises(ArtifactError, match="the stage 'head'"):
        api.evaluate("regression", "toy/asked", parameters=SMALL, **given(empty))
    assert not (empty.folder / "stores" / "toy-asked").exists()


# Several values of a parameter


def test_every_combination_is_trained_and_run_and_what_they_share_is_made_once(toy: World) -> None:
    grid = sets(CELLS, hidden="4,8", seed="0,1")
    rows = heads(pinpoint(toy, "train", "cells", *grid, "--json"))
    titles = ["hidden=4, seed=0", "hidden=4, seed=1", "hidden=8, seed=0", "hidden=8, seed=1"]
    assert list(dict.fromkeys(row["settings"] for row in rows)) == titles
    made = {(row["stage"], row["made"]) for row in rows if row["settings"] != titles[0]}
    assert made == {
        ("partition", "before"), ("prototypes", "before"), ("head", "now"), ("temperature", "now"),
    }  # fmt: skip
    assert len({row["key"] for row in rows if row["stage"] == "head"}) == 4

    anew = heads(pinpoint(toy, "train", "cells", *sets(CELLS, hidden="4,8", seed="0"), "--fresh", "--json"))
    made_again = [row["stage"] for row in anew if row["made"] == "now"]
    assert sorted(made_again) == sorted([*dict.fromkeys(made_again), "head", "temperature"])

    runs = json.loads(pinpoint(toy, "run", "cells", "toy/asked", *grid, "--json").stdout)
    assert len({run["key"] for run in runs}) == 4
    again = pinpoint(toy, "run", "cells", "toy/asked", *grid, "--quiet").stdout.split()
    assert again == [run["run"] for run in runs]
    names = api.table("toy/asked", **given(toy)).to_frame()["method"].tolist()
    assert sorted({run["label"] for run in runs}) == ["cells"]
    for part, count in (("hidden=4", 2), ("hidden=8", 2), ("seed=1", 2)):
        assert sum(name.startswith("cells (") and part in name for name in names) == count


def test_a_combination_that_does_not_fit_is_refused_before_the_first_is_trained(empty: World) -> None:
    result = pinpoint(empty, "train", "regression", *sets(SMALL, hidden="8,0"), code=2)
    assert "hidden=0 does not fit" in result.stderr
    assert not (empty.folder / "models").exists()


# Interrupted


def test_an_interrupt_says_what_is_kept_and_the_command_that_goes_on(
    empty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def interrupted(self: Trainer, number: int) -> None:
        if number == self.steps - 1:
            raise KeyboardInterrupt
        step(self, number)

    words = ["train", "cells", *sets(CELLS)]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        said = pinpoint(empty, *words, code=130).stderr
    kept = r"interrupted\n  head: of \d+ steps it goes on from '.*\.safetensors', of step \d+\n"
    assert re.search(kept, said)
    assert "  stage 'head' is not finished; stages that are: partition\n" in said
    assert re.search(rf"  go on: pinpoint --plugin \S+ --home \S+ {' '.join(words)}\n", said)
    assert "[interrupted]" not in said
    pinpoint(empty, *words)


# Features, audits, places, pictures


def test_features_are_those_of_the_command_line(toy: World) -> None:
    store = api.embed("toy/asked", "colours", **given(toy))
    assert isinstance(store, FeatureStore)
    assert store.matrix.shape == (18, 12)
    facts = json.loads(pinpoint(toy, "embed", "toy/asked", "--backbone", "colours", "--json").stdout)
    assert facts["folder"] == str(store.folder)


def test_an_audit_is_that_of_the_command_line(toy: World) -> None:
    made = api.audit("toy/photos", "toy/asked", backbone="colours", **given(toy))
    before = made.file.read_bytes()
    words = ["audit", "toy/photos", "toy/asked", "--backbone", "colours"]
    assert pinpoint(toy, *words).stdout.startswith(f"{made}\n")
    assert made.file.read_bytes() == before
    assert len(made.to_frame()) == 18
    with pytest.raises(UsageError, match='give backbone="NAME"'):
        api.audit("toy/photos", "toy/asked", **given(toy))


def test_photos_are_placed_as_by_the_command_line(toy: World) -> None:
    settings = {"gallery": "toy/photos", "backbone": "colours"}
    api.evaluate("nearest-photo", "toy/asked", parameters=settings, **given(toy))
    photo = toy.folder / "images" / "p000.png"
    (answer,) = api.locate([photo], "nearest-photo", parameters=settings, **given(toy))
    shown = pinpoint(toy, "locate", str(photo), "--method", "nearest-photo", *sets(settings), "--json").stdout
    (record,) = json.loads(shown)["photos"]
    assert answer.place == (record["latitude"], record["longitude"])
    with pytest.raises(UsageError, match="another with method"):
        api.locate([photo], "random-prior", **given(toy))


def test_pictures_are_shown_and_saved(toy: World, tmp_path: Path) -> None:
    settings = {"gallery": "toy/photos", "backbone": "colours"}
    run = api.evaluate("nearest-photo", "toy/asked", parameters=settings, **given(toy))
    other = api.evaluate("random-prior", "toy/asked", **given(toy))
    assert api.plot([run, f"{other.label}@{other.dataset}"], **given(toy))._repr_png_().startswith(PNG)
    for kind in ("map", "sheet"):
        picture = api.plot(run, kind, rows=2, **given(toy))  # type: ignore[arg-type] # of a list of words
        assert picture.save(tmp_path / f"{kind}.png").read_bytes().startswith(PNG)
    with pytest.raises(UsageError, match=r"ends in \.png"):
        api.plot(run).save(tmp_path / "curve.jpg")
    with pytest.raises(UsageError, match="one of: cdf, map, sheet"):
        api.plot(run, "pie")  # type: ignore[arg-type] # the mistake in question
    with pytest.raises(UsageError, match="a map shows one run"):
        api.plot([run, other], "map")


# Words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--set latitude=...  (float; required)", 'parameters={"latitude": ...}  (float; required)'),
        ("pinpoint train regression --set hidden=8 --set 'train=a b'",
         'train("regression", parameters={"hidden": 8, "train": "a b"})'),
        ("pinpoint embed mp16 --backbone NAME --images PATH; or name a folder",
         'embed("mp16", backbone="NAME", images=["PATH"]); or name a folder'),
        ("name them with --images and --gallery-images, or leave --pixels away",
         "name them with images and gallery_images, or leave pixels=True away"),
        ("--protocol wgs84-lt measures all of them by it", 'protocol="wgs84-lt" measures all of them by it'),
        ("(--column author=NAME) and audit again", '(columns={"author": "NAME"}) and audit again'),
        ("give the same `pinpoint run` command again", "give the same `pinpoint run` command again"),
        ("pinpoint score a@b --protocol admin-osv5m", "pinpoint score a@b --protocol admin-osv5m"),
        ("choose another --out", "choose another --out"),
    ],
)  # fmt: skip
def test_options_and_commands_become_arguments_and_calls_where_there_are(text: str, expected: str) -> None:
    assert in_python(text) == expected


def test_every_argument_that_is_named_for_an_option_exists() -> None:
    functions = [getattr(api, name) for name in api.__all__ if inspect.isfunction(getattr(api, name))]
    functions.append(Picture.save)
    known = {name for function in functions for name in inspect.signature(function).parameters}
    assert {name for name, _ in ARGUMENTS.values()} <= known
    assert {name for name, _ in CALLS.values()} <= set(api.__all__)


def test_an_error_keeps_its_kind_and_its_parts_and_the_command_line_its_words(toy: World) -> None:
    with pytest.raises(UsageError) as refused:
        api.evaluate("constant", "capitals", **given(toy))
    assert refused.value.fix == 'parameters={"latitude": ...}  (float, -90 to 90) degrees north'
    assert str(refused.value).endswith(f"\n  fix:   {refused.value.fix}")
    assert "--set latitude=..." in pinpoint(toy, "run", "constant", "capitals", code=2).stderr


# Documents


def test_every_function_is_documented_and_its_arguments_are_keywords() -> None:
    for name in api.__all__:
        assert inspect.getdoc(getattr(api, name)), name
    for name in ("audit", "embed", "locate", "plot", "table", "train", "evaluate"):
        kinds = [item.kind for item in inspect.signature(getattr(api, name)).parameters.values()]
        assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 2, name


def test_the_functions_of_the_package_are_those_of_the_api() -> None:
    for name in set(pinpoint_harness.__all__) & set(api.__all__):
        assert getattr(pinpoint_harness, name) is getattr(api, name)
    alone = set(api.__all__) - set(pinpoint_harness.__all__)
    assert alone == {"Audited", "Picture", "Table", "audit", "locate"}


@pytest.mark.parametrize("module", [item.name for item in pkgutil.iter_modules(api.__path__)])
def test_the_examples_in_the_docstrings_run(module: str, home: Path) -> None:
    loaded = importlib.import_module(f"pinpoint_harness.api.{module}")
    found = doctest.testmod(loaded, optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    assert found.failed == 0


def test_every_function_of_runs_has_an_example() -> None:
    for name in ("load_dataset", "evaluate", "score", "break_down", "read_run", "table", "plot", "train"):
        assert ">>> " in (inspect.getdoc(getattr(api, name)) or ""), name


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: api.score("answers.csv", pd.DataFrame()), "answers are a Run or a DataFrame"),
        (lambda: api.score(pd.DataFrame(), "truth.csv"), "the truth is a DataFrame"),
        (lambda: pinpoint_harness.compare("capitals"), "must be a list of Run"),
        (
            lambda: api.table("capitals", columns="25km"),
            r"list of texts[\s\S]*columns=\['25km'\]",
        ),
    ],
)
def test_what_is_of_another_type_is_refused_in_words(call: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        call()


def test_a_picture_that_is_there_is_refused_in_the_words_of_python(toy: World, tmp_path: Path) -> None:
    run = api.evaluate("random-prior", "capitals", home=toy.folder)
    (tmp_path / "curves.png").write_bytes(b"another")
    with pytest.raises(UsageError, match="overwrite=True"):
        api.plot(run).save(tmp_path / "curves.png")
    assert api.plot(run).save(tmp_path / "curves.png", overwrite=True).read_bytes() != b"another"


def test_a_comparison_over_other_photos_is_refused_in_the_words_of_python(toy: World) -> None:
    whole = api.evaluate("random-prior", "capitals", home=toy.folder)
    part = api.evaluate(
        "constant", "capitals", parameters={"latitude": 1, "longitude": 2}, limit=9, home=toy.folder
    )
    with pytest.raises(DataError, match="add common=True to compare"):
        api.compare([whole, part])
