"""The notebook: a valid one, without outputs, whose every cell runs and shows something where it should."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[1] / "docs" / "tour.ipynb"


def shown(value: Any) -> str:
    """What a notebook shows of a value: its best form."""
    for name in ("_repr_png_", "_repr_html_"):
        if hasattr(value, name):
            found = getattr(value, name)()
            assert found
            return name
    return repr(value)


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell and give the value of its last line, if that is an expression."""
    parsed = ast.parse(source)
    last = parsed.body.pop() if isinstance(parsed.body[-1], ast.Expr) else None
    exec(compile(parsed, PATH.name, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), PATH.name, "eval"), names)


def test_the_notebook_is_one_that_was_never_run() -> None:
    notebook = json.loads(PATH.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
    assert str(Path.home()) not in PATH.read_text()


def test_every_cell_of_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path / "home"))
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = json.loads(PATH.read_text())["cells"]
    forms = [shown(run_cell("".join(cell["source"]), names)) for cell in cells if cell["cell_type"] == "code"]
    assert forms.count("_repr_png_") == 2
    assert forms.count("_repr_html_") == 7
    assert os.environ["PINPOINT_HOME"] == str(tmp_path / "home")
    printed = capsys.readouterr().out
    assert "latitude takes float, -90 to 90" in printed
    assert 'train("regression", parameters={"hidden": 128})' in printed


def test_links_of_the_notebook_lead_somewhere() -> None:
    text = "".join(line for cell in json.loads(PATH.read_text())["cells"] for line in cell["source"])
    targets = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert targets
    for target in targets:
        assert (PATH.parent / target).exists(), target
