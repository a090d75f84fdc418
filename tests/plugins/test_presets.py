"""One class under several presets: defaults, what a user may override, and presets that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pinpoint_harness.api import evaluate
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, PluginError
from pinpoint_harness.plugins import Registry, load_registry
from pinpoint_harness.running import Run, build_method, build_params, param_specs
from pinpoint_harness.types import Context

PLUGIN = """
from dataclasses import dataclass
import numpy as np
from pinpoint_harness import MethodInfo, Predictions, hookimpl, param
from pinpoint_harness.training import StageMissingError

@dataclass(frozen=True)
class PoleParams:
    size: str = param("small", "where the other defaults come from",
                      sets={"small": {"steps": 2}, "large": {"steps": 90, "longitude": 5.0}})
    steps: int = param(1, "of the way to the pole", minimum=1)
    latitude: float = param(60.0, "where it starts", minimum=-90, maximum=90)
    longitude: float = param(0.0, "degrees east")
    trained: bool = param(False, "needs a stage")

class Pole:
    Params = PoleParams
    input = "none"
    answer_version = 1

    def __init__(self, params, context):
        if params.trained:
            raise StageMissingError("the stage 'ice' of this configuration is not there")
        self.place = params.latitude, params.longitude

    def predict(self, queries):
        return Predictions(np.full((len(queries), 2), self.place))

@hookimpl
def pinpoint_register(register):
    info = MethodInfo(title="A pole", licence="Apache-2.0", training_data="none")
    register.method("north", f"{__name__}:Pole", info, preset={"latitude": 90})
    south = {"latitude": -90.0, "size": "large", "steps": 7}
    register.method("south", f"{__name__}:Pole", info, preset=south)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "poles.py"
    file.write_text(PLUGIN)
    return file


def with_preset(plugin: Path, preset: str) -> Registry:
    plugin.write_text(PLUGIN.replace('{"latitude": 90}', preset))
    return load_registry([str(plugin)])


def pinpoint(plugin: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--plugin", str(plugin), *words], prog_name="pinpoint")


def shown(plugin: Path, *words: str) -> dict[str, Any]:
    facts = json.loads(pinpoint(plugin, "methods", "show", *words, "--json").output)
    return {item["name"]: item["default"] for item in facts["parameters"]} | {"preset": facts["preset"]}


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("north", {}, ("small", 2, 90.0, 0.0)),
        ("north", {"size": "large"}, ("large", 90, 90.0, 5.0)),
        ("north", {"latitude": "12", "size": "large", "steps": "3"}, ("large", 3, 12.0, 5.0)),
        ("south", {}, ("large", 7, -90.0, 5.0)),
        ("south", {"size": "small"}, ("small", 7, -90.0, 0.0)),
    ],
)
def test_a_user_s_setting_lies_over_the_preset_and_that_over_the_defaults(
    method: str, settings: dict[str, Any], expected: tuple[Any, ...], plugin: Path
) -> None:
    params = build_params(load_registry([str(plugin)]).method(method), settings)
    assert (params.size, params.steps, params.latitude, params.longitude) == expected
    assert isinstance(params.latitude, float)


def test_equal_configurations_have_one_key_and_a_title_says_what_differs_from_the_preset(
    plugin: Path, tmp_path: Path
) -> None:
    registry = load_registry([str(plugin)])

    def run(method: str, **settings: Any) -> Run:
        return evaluate(method, "capitals", parameters=settings, limit=2, home=tmp_path, registry=registry)

    north, south, moved = run("north"), run("south"), run("south", latitude=90, size="small", steps=2)
    assert (north.title, south.title) == ("north", "south")
    assert moved.title == "south (latitude=90.0, size=small, steps=2)"
    assert north.folder.name == moved.folder.name != south.folder.name


def test_show_prints_the_defaults_under_the_preset_and_the_settings(plugin: Path) -> None:
    assert shown(plugin, "north") == {
        "size": "small",
        "steps": "2",
        "latitude": "90.0",
        "longitude": "0.0",
        "trained": "False",
        "preset": {"latitude": "90"},
    }
    large = shown(plugin, "north", "--set", "size=large")
    assert (large["steps"], large["longitude"], large["latitude"]) == ("90", "5.0", "90.0")
    text = pinpoint(plugin, "methods", "show", "south").output
    assert "latitude=-90.0, size=large, steps=7" in text
    assert "steps (int, 1 or more; default 7)" in text
    refused = pinpoint(plugin, "methods", "show", "south", "--set", "size=huge")
    assert refused.exit_code == 2
    assert "size=huge does not fit" in refused.output


@pytest.mark.parametrize(
    ("preset", "reason"),
    [
        ('{"lattitude": 90.0}', "no parameter 'lattitude'"),
        ('{"latitude": "90"}', "found: str"),
        ('{"latitude": True}', "found: bool"),
        ('{"latitude": 91.0}', "-90 to 90"),
        ('{"steps": 2.0}', "found: float"),
        ('{"steps": None}', "found: NoneType"),
        ('{"trained": 1}', "found: int"),
        ('{"size": "huge"}', "small | large"),
    ],
)
def test_a_preset_that_does_not_fit_is_refused_when_the_method_is_used(
    preset: str, reason: str, plugin: Path
) -> None:
    registry = with_preset(plugin, preset)
    build_params(registry.method("south"), {})
    with pytest.raises(PluginError) as refused:
        build_params(registry.method("north"), {})
    (name,) = eval(preset)
    for word in ("poles.py", f"presets {name}=", "method 'north'", reason):
        assert word in str(refused.value)
    assert "FAILED  parameters" in pinpoint(plugin, "methods", "check", "north").output


@pytest.mark.parametrize("preset", ['[("latitude", 90.0)]', "{1: 2}"])
def test_a_preset_of_another_form_is_refused_when_it_is_registered(preset: str, plugin: Path) -> None:
    with pytest.raises(PluginError, match=r"poles\.py registers method 'north' with preset"):
        with_preset(plugin, preset)


def test_each_preset_keeps_the_contract(plugin: Path) -> None:
    for name in ("north", "south"):
        checked = pinpoint(plugin, "methods", "check", name)
        assert checked.exit_code == 0, checked.output


def test_a_missing_stage_is_refused_with_the_command_that_trains_this_preset(plugin: Path) -> None:
    entry = load_registry([str(plugin)]).method("south")
    params = build_params(entry, {"trained": True, "steps": 9})
    with pytest.raises(ArtifactError) as refused:
        build_method(entry, params, Context())
    assert refused.value.fix == "pinpoint train south --set steps=9 --set trained=True"


def test_a_choice_that_sets_what_is_no_parameter_is_refused(plugin: Path) -> None:
    plugin.write_text(PLUGIN.replace('{"steps": 2}', '{"strides": 2}'))
    with pytest.raises(TypeError, match="size=small sets 'strides'"):
        build_params(load_registry([str(plugin)]).method("north"), {})
    assert "no parameter" in pinpoint(plugin, "methods", "check", "north").output


@pytest.mark.parametrize("size", ["mini", "full"])
def test_every_variant_of_pinpoint_has_a_known_default_for_every_parameter(size: str) -> None:
    registry = load_registry([])
    variants = [name for name in registry.methods if name.startswith("pinpoint")]
    assert len(variants) == 21
    for name in variants:
        listed = param_specs(registry.method(name), {"config": size})
        assert [spec.name for spec in listed if spec.default is None] == ["models"]
        assert all(spec.has_type(spec.default) for spec in listed)
    widths = {spec.name: spec.default for spec in listed}
    assert widths["hidden"] == {"mini": 256, "full": 2048}[size]
