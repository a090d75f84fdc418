"""Parameters: what fits is converted, what does not is refused with names, defaults and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pinpoint_harness.errors import UsageError
from pinpoint_harness.params import build, param, parse_grid, parse_settings, specs


@dataclass(frozen=True)
class Everything:
    latitude: float = param(help="degrees north", minimum=-90, maximum=90)
    neighbours: int = param(10, "how many vote", minimum=1)
    vote: str = param("mean", "how", choices=("mean", "median"))
    cosine: bool = param(False, "normalise first")
    table: Path | None = param(None, "a file")


def test_strings_become_the_declared_types() -> None:
    built = build(
        Everything, {"latitude": "51.5", "neighbours": "3", "cosine": "yes", "table": "a.csv"}, "knn"
    )
    assert built == Everything(latitude=51.5, neighbours=3, cosine=True, table=Path("a.csv"))


def test_none_empties_an_optional_parameter_only() -> None:
    assert build(Everything, {"latitude": 0, "table": "none"}, "knn").table is None
    with pytest.raises(UsageError, match="latitude=none does not fit"):
        build(Everything, {"latitude": "none"}, "knn")


def test_an_unknown_name_is_answered_with_every_parameter_its_range_and_default() -> None:
    with pytest.raises(UsageError) as caught:
        build(Everything, {"latitud": "1"}, "method 'knn'")
    text = str(caught.value)
    assert "method 'knn' has no parameter 'latitud'" in text
    assert "latitude (float, -90 to 90; required)" in text
    assert "neighbours (int, 1 or more; default 10)" in text
    assert "vote (mean | median; default mean)" in text


@pytest.mark.parametrize(
    "setting",
    [
        {"latitude": "north"},
        {"latitude": "91"},
        {"latitude": "nan"},
        {"latitude": 0, "neighbours": "0"},
        {"latitude": 0, "neighbours": "2.5"},
        {"latitude": 0, "neighbours": 2.5},
        {"latitude": 0, "vote": "mode"},
        {"latitude": 0, "cosine": "perhaps"},
    ],
)
def test_a_value_that_does_not_fit_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        build(Everything, setting, "knn")


def test_a_required_parameter_must_be_set() -> None:
    with pytest.raises(UsageError, match="needs a value for 'latitude'"):
        build(Everything, {}, "knn")


def test_settings_keep_everything_after_the_first_equals_sign() -> None:
    assert parse_settings(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}


@pytest.mark.parametrize("pairs", [["a"], ["=1"], ["a=1", "a=2"]])
def test_settings_of_another_form_are_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_settings(pairs)


def test_a_type_that_cannot_be_set_from_text_is_refused_at_declaration() -> None:
    @dataclass(frozen=True)
    class Wrong:
        names: list[str] = param(())

    with pytest.raises(TypeError, match="names"):
        specs(Wrong)


def test_the_word_none_is_a_value_where_it_is_among_the_choices() -> None:
    @dataclass(frozen=True)
    class Chosen:
        kind: str | None = param(None, choices=("near", "none"))
        size: str | None = param("x")

    built = build(Chosen, {"kind": "none", "size": "none"}, "it")
    assert (built.kind, built.size) == ("none", None)


def test_without_several_values_a_grid_is_the_settings_alone() -> None:
    assert parse_grid([], Everything) == [{}]
    pairs = ["latitude=51.5", "table=a,b.csv"]
    assert parse_grid(pairs, Everything) == [parse_settings(pairs)]


def test_a_grid_has_every_combination_the_first_name_changing_last() -> None:
    grid = parse_grid(["latitude=-1,1", "vote=mean,median", "neighbours=5"], Everything)
    assert [tuple(settings.values()) for settings in grid] == [
        ("-1", "mean", "5"), ("-1", "median", "5"), ("1", "mean", "5"), ("1", "median", "5"),
    ]  # fmt: skip


def test_a_comma_belongs_to_a_text_or_a_file_and_names_given_again_have_several_values() -> None:
    @dataclass(frozen=True)
    class Lists:
        train: str = param("a,b", "datasets")
        levels: str = param("wide", "", choices=("wide", "500,100"))
        table: Path | None = param(None, "a file")

    pairs = ["train=a,b", "train=c", "levels=500,100", "table=x,y.csv"]
    grid = parse_grid(pairs, Lists)
    assert [settings["train"] for settings in grid] == ["a,b", "c"]
    assert {(settings["levels"], settings["table"]) for settings in grid} == {("500,100", "x,y.csv")}


def test_a_value_given_twice_and_a_pair_without_a_sign_are_refused() -> None:
    for pairs in (["neighbours=1,2,1"], ["neighbours=1", "neighbours=1"]):
        with pytest.raises(UsageError, match="neighbours=1 twice"):
            parse_grid(pairs, Everything)
    with pytest.raises(UsageError, match="name=value"):
        parse_grid(["neighbours"], Everything)
