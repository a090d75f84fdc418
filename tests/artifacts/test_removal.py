"""What is taken for an artifact, and what removing one leaves."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.artifacts.removal import find_artifacts, readable, recognise, remove, size_of
from pinpoint_harness.errors import ArtifactError


def begun(parent: Path, seed: int = 0) -> Artifact:
    parent.mkdir(parents=True, exist_ok=True)
    artifact = Artifact.begin(parent, "run", {"seed": seed})
    with artifact.work():
        artifact.shard_path(0, ".x").write_bytes(b"12345")
    return artifact


def finished(parent: Path, seed: int = 0) -> Artifact:
    artifact = begun(parent, seed)
    artifact.finish({"run.json": b"{}"})
    return artifact


def test_finished_and_unfinished_artifacts_are_found_wherever_they_lie(tmp_path: Path) -> None:
    one = finished(tmp_path / "dataset" / "label")
    two = begun(tmp_path / "dataset" / "pixels" / "perceptual-hash", seed=1)
    early = Artifact.begin(tmp_path / "dataset" / "label", "run", {"seed": 2})
    found = {item.path: (item.kind, item.state) for item in find_artifacts(tmp_path)}
    assert found == {
        one.folder: ("run", "finished"),
        two.folder: ("run", "unfinished"),
        early.folder: ("unknown", "unfinished"),
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: folder.rename(folder.with_name("my-run")),
        lambda folder: folder.rename(folder.with_name("0123456789abcdef")),
        lambda folder: (folder / "manifest.json").write_text("no json"),
        lambda folder: (folder / "manifest.json").write_text(json.dumps({"key": "f" * 64})),
        lambda folder: (folder / "manifest.json").unlink(),
    ],
    ids=["named otherwise", "of another key", "damaged", "with another's manifest", "without a manifest"],
)
def test_a_folder_that_is_not_what_its_name_says_is_left_alone(tmp_path: Path, spoil: object) -> None:
    artifact = finished(tmp_path)
    (artifact.folder / "notes.txt").write_text("mine")
    spoil(artifact.folder)  # type: ignore[operator]
    assert list(find_artifacts(tmp_path)) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    artifact = finished(tmp_path / "elsewhere")
    root = tmp_path / "root"
    root.mkdir()
    (root / "dataset").symlink_to(tmp_path / "elsewhere")
    (root / artifact.folder.name).symlink_to(artifact.folder)
    assert list(find_artifacts(root)) == []


def test_removing_takes_the_folder_and_empty_ones_above_it_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    gone, kept = finished(root / "a" / "label"), finished(root / "b" / "label")
    (root / "b" / "notes.txt").write_text("mine")
    for artifact in (gone, kept):
        item = recognise(artifact.folder)
        assert item is not None
        remove(item, root)
    assert not (root / "a").exists()
    assert [path.name for path in (root / "b").iterdir()] == ["notes.txt"]
    again = recognise(finished(tmp_path / "c" / "label").folder)
    assert again is not None
    remove(again, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert tmp_path.exists()


def test_what_a_killed_removal_has_left_is_removed_the_next_time(tmp_path: Path) -> None:
    artifact = finished(tmp_path)
    left = artifact.folder.with_name(artifact.folder.name + ".removed")
    artifact.folder.rename(left)
    (left / "manifest.json").unlink()
    finished(tmp_path)  # made again meanwhile
    for item in list(find_artifacts(tmp_path)):
        remove(item, tmp_path / "no root")
    assert list(tmp_path.iterdir()) == []


def test_a_running_process_keeps_its_artifact(tmp_path: Path) -> None:
    artifact = begun(tmp_path)
    with artifact.work():
        item = recognise(artifact.folder)
        assert item is not None
        assert item.state == "in use"
        with pytest.raises(ArtifactError, match="in use by a running process"):
            remove(item, tmp_path)
        assert artifact.shard_path(0, ".x").exists()
    item = recognise(artifact.folder)
    assert item is not None
    assert item.state == "unfinished"
    descriptor = os.open(artifact.folder / ".lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # looking has not kept the lock
    os.close(descriptor)


def test_sizes_are_those_of_the_files_and_of_large_folders_a_bound(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}").write_bytes(b"x" * 1000)
    (tmp_path / "link").symlink_to(tmp_path / "0")
    total, whole = size_of(tmp_path)
    assert whole
    assert 4000 <= total < 4500
    assert size_of(tmp_path, most_files=2)[1] is False
    assert size_of(tmp_path / "0") == (1000, True)
    assert size_of(tmp_path / "nowhere") == (0, True)
    assert readable(1_530_000) == "1.53MB"
