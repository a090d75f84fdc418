"""`pinpoint clean`, `runs rm`, `stores rm`: what is shown, what goes, what stays."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pinpoint_harness import load_dataset
from pinpoint_harness.artifacts import Artifact
from pinpoint_harness.cli.main import cli

ROOT = Path(__file__).parents[2]


def pinpoint(*words: object, code: int = 0, answer: str | None = None) -> Result:
    result = CliRunner().invoke(cli, list(map(str, words)), prog_name="pinpoint", input=answer)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def run(label: str = "constant", latitude: int = 0) -> Path:
    settings = ["--set", f"latitude={latitude}", "--set", "longitude=0"]
    made = pinpoint("run", "constant", "capitals", *settings, "--name", label, "--quiet")
    return Path(made.stdout.strip())


def store(home: Path) -> Path:
    ids = load_dataset("capitals")["id"].tolist()
    np.savez(file := home / "x.npz", ids=np.array(ids), features=np.ones((len(ids), 3)))
    words = ["stores", "import", "capitals", file, "--backbone", "o/none", "--normalisation", "none"]
    made = Path(json.loads(pinpoint(*words, "--json").stdout)["folder"])
    file.unlink()
    return made


def stage(home: Path) -> Path:
    (home / "models" / "toy").mkdir(parents=True)
    artifact = Artifact.begin(home / "models" / "toy", "toy", {"seed": 0})
    artifact.finish({"config.json": b"{}"})
    return artifact.folder


@pytest.fixture
def clone(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder `results` of this repository as a clone has it, as the home."""
    names = subprocess.run(
        ["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not names:
        pytest.skip("not in a clone")
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, home / name)
    monkeypatch.delenv("PINPOINT_HOME")
    monkeypatch.chdir(home)
    yield home / "results"
    left = {str(path.relative_to(home)) for path in (home / "results").rglob("*") if path.is_file()}
    assert left == set(names)


def test_cleaning_leaves_a_clone_as_it_was_and_working(clone: Path) -> None:
    for _ in range(2):
        run()
        store(clone)
        stage(clone)
        shown = pinpoint("clean", answer="y\n").stdout
        for word in ("run ", "features", "toy", "finished", "remove 3 of 3", "removed 3"):
            assert word in shown


def test_only_what_is_named_goes_and_nothing_before_a_yes(home: Path) -> None:
    kept, gone, trained = run(), store(home), stage(home)
    (home / "stores" / "notes.txt").write_text("mine")
    assert "would remove 2 of 2" in pinpoint("clean", "stores", "models", "--dry-run").stdout
    pinpoint("clean", "stores", answer="n\n", code=1)
    assert gone.exists()
    pinpoint("clean", "stores", "models", "--yes")
    assert kept.exists()
    assert not gone.exists()
    assert not trained.exists()
    assert [path.name for path in (home / "stores").iterdir()] == ["notes.txt"]
    assert "nothing of ours" in pinpoint("clean", "stores", "--yes").stdout


def test_audits_are_told_from_other_tables(home: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (home / "audits").mkdir()
    mine = pa.table({"id": ["a"]})
    pq.write_table(mine, home / "audits" / "mine.parquet")
    pq.write_table(mine.replace_schema_metadata({"pinpoint_audit": "{}"}), home / "audits" / "a--b.parquet")
    (home / "audits" / "torn.parquet").write_bytes(b"PAR1")
    pinpoint("clean", "--yes")
    assert sorted(path.name for path in (home / "audits").iterdir()) == ["mine.parquet", "torn.parquet"]


def test_reports_are_told_from_other_pages(home: Path) -> None:
    run()
    report = Path(pinpoint("report", "constant@capitals", "--no-pictures").stdout.strip())
    assert report.parent == home / "reports"
    (home / "reports" / "mine.html").write_text("<title>my report</title>")
    kept = pinpoint("clean", "reports", "--yes").stdout
    assert "removed 1 of 1" in kept
    assert [path.name for path in (home / "reports").iterdir()] == ["mine.html"]


def test_a_site_goes_with_the_reports_and_files_of_others_in_it_stay(home: Path) -> None:
    run()
    site = Path(pinpoint("site", "--no-reports").stdout.strip()).parent
    assert site == home / "reports" / "site"
    (site / "CNAME").write_text("mine")
    assert "removed 3 of 3" in pinpoint("clean", "reports", "--yes").stdout
    assert [path.name for path in site.iterdir()] == ["CNAME"]


def test_caches_are_kept_unless_they_are_meant(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    worlds = home / "worlds"
    monkeypatch.setenv("PINPOINT_MINI_EARTH", str(worlds))
    worlds.mkdir()
    Artifact.begin(worlds, "mini-earth", {"seed": 0}).finish({"photos.csv": b""})
    (home / "cache" / "pinpoint").mkdir(parents=True)
    (home / "cache" / "pinpoint" / "sha256.json").write_text("{}")
    kept = run()
    pinpoint("clean", "caches", "--yes")
    assert kept.exists()
    assert not worlds.exists()
    assert not (home / "cache" / "pinpoint").exists()


def test_runs_and_stores_are_removed_by_every_name_they_have(home: Path) -> None:
    first, second, third, kept = (run(label, at) for at, label in enumerate("abcd"))
    pinpoint("runs", "rm", "a@capitals", second.name[:10], third, "--yes")
    assert [path.exists() for path in (first, second, third, kept)] == [False, False, False, True]
    made = store(home)
    assert "would remove 1 of 1" in pinpoint("stores", "rm", made.name[:8], "--dry-run").stdout
    pinpoint("stores", "rm", made, "--yes")
    assert not made.exists()
    assert "no run" in pinpoint("runs", "rm", "a@capitals", "--yes", code=2).stderr


def test_an_unfinished_run_is_removed_by_its_key(home: Path) -> None:
    (home / "runs" / "capitals" / "x").mkdir(parents=True)
    artifact = Artifact.begin(home / "runs" / "capitals" / "x", "run", {"seed": 0})
    with artifact.work():
        assert "in use" in pinpoint("runs", "rm", artifact.folder, "--yes", code=2).stderr
        busy = pinpoint("clean", "--yes", code=1)
        assert "in use by a running process stays" in busy.stderr
        assert artifact.folder.exists()
    pinpoint("runs", "rm", artifact.folder.name[:6], "--yes")
    assert not (home / "runs").exists()


def test_what_is_no_run_is_not_removed_as_one(home: Path) -> None:
    made = store(home)
    assert "a 'features'" in pinpoint("runs", "rm", made, "--yes", code=2).stderr
    assert "no artifact of ours" in pinpoint("runs", "rm", home, "--yes", code=2).stderr
    assert made.exists()
