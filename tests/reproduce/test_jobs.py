"""Recipes as jobs: what waits for what, what is asked for, and who starts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import DataError, HarnessError, UsageError
from pinpoint_harness.reproduce import jobs_of, load_recipe
from pinpoint_harness.reproduce.launch import _Queue, check_launcher, launch

RECIPE = """
title = "Made up"
status = "unverified"
lanes = "latitude"
steps = [
  ["score", "first"],
  ["run", "constant", "capitals", "--set", "latitude={latitude}", "--name", "at-{latitude}"],
  ["table", "capitals", "--hide", "{latitude}"],
  ["table", "capitals"],
  ["compare", "at-0@capitals", "at-50@capitals"],
]
each = { latitude = ["0", "50"] }
[jobs]
default = { hours = 0.5 }
run = { gpus = 4, cores = 16, gigabytes = 120, hours = 8 }
"""


def recipe_file(folder: Path, text: str = RECIPE) -> Path:
    file = folder / "made-up.toml"
    file.write_text(text)
    return file


def test_steps_and_lanes_are_jobs_that_wait_for_what_they_need(tmp_path: Path) -> None:
    jobs = jobs_of(load_recipe(str(recipe_file(tmp_path))))
    assert [(job.name, job.needs) for job in jobs] == [
        ("001-score", ()),
        ("002-latitude-0", ("001-score",)),
        ("003-latitude-50", ("001-score",)),
        ("004-table", ("002-latitude-0", "003-latitude-50")),
        ("005-compare", ("004-table",)),
    ]
    assert [len(job.steps) for job in jobs] == [1, 2, 2, 1, 1]
    lane, table = jobs[1].resources, jobs[3].resources
    assert (lane.gpus, lane.cores, lane.gigabytes, lane.hours) == (4, 16, 120, 8.5)
    assert (table.gpus, table.hours) == (0, 0.5)


def test_a_dry_run_prints_commands_that_need_nothing_else(tmp_path: Path) -> None:
    words = ["reproduce", str(recipe_file(tmp_path)), "--dry-run", "--json", "--home", str(tmp_path / "home")]
    jobs = json.loads(CliRunner().invoke(cli, words, catch_exceptions=False).stdout)["jobs"]
    home = ["--home", str(tmp_path / "home")]
    assert jobs[0]["commands"] == [["pinpoint", *home, "score", "first"]]
    run, table = jobs[1]["commands"]
    assert run[:6] == ["torchrun", "--standalone", "--nproc-per-node", "4", "--no-python", "pinpoint"]
    assert run[6:10] == [*home, "run", "constant"]
    assert table == ["pinpoint", *home, "table", "capitals", "--hide", "0"]
    assert jobs[3]["needs"] == ["002-latitude-0", "003-latitude-50"]


@pytest.mark.parametrize("asked", ["{ gpu = 1 }", "{ gpus = 0.5 }", "{ cores = 0 }", "{ hours = 0 }", "3"])
def test_resources_of_another_kind_are_refused(tmp_path: Path, asked: str) -> None:
    text = re.sub("(?m)^run = .*$", f"run = {asked}", RECIPE)
    with pytest.raises(DataError, match=r"line 13: jobs is commands with what a job asks for"):
        load_recipe(str(recipe_file(tmp_path, text)))


def test_a_launcher_that_is_not_there_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="finds no Slurm here"):
        check_launcher("slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    words = ["reproduce", str(recipe_file(tmp_path)), "--launcher", "local", "--home", str(tmp_path)]
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == 2
    assert "needs submitit" in refused.stderr
    assert "pip install 'pinpoint-geo[slurm]'" in refused.stderr


LOCAL = """
title = "Made up"
status = "expected"
lanes = "latitude"
steps = [["run", "constant", "capitals", "--set", "latitude={latitude}", "--set", "longitude=0", "--quiet"]]
each = { latitude = ["0", "50"] }
"""


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # submitit leaves its processes to the system
def test_jobs_run_beside_one_another_here_and_one_that_fails_is_named(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    text = LOCAL.replace("steps = [", 'steps = [["methods", "list", "--json"],\n')
    home = tmp_path / "home"
    words = ["reproduce", str(recipe_file(tmp_path, text)), "--launcher", "local", "--jobs", "2"]
    done = CliRunner().invoke(cli, [*words, "--home", str(home)])
    assert done.exit_code == 0, done.stderr
    assert "003-latitude-50: done, " in done.stderr
    (folder,) = (home / "jobs").iterdir()
    made = (folder / "runs.txt").read_text().splitlines()
    assert {Path(run).parent.name for run in made} == {"constant"}
    assert len(set(made)) == 2
    jobs = jobs_of(load_recipe(str(recipe_file(tmp_path, LOCAL.replace("latitude={", "height={")))))
    with pytest.raises(
        HarnessError, match=r"job 001-latitude-0 failed: pinpoint run(.|\n)*no parameter 'height'"
    ):
        launch(jobs[:1], "local", tmp_path / "jobs", ["--home", str(home)], 1)
    steps = LOCAL.replace('"--quiet"]]', '"--quiet"], ["table", "{latitude}"]]').replace(
        "latitude={", "height={"
    )
    jobs = jobs_of(load_recipe(str(recipe_file(tmp_path, steps))))
    assert len(jobs[0].steps) == 2
    with pytest.raises(HarnessError, match="job 001-latitude-0 failed: pinpoint run constant"):
        launch(jobs[:1], "local", tmp_path / "more", ["--home", str(home)], 1)


SBATCH = """#!/bin/sh
echo x >> "$0.count"
echo "Submitted batch job $(wc -l < "$0.count")"
"""


def test_slurm_is_told_what_a_job_needs_and_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sbatch", "srun"):
        (programs / name).write_text(SBATCH)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    check_launcher("slurm")
    queue = _Queue("slurm", tmp_path / "logs", [], 1, 5)
    jobs = jobs_of(load_recipe(str(recipe_file(tmp_path))))
    assert [queue.may_start(job) for job in jobs[:2]] == [True, False]
    for job in jobs:
        assert queue.may_start(job)
        queue.start(job)
    scripts = [(tmp_path / "logs" / f"{number}_submission.sh").read_text() for number in range(1, 6)]
    assert "--dependency" not in scripts[0]
    assert "#SBATCH --dependency=afterok:1\n" in scripts[2]
    assert "#SBATCH --dependency=afterok:2:3\n" in scripts[3]
    for words in (
        "--gpus-per-node=4",
        "--cpus-per-task=16",
        "--mem=120GB",
        "--time=510",
        "--job-name=002-latitude-0",
    ):
        assert f"#SBATCH {words}\n" in scripts[1]


def test_the_snakefile_of_the_documents_is_one_for_snakemake(tmp_path: Path) -> None:
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed, in an environment of its own whose programs are on the PATH")
    text = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
    (tmp_path / "Snakefile").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    words = ["reproduce", str(recipe_file(tmp_path)), "--dry-run", "--json", "--home", str(tmp_path / "home")]
    (tmp_path / "jobs.json").write_text(CliRunner().invoke(cli, words, catch_exceptions=False).stdout)
    done = subprocess.run(
        [snakemake, "--dry-run", "--printshellcmds", "--cores", "4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert all(f"done/{job.name}" in said for job in jobs_of(load_recipe(str(recipe_file(tmp_path)))))
    assert "torchrun --standalone --nproc-per-node 4" in said


def test_lanes_of_another_name_wait_for_those_before_them(tmp_path: Path) -> None:
    text = """
title = "Made up"
status = "unverified"
lanes = ["pictures", "queries"]
steps = [
  ["embed", "{pictures}", "--backbone", "mini"],
  ["run", "constant", "{queries}"],
  ["run", "mean", "{queries}"],
  ["train", "pinpoint"],
  ["run", "pinpoint", "{queries}"],
]
each = { pictures = ["photos", "streetview"], queries = ["clean", "noisy"] }
"""
    jobs = jobs_of(load_recipe(str(recipe_file(tmp_path, text))))
    pictures, asked = (
        ("001-pictures-photos", "002-pictures-streetview"),
        ("003-queries-clean", "004-queries-noisy"),
    )
    assert [(job.name, job.needs) for job in jobs] == [
        *((name, ()) for name in pictures),
        *((name, pictures) for name in asked),
        ("005-train", asked),
        *((name, ("005-train",)) for name in ("006-queries-clean", "007-queries-noisy")),
    ]
    beside = jobs_of(
        load_recipe(
            str(recipe_file(tmp_path, text.replace('["pictures", "queries"]', '[["pictures", "queries"]]')))
        )
    )
    assert [(job.name, job.needs) for job in beside[:4]] == [(name, ()) for name in (*pictures, *asked)]
    assert beside[4].needs == (*pictures, *asked)
    with pytest.raises(DataError, match="'images' in lanes is not a name of"):
        load_recipe(
            str(recipe_file(tmp_path, text.replace('["pictures", "queries"]', '["pictures", "images"]')))
        )
