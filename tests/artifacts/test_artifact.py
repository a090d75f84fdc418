"""Folders of work: whole files or none, one key per content, refusal of what cannot be trusted."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint_harness.artifacts import (
    Artifact,
    append_line,
    canonical_json,
    damaged_files,
    safe_name,
    spec_key,
    write_atomic,
)
from pinpoint_harness.artifacts import artifact as artifacts
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
        write_atomic(artifact.shard_path(3, ".bin"), b"three")
        artifact.shard_path(4, ".bin.123.tmp").write_bytes(b"fo")
    assert Artifact.begin(tmp_path, "run", RECIPE).finished_shards(".bin") == {3}


def test_resuming_under_other_versions_is_refused_until_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Artifact.begin(tmp_path, "run", RECIPE)
    with artifact.work():
        write_atomic(artifact.shard_path(0, ".bin"), b"zero")
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
