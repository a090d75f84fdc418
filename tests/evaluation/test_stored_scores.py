"""A stored score is of certain answers: of others, another run or another protocol it is not believed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pinpoint_harness.api import evaluate
from pinpoint_harness.artifacts import canonical_json, file_sha256, own_sha256
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError
from pinpoint_harness.evaluation import score_files, score_run
from pinpoint_harness.running import Run


def capitals_run(home: Path, latitude: float = 48.9) -> Run:
    return evaluate("constant", "capitals", home=home, parameters={"latitude": latitude, "longitude": 2.3})


def answer_otherwise(folder: Path) -> None:
    """Other answers under the same key, as another machine may give."""
    path = folder / "predictions.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("predicted_latitude")
    elsewhere = pa.array([-60.0] * len(table), table.schema.field(at).type)
    pq.write_table(table.set_column(at, table.schema.field(at), elsewhere), path)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][path.name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    (folder / "manifest.json").write_bytes(canonical_json(manifest | {"sha256": own_sha256(manifest)}))


def edited(path: Path, **fields: object) -> None:
    """A score whose fields were replaced, a field of None dropped, with a checksum that fits."""
    stored = json.loads(path.read_bytes()) | fields
    stored = {name: value for name, value in stored.items() if name != "sha256" and value is not None}
    path.write_bytes(canonical_json({**stored, "sha256": own_sha256(stored)}, sort_keys=False))


def invoked(home: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--home", str(home)])


def assert_made_again(home: Path, run: Run, path: Path, how: str) -> None:
    """Verify names it, what is printed is measured anew, and verify has nothing to name then."""
    told = invoked(home, "runs", "verify", str(run.folder))
    assert (told.exit_code, told.stdout.splitlines()[0]) == (1, f"{how}: {path}")
    assert "measures it again" in told.stderr
    stale = path.read_bytes()
    printed = score_run(run, "wgs84-lt")
    assert path.read_bytes() != stale
    path.unlink()
    assert score_run(run, "wgs84-lt") == printed
    assert invoked(home, "runs", "verify", str(run.folder)).exit_code == 0


def test_a_score_is_made_again_where_a_run_with_other_answers_was_copied_over_it(tmp_path: Path) -> None:
    run, theirs = capitals_run(tmp_path / "mine"), capitals_run(tmp_path / "theirs")
    before = score_run(run, "wgs84-lt")
    answer_otherwise(theirs.folder)
    shutil.copytree(theirs.folder, run.folder, dirs_exist_ok=True)
    path = run.folder / "scores" / "wgs84-lt.json"
    assert_made_again(tmp_path / "mine", run, path, "of other answers")
    assert score_run(run, "wgs84-lt") != before


def test_a_score_below_the_home_is_made_again_where_another_persons_run_was_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = capitals_run(tmp_path / "theirs"), tmp_path / "mine"
    write = score_files.write_atomic

    def refuses(path: Path, data: bytes) -> object:
        if path.is_relative_to(tmp_path / "theirs"):
            raise ArtifactError(f"cannot write '{path}'", found="Read-only file system")
        return write(path, data)

    monkeypatch.setattr(score_files, "write_atomic", refuses)
    score = ["score", str(theirs.folder), "--protocol", "haversine-6371-le"]
    before = invoked(mine, *score).stdout
    (path,) = mine.glob("scores/capitals/constant/*/haversine-6371-le.json")
    answer_otherwise(theirs.folder)
    shutil.rmtree(theirs.folder / "scores")  # as where it is made anew
    told = invoked(mine, "runs", "verify", str(theirs.folder))
    assert (told.exit_code, f"of other answers: {path}" in told.stdout) == (1, True)
    after = invoked(mine, *score)
    assert (after.exit_code, after.stdout != before) == (0, True)
    assert f"'{path}' is of other answers" in after.stderr
    assert invoked(mine, "runs", "verify", str(theirs.folder)).exit_code == 0
    # A score in a folder that cannot be written to does not hide the one below the home.
    (theirs.folder / "scores").mkdir(exist_ok=True)
    shutil.copy(path, theirs.folder / "scores")
    edited(theirs.folder / "scores" / path.name, of=None)
    written = path.stat().st_mtime_ns
    assert invoked(mine, *score).stdout == after.stdout
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("other", "how"),
    [
        (lambda run, home: (capitals_run(home, latitude=-60), "wgs84-lt"), "of another run"),
        (lambda run, home: (run, "haversine-6371-le"), "of another protocol, radii or photos"),
    ],
    ids=["another run", "another protocol"],
)
def test_a_score_that_was_copied_from_elsewhere_is_not_believed(
    other: Callable[[Run, Path], tuple[Run, str]], how: str, tmp_path: Path
) -> None:
    run = capitals_run(tmp_path)
    expected = score_run(run, "wgs84-lt")
    source, protocol = other(run, tmp_path)
    score_run(source, protocol)
    path = run.folder / "scores" / "wgs84-lt.json"
    shutil.copy(source.folder / "scores" / f"{protocol}.json", path)
    assert_made_again(tmp_path, run, path, how)
    assert score_run(run, "wgs84-lt") == expected


def test_a_score_of_before_is_made_again_once(tmp_path: Path) -> None:
    run = capitals_run(tmp_path)
    expected = score_run(run, "wgs84-lt")
    path = run.folder / "scores" / "wgs84-lt.json"
    written = path.read_bytes()
    edited(path, of=None, counts={"total": 7})
    assert invoked(tmp_path, "runs", "verify", "--all").exit_code == 0
    assert score_run(run, "wgs84-lt") == expected
    assert path.read_bytes() == written


def test_a_score_that_cannot_be_made_again_counts_only_where_it_is_of_the_run(tmp_path: Path) -> None:
    run = capitals_run(tmp_path)
    score_run(run, "wgs84-lt")
    own = run.folder / "scores" / "wgs84-lt.json"
    for name in ("recall-area", "admin-labelled"):  # as of another run, and as of before
        shutil.copy(own, own.with_name(f"{name}.json"))
    edited(own.with_name("admin-labelled.json"), of=None)
    shown = invoked(tmp_path, "runs", "show", run.key, "--json")
    assert [score["protocol"] for score in json.loads(shown.stdout)["scores"]] == ["wgs84-lt"]


@pytest.mark.parametrize(
    ("name", "put"),
    [
        ("scores", os.mkfifo),
        ("scores", Path.touch),
        ("scores/haversine-6371-le.json", os.mkfifo),
        ("scores/haversine-6371-le.json", Path.mkdir),
        ("scores/haversine-6371-le.json", lambda path: path.symlink_to("nowhere")),
    ],
)
def test_what_is_no_score_where_one_would_be_is_named_by_verify_and_scored_past(
    name: str, put: Callable[[Path], None], tmp_path: Path
) -> None:
    run = capitals_run(tmp_path)
    score = ["score", run.key, "--protocol", "haversine-6371-le"]
    expected = invoked(tmp_path, *score).stdout
    path = run.folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    put(path)
    told = invoked(tmp_path, "runs", "verify", "--all")
    what = "folder" if name == "scores" else "file"
    assert (told.exit_code, told.stdout.splitlines()[0]) == (1, f"no {what}: {path}")
    again = invoked(tmp_path, *score)
    assert (again.exit_code, again.stdout) == (0, expected)
