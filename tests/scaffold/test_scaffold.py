"""`methods new` and `datasets new`: a plugin that works as it is, and nothing written where it should not."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness.cli.main import cli
from pinpoint_harness.cli.new import KINDS as OFFERED
from pinpoint_harness.errors import ArtifactError, DataError, UsageError
from pinpoint_harness.params import specs
from pinpoint_harness.plugins import NAME_PATTERN, Registry, load_registry
from pinpoint_harness.scaffold import COMMANDS, FILES, Kind, MethodKind, Names, new_plugin
from pinpoint_harness.testing import registered_by

KINDS: tuple[Kind, ...] = get_args(Kind)
METHOD_KINDS: tuple[MethodKind, ...] = get_args(MethodKind)
TRICKY = ["north-pole", "3d", "none", "acme/v1.5", "method-info", "truth-spec", "a..", "class_", "json"]
PEP_508 = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules that a test imports are forgotten after it."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("pinpoint_", "test_pinpoint_")) and not name.startswith("pinpoint_harness"):
            del sys.modules[name]


def import_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """The plugin's module, and that of its test."""
    monkeypatch.syspath_prepend(str(folder / "tests"))
    monkeypatch.syspath_prepend(str(folder))
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pinpoint"].values()
    return importlib.import_module(module), importlib.import_module(f"test_{module}")


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("name", TRICKY)
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_registers_its_name_and_its_own_test_passes(
    kind: Kind, name: str, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, test = import_plugin(new_plugin(kind, name, tmp_path, registry), monkeypatch)
    registered = registered_by(plugin)
    entries = registered.methods if kind == "method" else registered.datasets
    assert list(entries) == [name]
    (check,) = [value for key, value in vars(test).items() if key.startswith("test_")]
    check()


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("method_kind", METHOD_KINDS[1:])
def test_a_new_method_of_every_kind_keeps_the_contract(
    method_kind: MethodKind, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_plugin("method", "mine", tmp_path, registry, method_kind)
    plugin, test = import_plugin(folder, monkeypatch)
    test.test_the_method_keeps_the_contract()
    looks_at = registered_by(plugin).method("mine").load()
    assert (getattr(looks_at, "input", "") == "image") == (method_kind == "image")
    assert hasattr(looks_at, "stages") == (method_kind == "trained")
    assert COMMANDS[method_kind].replace("$name", "mine") in (folder / "README.md").read_text()


def test_every_kind_of_method_can_be_asked_for(tmp_path: Path) -> None:
    assert OFFERED == METHOD_KINDS
    command = ["methods", "new", "mine", "--kind", "retrieval", "--out", str(tmp_path)]
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert "PhotoGallery.open" in (tmp_path / "pinpoint-mine" / "pinpoint_mine.py").read_text()
    refused = CliRunner().invoke(cli, ["datasets", "new", "mine", "--kind", "none"])
    assert "No such option" in refused.stderr


@pytest.mark.usefixtures("imported")
def test_the_test_of_a_new_method_notices_a_broken_contract(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_plugin("method", "north-pole", tmp_path, registry)
    file = folder / "pinpoint_north_pole.py"
    file.write_text(file.read_text().replace("(len(queries), 1)", "(len(queries), 2)"))
    _, test = import_plugin(folder, monkeypatch)
    with pytest.raises(AssertionError, match=r"answers: [\s\S]*shape \(16, 4\)"):
        test.test_the_method_keeps_the_contract()


@pytest.mark.usefixtures("imported")
def test_the_test_of_a_new_dataset_notices_a_missing_row(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_plugin("dataset", "my-places", tmp_path, registry)
    table = folder / "pinpoint_my_places" / "truth.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    _, test = import_plugin(folder, monkeypatch)
    with pytest.raises(AssertionError):
        test.test_every_photo_has_a_place_and_an_id_of_its_own()
    table.write_text("image,latitude,longitude\n" + "".join(f"{n}.jpg,{n},{n}\n" for n in range(7)))
    with pytest.raises(DataError, match="expected_rows=7"):
        test.test_every_photo_has_a_place_and_an_id_of_its_own()


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    name=st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda n: len(n) < 60),
)
def test_any_name_a_registry_takes_gives_files_that_fit_together(kind: Kind, name: str) -> None:
    names = Names.of(kind, name)
    with tempfile.TemporaryDirectory() as place:
        folder = new_plugin(kind, name, Path(place), Registry())
        assert folder == Path(place, names.distribution)
        written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert written == {target.format(module=names.module) for target in FILES[kind].values()}
        sources = [path.read_text() for path in folder.rglob("*.py")]
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    for source in sources:
        compile(source, name, "exec")
    assert f"class {names.class_name}" in "".join(sources)
    assert PEP_508.fullmatch(project["name"])
    assert list(project["entry-points"]["pinpoint"].values()) == [names.module]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/etc/x", "a/../b", "a//b", "a/b/c", "~x", "North", "a b", "a\n", "-x", "ü"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_no_registry_takes_writes_nothing(kind: Kind, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        new_plugin(kind, name, tmp_path / "inside", Registry())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("method", "constant", "registered by pinpoint_methods"),
        ("dataset", "capitals", "registered by pinpoint_datasets"),
        ("method", "geo", "the package pinpoint-geo, which is installed already"),
        ("dataset", "harness", "the package pinpoint-harness, which is installed already"),
    ],
)
def test_a_name_that_is_taken_writes_nothing(
    kind: Kind, name: str, found: str, tmp_path: Path, registry: Registry
) -> None:
    with pytest.raises(UsageError, match=found):
        new_plugin(kind, name, tmp_path, registry)
    assert list(tmp_path.iterdir()) == []


def test_whatever_stands_at_the_place_of_the_folder_stays_as_it_is(tmp_path: Path) -> None:
    for name, make in (
        ("folder", Path.mkdir),
        ("file", Path.touch),
        ("link", lambda path: path.symlink_to("nowhere")),
    ):
        make(tmp_path / f"pinpoint-{name}")
        with pytest.raises(UsageError, match=r"exists already[\s\S]*--out"):
            new_plugin("method", name, tmp_path, Registry())
    assert list((tmp_path / "pinpoint-folder").iterdir()) == []
    assert not (tmp_path / "nowhere").exists()


def test_a_plugin_that_cannot_be_written_leaves_no_half_of_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot write the plugin"):
        new_plugin("method", "a" * 240, tmp_path, Registry())  # its test's file name has 257 characters
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot make the folder"):
        new_plugin("method", "mine", tmp_path / "file", Registry())


def test_every_template_is_used_and_every_placeholder_filled(tmp_path: Path) -> None:
    templates = Path(importlib.import_module("pinpoint_harness.scaffold").__file__ or "").parent / "templates"
    for kind in KINDS:
        used = {file.format(method_kind=one) for file in FILES[kind] for one in METHOD_KINDS}
        assert {path.name for path in (templates / kind).iterdir()} == used
    wanted = [("dataset", "none"), *(("method", one) for one in METHOD_KINDS)]
    for kind, method_kind in wanted:
        folder = new_plugin(kind, "mine", tmp_path / kind / method_kind, Registry(), method_kind)
        for path in folder.rglob("*.*"):
            assert "$" not in path.read_text()
            assert path.read_text().endswith("\n")
            assert max(map(len, path.read_text().splitlines())) <= 88  # ruff's and Black's default


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_builds_with_the_setuptools_of_older_pythons(kind: Kind, tmp_path: Path) -> None:
    """77 is the first to read a licence by its SPDX name, 64 the first with editable installs."""
    project = tomllib.loads((new_plugin(kind, "mine", tmp_path, Registry()) / "pyproject.toml").read_text())
    assert project["build-system"]["requires"] == ["setuptools>=64"]
    assert "license" not in project["project"]


@pytest.mark.usefixtures("imported")
def test_the_parameters_of_a_new_method_have_help_and_ranges(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, _ = import_plugin(new_plugin("method", "north-pole", tmp_path, registry), monkeypatch)
    for spec in specs(registered_by(plugin).method("north-pole").load().Params):
        assert spec.help
        assert spec.minimum is not None


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_where_the_plugin_is_and_what_comes_next(kind: Kind, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, [f"{kind}s", "new", "mine", "--out", str(tmp_path / "my plugins")])
    folder = tmp_path / "my plugins" / "pinpoint-mine"
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{folder}\nnext: pip install -e '{folder}'\n"
    assert (folder / "README.md").exists()
    again = CliRunner().invoke(cli, [f"{kind}s", "new", "mine", "--out", str(tmp_path / "my plugins")])
    assert again.exit_code == 2
    assert "exists already" in again.stderr
