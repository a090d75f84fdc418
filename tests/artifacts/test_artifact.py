"""Folders of work: whole files or none, one key per content, refusal of what cannot be trusted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint_harness.artifacts import (
    Artifact,
    append_line,
    canonical_json,
    check_files,
    damaged_files,
    safe_name,
    spec_key,
    write_atomic,
)
from pinpoint_harness.artifacts import artifact as artifacts
from pinpoint_harness.artifacts.files import write_first
from pinpoint_harness.artifacts.integrity import SMALL_BYTES
from pinpoint_harness.errors import ArtifactError

RECIPE = {"method": "m:M", "seed": 0}


def finished(parent: Path) -> Artifact:
    artifact = Artifact.begin(parent, "run", RECIPE)
    artifact.finish({"answers.bin": b"answers", "run.json": b"{}"})
    return artifact


def test_a_key_depends_on_content_and_not_on_order() -> None:
    assert spec_key("run", {"a": 1, "b": 2}) == spec_key("run", {"b": 2, "a": 1})
    assert spec_key("run", {"a": 1}) != spec_key("run", {"a": 2})
    assert spec_key("run", {"a": 1}) != spec_key("store", {"a": 1})


def test_a_recipe_with_nan_has_no_key() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        spec_key("run", {"a": float("nan")})


def test_a_finished_artifact_is_complete_and_holds_only_its_files(tmp_path: Path) -> None:
    artifact = finished(tmp_path)
    names = sorted(path.name for path in artifact.folder.iterdir())
    assert names == [".lock", "answers.bin", "manifest.json", "run.json"]
    assert Artifact.begin(tmp_path, "run", RECIPE).complete
    assert damaged_files(artifact.folder) == {}


def test_the_manifest_names_recipe_versions_and_the_hash_of_every_file(tmp_path: Path) -> None:
    manifest = json.loads((finished(tmp_path).folder / "manifest.json").read_bytes())
    assert manifest["recipe"] == RECIPE
    assert manifest["versions"]["numpy"]
    assert manifest["files"]["answers.bin"] == {
        "sha256": hashlib.sha256(b"answers").hexdigest(),
        "bytes": 7,
    }


def test_a_changed_file_and_a_missing_file_are_found(tmp_path: Path) -> None:
    artifact = finished(tmp_path)
    (artifact.folder / "answers.bin").write_bytes(b"Answers")
    assert damaged_files(artifact.folder) == {"answers.bin": "changed"}
    (artifact.folder / "answers.bin").unlink()
    assert damaged_files(artifact.folder) == {"answers.bin": "missing"}


def test_shards_are_seen_again_after_a_restart_and_half_written_ones_are_not(tmp_path: Path) -> None:
    artifact = Artifact.begin(tmp_path, "run", RECIPE)
    with artifact.work():
        artifact.write_shard(3, ".bin", b"three")
        artifact.shard_path(4, ".bin.123.tmp").write_bytes(b"fo")
    assert Artifact.begin(tmp_path, "run", RECIPE).finished_shards(".bin") == {3}


def test_resuming_under_other_versions_is_refused_until_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Artifact.begin(tmp_path, "run", RECIPE)
    with artifact.work():
        artifact.write_shard(0, ".bin", b"zero")
    monkeypatch.setattr(artifacts, "library_versions", lambda: {"numpy": "0.1"})
    refused = pytest.raises(ArtifactError, match=r"numpy .* -> 0\.1[\s\S]*--fresh")
    with refused, Artifact.begin(tmp_path, "run", RECIPE).work():
        pass
    again = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    with again.work():
        assert again.finished_shards(".bin") == set()


def test_a_folder_that_holds_another_recipe_is_refused(tmp_path: Path) -> None:
    artifact = finished(tmp_path)
    manifest = artifact.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(artifact.key.encode(), b"0" * 64))
    with pytest.raises(ArtifactError, match="holds something else"):
        Artifact.begin(tmp_path, "run", RECIPE)


def test_a_changed_file_is_refused_when_the_folder_is_opened(tmp_path: Path) -> None:
    artifact = finished(tmp_path)
    (artifact.folder / "answers.bin").write_bytes(b"Answers")
    with pytest.raises(ArtifactError, match=r"damaged[\s\S]*answers.bin is changed[\s\S]*--fresh"):
        Artifact.begin(tmp_path, "run", RECIPE)


def test_a_large_file_is_read_only_where_it_was_changed_after_the_manifest(tmp_path: Path) -> None:
    artifact = Artifact.begin(tmp_path, "run", RECIPE)
    artifact.finish({"large.bin": bytes(SMALL_BYTES + 1)})
    large = artifact.folder / "large.bin"
    written = large.stat().st_mtime_ns
    with large.open("r+b") as stream:
        stream.write(b"x")
    later = (artifact.folder / "manifest.json").stat().st_mtime_ns + 10**9
    os.utime(large, ns=(later, later))
    with pytest.raises(ArtifactError, match=r"large.bin is changed"):
        check_files(artifact.folder)
    os.utime(large, ns=(written, written))
    check_files(artifact.folder)
    assert damaged_files(artifact.folder) == {"large.bin": "changed"}


def test_a_shard_that_was_changed_is_made_again_and_so_are_its_companions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = Artifact.begin(tmp_path, "run", RECIPE)
    with artifact.work():
        for number in range(3):
            artifact.write_shard(number, ".notes", b"notes")
            artifact.write_shard(number, ".bin", b"three")
        artifact.shard_path(1, ".notes").write_bytes(b"Notes")
    again = Artifact.begin(tmp_path, "run", RECIPE)
    assert again.finished_shards(".bin") == {0, 2}
    assert "000001.notes' is not as it was written" in caplog.text
    assert not artifact.shard_path(1, ".bin").exists()


def test_what_is_made_anew_takes_the_place_of_the_old_when_it_is_whole(tmp_path: Path) -> None:
    old = finished(tmp_path)
    (old.folder / "scores").mkdir()
    fresh = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    assert not fresh.complete
    with fresh.work():
        fresh.write_shard(0, ".bin", b"x")
        assert damaged_files(old.folder) == {}
        assert Artifact.begin(tmp_path, "run", RECIPE).complete  # meanwhile
    fresh.finish({"answers.bin": b"new", "run.json": b"{}"})
    assert fresh.complete
    assert (old.folder / "answers.bin").read_bytes() == b"new"
    assert damaged_files(old.folder) == {}
    assert not {"fresh", "scores", "shards"} & {path.name for path in old.folder.iterdir()}


def test_what_fails_to_be_made_anew_leaves_the_old(tmp_path: Path) -> None:
    old = finished(tmp_path)
    fresh = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    with pytest.raises(RuntimeError), fresh.work():
        raise RuntimeError
    del fresh
    assert Artifact.begin(tmp_path, "run", RECIPE).complete
    assert (old.folder / "answers.bin").read_bytes() == b"answers"
    again = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    assert again.finished_shards(".bin") == set()


@pytest.mark.parametrize("renames", range(3))
def test_a_kill_while_the_new_takes_its_place_loses_nothing(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path)
    fresh = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    swapping = type(fresh)._swap
    replace, left = Path.replace, [renames]

    def killed(path: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return replace(path, target)

    def swap(artifact: Artifact) -> None:
        monkeypatch.setattr(Path, "replace", killed)
        swapping(artifact)

    monkeypatch.setattr(type(fresh), "_swap", swap)
    with pytest.raises(KeyboardInterrupt):
        fresh.finish({"answers.bin": b"new", "run.json": b"{}"})
    monkeypatch.undo()
    again = Artifact.begin(tmp_path, "run", RECIPE)
    assert again.complete
    assert (again.folder / "answers.bin").read_bytes() == b"new"
    assert damaged_files(again.folder) == {}


def test_one_that_is_begun_anew_meanwhile_does_not_stand_for_what_another_has_finished(
    tmp_path: Path,
) -> None:
    """Of two at the same the first puts it in place; before the second does, a third begins."""
    first, second = (Artifact.begin(tmp_path, "run", RECIPE, fresh=True) for _ in range(2))
    for artifact in (first, second):
        with artifact.work():
            artifact.write_shard(0, ".bin", b"x")
    part = second.shard_path(0, ".bin")
    first.finish({"answers.bin": b"x"})
    third = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    assert second.complete
    second.finish(lambda: {"answers.bin": part.read_bytes()})
    assert not third.complete
    assert (third.folder / "answers.bin").read_bytes() == b"x"
    assert damaged_files(third.folder) == {}


def test_scores_written_while_the_new_takes_its_place_do_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = finished(tmp_path)
    (old.folder / "scores").mkdir()
    (old.folder / "scores" / "a.json").write_bytes(b"{}")
    fresh = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    rmdir = os.rmdir

    def written_meanwhile(path: str, **given: Any) -> None:
        with contextlib.suppress(FileNotFoundError):
            (old.folder / "scores" / "b.json").write_bytes(b"{}")
        rmdir(path, **given)

    monkeypatch.setattr(os, "rmdir", written_meanwhile)
    fresh.finish({"answers.bin": b"new", "run.json": b"{}"})
    assert (old.folder / "answers.bin").read_bytes() == b"new"
    assert damaged_files(old.folder) == {}


def test_what_a_kill_left_of_a_score_is_removed_when_nobody_is_at_work(tmp_path: Path) -> None:
    left = finished(tmp_path).folder / "scores" / "wgs84-lt.json.host-1-00.tmp"
    left.parent.mkdir()
    left.write_bytes(b"{")
    with Artifact.begin(tmp_path, "run", RECIPE, fresh=True).work():
        Artifact.begin(tmp_path, "run", RECIPE)
        assert left.exists()
    Artifact.begin(tmp_path, "run", RECIPE)
    assert not left.exists()


def test_what_was_made_beside_a_killed_swap_is_finished_by_the_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Artifact.begin(tmp_path, "run", RECIPE)
    with plain.work():
        plain.write_shard(0, ".bin", b"x")
    fresh = Artifact.begin(tmp_path, "run", RECIPE, fresh=True)
    monkeypatch.setattr(artifacts, "flush_folder", lambda folder: None)
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == "manifest.json":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        fresh.finish({"answers.bin": b"x"})
    monkeypatch.undo()
    assert not plain.complete
    plain.finish(lambda: {"answers.bin": plain.shard_path(0, ".bin").read_bytes()})
    assert plain.complete
    assert damaged_files(plain.folder) == {}


STARTS = """
import sys
from pathlib import Path
from pinpoint_harness.artifacts import Artifact
spec = {"method": "m:M", "seed": 0}
artifact = Artifact.begin(Path(sys.argv[1]), "run", spec, fresh=sys.argv[2] == "fresh")
if not artifact.complete:
    with artifact.work():
        for number in range(8):
            if number not in artifact.finished_shards(".bin"):
                artifact.write_shard(number, ".bin", bytes([number]))
    parts = [artifact.shard_path(number, ".bin") for number in range(8)]
    artifact.finish({"answers.bin": lambda stream: [stream.write(part.read_bytes()) for part in parts]})
"""


def test_starts_at_once_with_and_without_fresh_lose_nothing(tmp_path: Path) -> None:
    for _ in range(3):
        running = [
            subprocess.Popen([sys.executable, "-c", STARTS, str(tmp_path), how], stderr=subprocess.PIPE)
            for how in ("fresh", "", "fresh", "")
        ]
        assert [process.communicate()[1] for process in running] == [b""] * 4
        (folder,) = tmp_path.iterdir()
        assert (folder / "answers.bin").read_bytes() == bytes(range(8))
        assert damaged_files(folder) == {}
        assert not (folder / "fresh").exists()


def test_a_finished_folder_can_be_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path)

    def refused(*given: Any, **options: Any) -> Any:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("mkdir", "write_bytes", "touch", "unlink", "replace"):
        monkeypatch.setattr(Path, name, refused)
    for name in ("utime", "link"):
        monkeypatch.setattr(os, name, refused)
    assert Artifact.begin(tmp_path, "run", RECIPE).complete


def test_two_processes_of_one_number_write_beside_each_other(tmp_path: Path) -> None:
    """As in two containers that share a folder: one file being written is not the other's."""

    def outer(stream: Any) -> None:
        stream.write(b"one ")
        write_atomic(tmp_path / "file", b"two")
        stream.write(b"two three")

    write_atomic(tmp_path / "file", outer)
    assert (tmp_path / "file").read_bytes() == b"one two three"
    write_first(tmp_path / "file", b"never")
    assert (tmp_path / "file").read_bytes() == b"one two three"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_reported_and_leaves_neither_file_nor_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(tmp_path / "kept", b"before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for name in ("kept", "new"):
        with pytest.raises(ArtifactError, match=f"cannot write '.*{name}'[\\s\\S]*No space left on device"):
            write_atomic(tmp_path / name, b"after")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"before"}


def test_a_place_that_cannot_be_written_is_refused_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="results cannot be saved"):
        Artifact.begin(tmp_path / "file" / "below", "run", RECIPE)


def test_a_torn_log_line_is_closed_before_the_next(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'{"a": 1}\n{"b')
    append_line(log, '{"c": 3}')
    assert log.read_bytes() == b'{"a": 1}\n{"b\n{"c": 3}\n'


@given(st.text(min_size=1))
def test_no_name_leaves_its_folder(name: str) -> None:
    try:
        safe = safe_name(name)
    except ArtifactError:
        return
    assert "/" not in safe
    assert "\\" not in safe
    assert "\0" not in safe
    assert safe not in ("", ".", "..")
    assert len(safe.encode()) <= 255


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans(), st.none())))
def test_canonical_json_reads_back_what_was_written(value: dict[str, Any]) -> None:
    assert json.loads(canonical_json(value)) == value
