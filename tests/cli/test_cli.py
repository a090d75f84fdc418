"""The command line: what a user types and sees, errors in one place, nothing imported for help."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pinpoint_harness.cli.main import COMMANDS, cli

LONDON = ["--set", "latitude=51.5074", "--set", "longitude=-0.1278"]


pytestmark = pytest.mark.usefixtures("home")


def pinpoint(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(words), prog_name="pinpoint")
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return result


def as_json(*words: str) -> Any:
    return json.loads(pinpoint(*words, "--json").stdout)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    file = tmp_path / "answers.csv"
    truth = as_json("run", "constant", "capitals", *LONDON)
    assert truth["dataset"] == "capitals"
    file.write_text("id,latitude,longitude\nFR,48.8566,2.3522\nDE,52.52,13.405\nXX,0,0\n")
    return file


def test_help_and_lists_answer_without_importing_anything_heavy() -> None:
    heavy = {"torch", "pandas", "matplotlib", "transformers", "faiss", "numpy", "pyarrow", "scipy"}
    program = (
        "import sys; from click.testing import CliRunner; from pinpoint_harness.cli.main import cli\n"
        "for words in (['--help'], ['datasets', 'list'], ['methods', 'list']):\n"
        "    assert CliRunner().invoke(cli, words).exit_code == 0\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text_with_an_example(command: str) -> None:
    group = cli.get_command(None, command)  # type: ignore[arg-type]
    leaves = getattr(group, "commands", None)
    pages = [[command, name, "--help"] for name in leaves] if leaves else [[command, "--help"]]
    for page in pages:
        text = pinpoint(*page).stdout
        assert "Example" in text
        assert "pinpoint " in text.partition("Example")[2]


def test_an_error_is_one_message_on_stderr_and_exit_code_2() -> None:
    result = pinpoint("run", "constnat", "capitals", code=2)
    assert result.stderr.startswith("error: there is no method 'constnat'\n  found: ")
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "constant", "capitals"], "needs a value for 'latitude'"),
        (["run", "constant", "capitals", "--set", "latitude=123", "--set", "longitude=0"], "-90 to 90"),
        (
            ["run", "constant", "capitals", *LONDON, "--set", "height=3"],
            "latitude (float, -90 to 90; required)",
        ),
        (["run", "constant", "capitals", *LONDON, "--protocol", "manhattan"], "wgs84-lt"),
        (["run", "constant", "capitals", *LONDON, "--radii", "25,1"], "ascending"),
        (["run", "constant", "yfcc4k", *LONDON], "PINPOINT_DATA"),
        (["run", "constant", "yfcc5k", *LONDON], "yfcc4k"),
        (["score", "nothing@capitals"], "names no run"),
        (["runs", "show", "0123"], "no finished run at all"),
        (["table", "capitals"], "nothing to put in a table"),
        (["ceiling", "capitals", "--gallery", "nowhere"], "there is no dataset 'nowhere'"),
        (["--plugin", "nowhere.py", "methods", "list"], "nowhere.py"),
        (["run", "constant", "capitals", *LONDON, "--column", "height=h"], "there is no role 'height'"),
    ],
)
def test_a_mistake_is_answered_with_what_would_be_right(words: list[str], expected: str) -> None:
    assert expected in pinpoint(*words, code=2).stderr


def test_run_prints_every_radius_counts_intervals_and_where_it_lies(tmp_path: Path) -> None:
    text = pinpoint("run", "constant", "capitals", *LONDON).stdout
    assert text.startswith("constant (latitude=51.5074, longitude=-0.1278) on capitals\n")
    for word in (
        "wgs84-lt",
        "acc_1km",
        "acc_2500km",
        "geoscore",
        "unclustered",
        "95 % interval",
        "rows: total",
    ):
        assert word in text
    folder = Path(text.rpartition("run: ")[2].strip())
    assert folder.is_relative_to(tmp_path)
    assert (folder / "scores" / "wgs84-lt.json").exists()


def test_quiet_prints_only_the_folder() -> None:
    folder = pinpoint("run", "constant", "capitals", *LONDON, "--quiet").stdout.strip()
    assert (Path(folder) / "manifest.json").exists()


def test_json_of_a_run_and_of_its_show_agree() -> None:
    ran = as_json("run", "constant", "capitals", *LONDON)
    for name in ("constant@capitals", ran["key"][:6], ran["run"]):
        shown = as_json("runs", "show", name)
        assert shown.pop("asked")["command"].startswith("pinpoint run constant capitals --set")
        assert shown == ran


def test_all_protocols_measure_one_run() -> None:
    pinpoint("run", "constant", "capitals", *LONDON)
    scored = as_json("score", "constant@capitals", "--all-protocols")["scores"]
    assert len({item["protocol"] for item in scored}) == 6


def test_other_radii_do_not_disturb_the_fields_five() -> None:
    pinpoint("run", "constant", "capitals", *LONDON)
    scored = as_json("score", "constant@capitals", "--radii", "100,1000")["scores"][0]
    assert {"acc_100km", "acc_1000km"} < set(scored["estimates"])
    assert "acc_25km" in as_json("runs", "show", "constant@capitals")["scores"][0]["estimates"]
    assert "100 km" in pinpoint("table", "capitals", "--radii", "100,1000").stdout


def test_a_file_of_answers_is_joined_by_id_and_what_it_lacks_is_missing(answers: Path) -> None:
    report = as_json("score", str(answers), "--dataset", "capitals", "--name", "mine")
    counts = report["scores"][0]["counts"]
    assert counts["ok"] == 2
    assert counts["missing"] == counts["total"] - 2
    assert report["scores"][0]["present_rows"] == 2
    assert report["scores"][0]["present"]["acc_25km"]["value"] == 100
    assert any("1" in note and "match" in note for note in report["notes"])


def test_a_file_without_its_dataset_is_a_question(answers: Path) -> None:
    assert "add --dataset" in pinpoint("score", str(answers), code=2).stderr


def test_worst_lists_photos_without_answer_first_then_the_farthest(answers: Path) -> None:
    pinpoint("score", str(answers), "--dataset", "capitals", "--name", "mine")
    rows = as_json("runs", "worst", "mine@capitals", "-n", "400")
    assert rows[0]["status"] == "missing"
    assert rows[0]["error_km"] is None
    assert [row["id"] for row in rows[-2:]] in (["DE", "FR"], ["FR", "DE"])


def test_partial_and_oracle_rows_are_marked_and_not_ranked(tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("FR\nDE\n\n")
    pinpoint("run", "constant", "capitals", *LONDON)
    pinpoint("run", "random-prior", "capitals", "--limit", "5")
    pinpoint("run", "random-prior", "capitals", "--ids", str(ids))
    pinpoint("ceiling", "capitals", "--gallery", "capitals")
    listing = {row["kind"] for row in as_json("runs", "list")}
    assert listing == {"full", "partial", "oracle"}
    text = pinpoint("table", "capitals").stdout
    assert "first 5 of" in text
    assert "id list" in text
    assert "oracle" in text
    rows = list(csv.DictReader(io.StringIO(pinpoint("table", "capitals", "--format", "csv").stdout)))
    assert {row["complete"] for row in rows if "random-prior" in row["method"]} == {"no"}
    assert {row["kind"] for row in rows} == {"measured", "oracle"}


def test_runs_of_different_protocols_are_not_put_together_unless_asked() -> None:
    pinpoint("run", "constant", "capitals", *LONDON, "--protocol", "haversine-6371-le")
    pinpoint("run", "random-prior", "capitals", "--protocol", "wgs84-le")
    message = pinpoint("table", "capitals", code=2).stderr
    assert "haversine-6371-le" in message
    assert "wgs84-le" in message
    mixed = pinpoint("table", "capitals", "--mix-protocols").stdout
    assert "haversine-6371-le" in mixed
    assert "wgs84-le" in mixed
    one = pinpoint("table", "capitals", "--protocol", "wgs84-lt").stdout
    assert "wgs84-lt" in one
    assert "haversine" not in one


def test_the_only_protocol_runs_share_is_taken() -> None:
    pinpoint("run", "constant", "capitals", *LONDON, "--protocol", "haversine-6371-le")
    assert "haversine-6371-le" in pinpoint("table", "capitals").stdout


def test_a_table_says_where_the_literature_has_no_rows() -> None:
    pinpoint("run", "constant", "capitals", *LONDON)
    told = pinpoint("table", "capitals", "--published")
    assert "no published rows of 'capitals' are known; there are some of gws15k, im2gps" in told.stderr
    assert "constant" in told.stdout
    assert "published rows" not in pinpoint("table", "yfcc4k", "--published").stderr


@pytest.mark.parametrize("form", ["text", "md", "latex", "csv", "html", "html-part"])
def test_published_rows_stand_in_every_format(form: str) -> None:
    text = pinpoint("table", "yfcc4k", "--published", "--format", form).stdout
    assert "GeoRanker" in text
    assert "43.5" in text


def test_columns_of_ones_own_table_are_named_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("photo;north;east\na;10;20\nb;51.5;-0.1\n")
    named = ["--column", "id=photo", "--column", "latitude=north", "--column", "longitude=east"]
    report = as_json("run", "constant", "table", *LONDON, "--data", str(file), *named)
    assert report["scores"][0]["estimates"]["acc_25km"]["value"] == 50


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["run", "constnat", "capitals"], "constant"),
        (["run", "constant", "capitlas", *LONDON], "capitals"),
        (["run", "constant", "capitals", "--set", "lattitude=1"], "latitude"),
        (["run", "constant", "capitals", *LONDON, "--protocol", "wgs84lt"], "wgs84-lt"),
        (
            ["embed", "capitals", "--backbone", "siglip2-giant-opt-patch16-348"],
            "siglip2-giant-opt-patch16-384",
        ),
        (["reproduce", "capital"], "capitals"),
        (["tabel", "capitals"], "table"),
        (["score", "constant@capital"], "constant@capitals"),
    ],
)
def test_what_was_meant_is_asked_for_a_name_that_is_not_there(words: list[str], near: str) -> None:
    pinpoint("run", "constant", "capitals", *LONDON)
    error = pinpoint(*words, code=2).stderr
    assert f"did you mean '{near}'?" in error
    assert max(map(len, error.splitlines())) < 180


def test_under_v_an_error_of_a_plugin_says_where_it_was_raised(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("def load():\n    return 1 / 0\n\n\nload()\n")
    assert "Traceback" not in pinpoint("--plugin", str(file), "methods", "list", code=2).stderr
    start = "from pinpoint_harness.cli.main import main; main()"
    error = subprocess.run(
        [sys.executable, "-c", start, "-v", "--plugin", str(file), "methods", "list"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ).stderr
    assert f'File "{file}", line 2, in load' in error


def test_a_gpu_that_is_not_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    error = pinpoint("run", "constant", "capitals", *LONDON, "--device", "cuda", code=2).stderr
    assert error.startswith("error: --device cuda: torch finds no CUDA device here\n")


def test_a_seed_is_refused_where_nothing_is_drawn_and_shown_where_it_counts() -> None:
    pinpoint("run", "random-prior", "capitals")
    pinpoint("run", "random-prior", "capitals", "--seed", "3")
    assert "\nrandom-prior (seed=3) " in pinpoint("table", "capitals").stdout
    error = pinpoint("run", "constant", "capitals", *LONDON, "--seed", "3", code=2).stderr
    assert "--seed does nothing" in error
    trained = pinpoint("run", "pinpoint", "capitals", "--seed", "3", code=2).stderr
    assert "--set seed=3" in trained


def own_table(path: Path, *rows: str) -> str:
    path.write_text("\n".join(["id,latitude,longitude", *rows]))
    return str(path)


def test_rows_of_different_truth_stand_in_blocks_of_their_own(tmp_path: Path) -> None:
    near = own_table(tmp_path / "near.csv", "a,51.5,-0.1", "b,51.5,-0.12")
    far = own_table(tmp_path / "far.csv", "a,10,20", "b,11,20", "c,12,20")
    for file in (near, far):
        pinpoint("run", "constant", "table", *LONDON, "--data", file)
        pinpoint("run", "random-prior", "table", "--data", file)
    text = pinpoint("table", "table", "--compare").stdout
    headings = re.findall(r"measured \(wgs84-lt, truth [0-9a-f]{8} of (\d) photos\)", text)
    assert sorted(headings) == ["2", "3"]


def test_a_table_of_ones_own_is_listed_under_the_name_given_to_it(tmp_path: Path) -> None:
    file = own_table(tmp_path / "mine.csv", "a,51.5,-0.1", "b,10,20")
    named = ["--data", file, "--as", "my-set"]
    assert as_json("run", "constant", "table", *LONDON, *named)["dataset"] == "my-set"
    (tmp_path / "answers.csv").write_text("id,latitude,longitude\na,51.5,-0.1\nb,10,20\n")
    pinpoint("score", str(tmp_path / "answers.csv"), "--dataset", "table", *named)
    assert [row["dataset"] for row in as_json("runs", "list")] == ["my-set", "my-set"]
    assert as_json("score", "constant@my-set")["dataset"] == "my-set"
    text = pinpoint("table", "my-set").stdout
    assert text.startswith("my-set: Any table")
    assert "answers" in text
    assert "no dataset 'other-set'" in pinpoint("table", "other-set", code=2).stderr


@pytest.mark.parametrize("name", ["capitals", "My Set"])
def test_a_table_cannot_take_the_name_of_a_dataset_or_a_strange_one(name: str, tmp_path: Path) -> None:
    file = own_table(tmp_path / "mine.csv", "a,51.5,-0.1")
    words = ["run", "constant", "table", *LONDON, "--data", file, "--as", name]
    assert f"--as {name} cannot be" in pinpoint(*words, code=2).stderr
    assert "has its name" in pinpoint("run", "constant", "capitals", "--as", "x", code=2).stderr


def test_a_plugin_file_runs_and_stands_in_the_table(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    source = readme.partition("```python\n# north_pole.py\n")[2].partition("```")[0]
    file = tmp_path / "north_pole.py"
    file.write_text(source)
    pinpoint("--plugin", str(file), "run", "north-pole", "capitals")
    assert "north-pole" in pinpoint("--plugin", str(file), "table", "capitals").stdout


def test_compare_prints_differences_p_values_and_letters() -> None:
    pinpoint("run", "constant", "capitals", *LONDON)
    pinpoint("run", "random-prior", "capitals")
    words = ["compare", "constant@capitals", "random-prior@capitals", "--flips", "500"]
    text = pinpoint(*words).stdout
    assert "constant  minus  random-prior" in text
    assert "p (Holm)" in text
    report = as_json(*words)
    assert {item["metric"] for item in report["differences"]} >= {"acc_1km", "acc_2500km", "median_km"}
    assert report["letters"]["acc_2500km"]["random-prior"] == "b"


def test_a_table_shows_letters_only_when_asked() -> None:
    pinpoint("run", "constant", "capitals", *LONDON)
    pinpoint("run", "random-prior", "capitals")
    assert "Letters:" not in pinpoint("table", "capitals").stdout
    lettered = pinpoint("table", "capitals", "--compare", "--format", "csv").stdout
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(lettered))}
    assert rows["random-prior"]["acc_2500km_letters"] == "b"
    assert "Letters:" in pinpoint("table", "capitals", "--compare").stdout


def test_beside_a_published_row_nothing_is_tested(tmp_path: Path) -> None:
    file = tmp_path / "yfcc4k.csv"
    rows = [f"{n}.jpg,{n / 10},{n / 10}" for n in range(1, 99)]
    file.write_text("\n".join(["IMG_ID,LAT,LON", *rows]))
    pinpoint("run", "constant", "yfcc4k", *LONDON, "--data", str(file))
    text = pinpoint("compare", "constant@yfcc4k", "--beside", "GeoRanker").stdout
    assert "43.5" in text
    assert "unpaired, not tested" in text
    assert "GeoRanker" in pinpoint("compare", "constant@yfcc4k", "--beside", "Ranker", code=2).stderr


def test_a_recipe_runs_its_steps_and_prints_a_table() -> None:
    text = pinpoint("reproduce", "capitals").stdout
    for row in ("random-prior", "always-london", "always-khartoum"):
        assert row in text
    (report,) = [line for line in text.splitlines() if line.endswith(".html")]
    assert "always-london" in Path(report).read_text(encoding="utf-8")


def test_doctor_reports_and_fails_only_for_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    report = as_json("doctor")
    assert any(line.startswith("numpy ") for line in report["versions"])
    assert report["devices"][0].startswith("cpu: ")
    assert all("multiples of 16 up to 256" in line and "NO" not in line for line in report["equal rows"])
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"].keys() - {"cpu", "gpu", "test", "bench"}  # FAISS, and tools
    assert {line.partition(":")[0] for line in report["extras"]} == extras
    monkeypatch.setenv("PINPOINT_DATA", "/no/such/folder")
    assert "problem: PINPOINT_DATA names" in pinpoint("doctor", code=1).stdout


def test_an_interrupted_pipe_and_an_unknown_command_do_not_end_in_a_traceback() -> None:
    assert "there is no command 'runn'" in pinpoint("runn", code=2).stderr
    done = subprocess.run(
        f"{sys.executable} -c 'from pinpoint_harness.cli.main import main; main()' datasets list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert "Traceback" not in done.stderr


def test_a_damaged_run_is_found_by_its_key_and_among_all(tmp_path: Path) -> None:
    run = as_json("run", "constant", "capitals", *LONDON)["run"]
    assert pinpoint("runs", "verify", run).stdout == "1 checked, 0 damaged files\n"
    (file,) = (tmp_path / "runs").rglob("predictions.parquet")
    with file.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"?")
    assert json.loads(pinpoint("runs", "verify", "--all", "--json", code=1).stdout) == {
        "checked": 1,
        "damaged": [{"file": str(file), "is": "changed"}],
    }
    file.unlink()
    damaged = pinpoint("runs", "verify", run, code=1)
    assert damaged.stdout == f"missing: {file}\n1 checked, 1 damaged files\n"
    assert "pinpoint runs rm" in damaged.stderr
    (file.parent / "manifest.json").write_text("{")
    damaged = pinpoint("runs", "verify", "--all", code=1)
    assert damaged.stdout.startswith(f"changed: {file.parent / 'manifest.json'}")


@pytest.mark.parametrize("words", [[], ["constant@capitals", "--all"]])
def test_verify_takes_one_run_or_all(words: list[str]) -> None:
    assert "give one run or --all" in pinpoint("runs", "verify", *words, code=2).stderr


def test_a_command_gives_back_the_handlers_of_signals_that_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pinpoint_harness.cli import main as module

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    within = []
    monkeypatch.setattr(
        module, "cli", lambda prog_name: within.extend(signal.getsignal(number) for number in numbers)
    )
    for name in ("keep_stdout", "look_for_room", "sleep_while_waiting"):
        monkeypatch.setattr(module, name, lambda: None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    module.main()
    assert [signal.getsignal(number) for number in numbers] == before
    assert len(within) == 2
    assert not set(within) & set(before)
