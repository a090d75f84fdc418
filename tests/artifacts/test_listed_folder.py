"""A folder for the user is in place whole or not at all, and files of others in it are never touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinpoint_harness.artifacts import listed_files, new_folder
from pinpoint_harness.errors import UsageError


def write(path: Path, *, overwrite: bool = False, **files: str) -> None:
    with new_folder(path, "toy", overwrite=overwrite) as folder:
        for name, text in files.items():
            (folder / "deep").mkdir(exist_ok=True)
            (folder / "deep" / name).write_text(text)


def held(path: Path) -> dict[str, str]:
    return {str(one.relative_to(path)): one.read_text() for one in path.rglob("*") if one.is_file()}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write(tmp_path / "out", a="1", b="2")
    return tmp_path / "out"


def test_a_folder_lists_its_files_and_is_as_open_as_any_other(made: Path) -> None:
    (made.parent / "usual").mkdir()
    assert made.stat().st_mode == (made.parent / "usual").stat().st_mode  # a web server may read it
    names = [path.relative_to(made).as_posix() for path in listed_files(made, "toy")]
    assert names == ["deep/a", "deep/b", "pinpoint-toy.json"]
    assert listed_files(made, "other") == []


def test_equal_files_are_left_and_others_only_replaced_when_asked(made: Path) -> None:
    before = (made / "deep" / "a").stat().st_mtime_ns
    write(made, a="1", b="2")
    assert (made / "deep" / "a").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="holds a toy already") as refused:
        write(made, a="3")
    assert "--overwrite" in str(refused.value)
    assert held(made)["deep/a"] == "1"
    made.chmod(0o2775)
    write(made, a="3", overwrite=True)
    assert held(made).keys() == {"deep/a", "pinpoint-toy.json"}
    assert held(made)["deep/a"] == "3"
    assert made.stat().st_mode & 0o7777 == 0o2775
    assert [path.name for path in made.parent.iterdir()] == ["out"]


def test_a_page_that_was_edited_is_ours_and_an_empty_folder_nobodys(made: Path) -> None:
    (made / "deep" / "a").write_text("edited")
    with pytest.raises(UsageError, match="holds a toy already"):
        write(made, a="1", b="2")
    write(made, a="1", b="2", overwrite=True)
    assert held(made)["deep/a"] == "1"
    (empty := made.parent / "empty").mkdir()
    write(empty, a="1")
    assert held(empty)["deep/a"] == "1"


@pytest.mark.parametrize("name", ["CNAME", "deep/mine", ".git/HEAD"])
def test_a_folder_with_files_of_others_is_refused_before_any_work(made: Path, name: str) -> None:
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text("mine")
    before = held(made)
    with pytest.raises(UsageError, match="never replaced"), new_folder(made, "toy", overwrite=True):
        pytest.fail("work was begun")
    assert held(made) == before


def test_a_file_and_a_folder_without_a_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="not a folder"):
        write(tmp_path / "file", a="1", overwrite=True)
    with pytest.raises(UsageError, match="found: file"):
        write(tmp_path, a="1", overwrite=True)
    assert held(tmp_path) == {"file": "mine"}


def write_a_late_file(path: Path) -> None:
    with new_folder(path, "toy", overwrite=True) as folder:
        (folder / "a").write_text("new")
        (path / "late").write_text("mine")


def test_what_comes_into_the_folder_meanwhile_stays(made: Path) -> None:
    with pytest.raises(UsageError, match="found: late"):
        write_a_late_file(made)
    assert held(made)["late"] == "mine"
    assert held(made)["deep/a"] == "1"
    assert [path.name for path in made.parent.iterdir()] == ["out"]


def test_a_failure_leaves_what_was_there_and_nothing_else(made: Path) -> None:
    before = held(made)
    with pytest.raises(TypeError):
        write(made, a="half", b=None, overwrite=True)  # type: ignore[arg-type]
    assert held(made) == before
    assert [path.name for path in made.parent.iterdir()] == ["out"]


def test_a_list_that_names_files_elsewhere_leads_nowhere(made: Path) -> None:
    (outside := made.parent / "outside").write_text("mine")
    (made / "deep" / "link").symlink_to(outside)
    names = ["../outside", str(outside), "deep/link", "deep/a"]
    (made / "pinpoint-toy.json").write_text(json.dumps({"kind": "toy", "files": dict.fromkeys(names, "")}))
    assert [path.name for path in listed_files(made, "toy")] == ["a", "pinpoint-toy.json"]
    with pytest.raises(UsageError, match="deep/b, deep/link"):
        write(made, a="3", overwrite=True)
    assert outside.read_text() == "mine"


def test_a_link_to_a_folder_stays_a_link(made: Path) -> None:
    link = made.parent / "current"
    link.symlink_to(made)
    write(link, a="3", overwrite=True)
    assert link.is_symlink()
    assert held(made)["deep/a"] == "3"
