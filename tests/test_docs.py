"""What the documents say is what the program does."""

from __future__ import annotations

import inspect
import itertools
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import pinpoint_harness
from pinpoint_harness.cli.main import cli
from pinpoint_harness.evaluation import PROTOCOLS
from pinpoint_harness.plugins import load_registry
from pinpoint_harness.types import STATUS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), flags=re.DOTALL)


def command_lines() -> list[tuple[str, str]]:
    return [
        (document.name, line)
        for document in DOCUMENTS
        for block in blocks(document, "bash")
        for line in block.splitlines()
        if line.startswith("pinpoint ")
    ]


def test_the_readme_begins_with_the_two_commands_that_set_everything_up() -> None:
    first, second = blocks(ROOT / "README.md", "bash")[:2]
    assert first.strip().endswith("pip install -r requirements/cpu.txt && pinpoint demo")
    assert second.strip().endswith("-e test")
    assert second.strip() in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(("document", "line"), command_lines())
def test_every_command_in_the_documents_exists_with_its_options(document: str, line: str) -> None:
    """Parsed by the real command, which is then not run."""
    words = shlex.split(line, comments=True)[1:]
    while words[0].startswith("--"):  # options of the group, each with a value
        words = words[2:]
    command = cli.get_command(None, words[0])  # type: ignore[arg-type]
    assert command is not None, f"{document}: {line}"
    rest = words[1:]
    if hasattr(command, "get_command"):
        command, rest = command.get_command(None, rest[0]), rest[1:]
    assert command is not None, f"{document}: {line}"
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for word in rest if word.startswith("-")} <= known | {"--help"}, f"{document}: {line}"


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = [block for block in blocks(ROOT / "README.md", "python") if "load_dataset" in block]
    result: dict[str, object] = {}
    exec(compile(source, "README.md", "exec"), result)
    assert "truth" in result


def test_the_search_of_its_page_runs_as_written() -> None:
    (source,) = blocks(ROOT / "docs" / "search.md", "python")
    generator = np.random.default_rng(0)

    def matrix(rows: int) -> np.ndarray:
        return generator.normal(size=(rows, 16)).astype(np.float16)

    names: dict[str, Any] = {
        "ids": [f"p{n}" for n in range(50)],
        "tokens": np.arange(1, 51, dtype=np.uint64),
        "image_fp16": matrix(50),
        "raw_fp16": matrix(50),
        "query_image": matrix(3),
        "query_raw": matrix(3),
        "query_tokens": np.arange(1, 4, dtype=np.uint64),
    }
    exec(compile(source, "search.md", "exec"), names)
    assert names["found"]["image"].rows.shape == (3, 8)
    assert not (names["found"]["image"].rows.numpy() == np.arange(3)[:, None]).any()


def test_every_protocol_and_every_fate_of_a_row_is_documented() -> None:
    text = (ROOT / "docs" / "protocols.md").read_text()
    for protocol in PROTOCOLS.values():
        assert f"`{protocol.name}`" in text
        assert protocol.used_by in text
    for word in STATUS:
        assert f"`{word}`" in text


def test_every_dataset_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in load_registry().datasets:
        assert (
            f"`{name}`" in readme
            or f"`{re.sub(r'^mini-earth-(v2-)?[0-9]+/', 'mini-earth/', name)}`" in readme
        )


def test_the_table_of_methods_holds_every_one_with_its_licence_and_paper() -> None:
    text = (ROOT / "docs" / "methods.md").read_text()
    table = text[text.index("| method | paper") :].partition("\n\n")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines()]
    for name, entry in load_registry().methods.items():
        if entry.origin.trust == "built-in":
            (row,) = [cells for cells in rows if f"`{name}`" in cells[0]] or [None]
            assert row, name
            _, paper, _, licence = row
            assert licence.strip() == entry.info.licence or not entry.info.licence, name
            assert all(number in paper for number in re.findall(r"arXiv:(\d+\.\d+)", entry.info.paper)), name


def test_every_method_has_a_section_that_says_what_was_verified_and_what_it_needs() -> None:
    text = (ROOT / "docs" / "methods.md").read_text()
    sections = [part.partition("\n") for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]]
    for name, entry in load_registry().methods.items():
        if entry.origin.trust != "built-in" or entry.target.startswith("pinpoint_methods.pinpoint"):
            continue  # docs/pinpoint.md is about these
        (body,) = [body for heading, _, body in sections if f"`{name}`" in heading] or [""]
        assert "*Verified*" in body, name
        assert re.search(r"\b[Nn]eeds?\b|`pinpoint train|pinpoint train ", body), name


def test_every_function_for_users_of_the_package_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in pinpoint_harness.__all__:
        if inspect.isfunction(getattr(pinpoint_harness, name)) and name != "param":
            assert f"{name}(" in readme, name


def test_every_module_is_in_the_architecture_page() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "harness" / "pinpoint_harness"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    for name in sorted(modules | packages):
        assert f"`{name}`" in text, name


def test_rooms_stand_in_the_architecture_page_in_the_order_of_the_import_rules() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| module or room | owns |") :]
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(rule["layers"] for rule in rules if rule["containers"] == ["pinpoint_harness"])
    places = [
        [table.index(f"`{room.strip()}`") for room in layer.split("|")] for layer in layers
    ]  # from the top layer to the ground
    rooms = layers.index("artifacts | plugins | images")
    for above, below in itertools.pairwise(places[: rooms + 1]):
        assert min(above) > max(below)
    assert min(places[rooms]) > max(itertools.chain.from_iterable(places[rooms + 1 :]))


def test_every_variable_of_ours_is_in_the_page_of_the_environment() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    files = [
        path for room in ("harness", "methods", "datasets", "tests") for path in (ROOT / room).rglob("*.py")
    ]
    used = {name for path in files for name in re.findall(r"\bPINPOINT_[A-Z_]+\b", path.read_text())}
    assert used - {"PINPOINT_"} == set(re.findall(r"\bPINPOINT_[A-Z_]+\b", page))


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_version_is_the_same_everywhere() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == pinpoint_harness.__version__
    assert CliRunner().invoke(cli, ["--version"]).output.split()[-1] == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
