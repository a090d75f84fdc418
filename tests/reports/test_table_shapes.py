"""Tables where there is little room, and which rows and columns stand in them."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pinpoint_harness.api import evaluate
from pinpoint_harness.cli.main import cli
from pinpoint_harness.cli.options import aligned, folded_widths
from pinpoint_harness.cli.table import has_style
from pinpoint_harness.errors import UsageError
from pinpoint_harness.evaluation import Estimate, compare, score_run
from pinpoint_harness.reports.tables import Row, render
from pinpoint_harness.reports.tables.choice import Choice, metric_name
from pinpoint_harness.reports.tables.latex import latex_text
from pinpoint_harness.reports.tables.names import short_names
from pinpoint_harness.running import Run

METRICS = ("acc_1km", "acc_25km", "geoscore")


def row(name: str, values: Sequence[float], **changes: Any) -> Row:
    cells = {
        metric: Estimate(value, 0.5, value - 1.0, value + 1.2, 100)
        for metric, value in zip(METRICS, values, strict=True)
    }
    usual: dict[str, Any] = {"protocol": "wgs84-lt", "n": "100", "total": 100}
    return Row(name, cells, **(usual | changes))


ROWS = [
    row("nearest-photo (backbone=mini, gallery=a,b)", (10.0, 30.0, 2000.0), short="nearest-photo"),
    row("pinpoint (k=100)", (12.0, 29.0, 2500.0), short="pinpoint", letters={"acc_1km": "ab"}),
    row("ceiling", (90.0, 99.0, 4990.0), kind="oracle"),
]


def text(rows: Sequence[Row] = ROWS, **options: Any) -> str:
    return render(rows, METRICS, "text", title="Toy", **options)


def test_text_is_the_table_written_by_hand() -> None:
    shown = text(sort="geoscore", notes=["Remark."])
    assert (
        shown.partition("95 % intervals:")[0]
        == """Toy

method                    1 km      25 km  GeoScore
---------------------------------------------------
measured (wgs84-lt)
pinpoint          12.0 ±1.1 ab  29.0 ±1.1   2500 ±1
nearest-photo     10.0 ±1.1     30.0 ±1.1   2000 ±1
---------------------------------------------------
oracle (wgs84-lt), not ranked
ceiling (oracle)  90.0 ±1.1     99.0 ±1.1   4990 ±1

Accuracies in percent; ± half the width of the 95 % interval.
Letters: rows of one protocol that share a letter in a column cannot be told apart (sign flips by
  photographer, Holm over pairs and radii, 5 %).
Remark.
"""
    )


def test_the_terminals_style_marks_best_and_second_and_nothing_else_does() -> None:
    styled = text(styled=True)
    assert re.findall("\x1b\\[1m(.*?)\x1b\\[0m", styled) == ["30.0", "12.0", "2500"]
    assert re.findall("\x1b\\[4m(.*?)\x1b\\[0m", styled) == ["10.0", "2000", "29.0"]
    assert re.sub("\x1b\\[[014]m", "", styled).splitlines()[:8] == text().splitlines()[:8]
    assert "Bold" in styled
    assert "Bold" not in text()


@given(st.integers(40, 140), st.text(st.sampled_from("aé京 "), min_size=1, max_size=60).map("x".__add__))
def test_no_line_is_wider_than_the_terminal(width: int, name: str) -> None:
    for line in text([row(name, (1.0, 2.0, 3.0)), *ROWS], width=width).splitlines():
        assert len(line) + sum(sign == "京" for sign in line) <= width


def test_long_names_are_folded_and_none_is_lost() -> None:
    long = [
        f"knn (gallery=mp16,yfcc100m-photos, backbone=siglip2-giant-opt-patch16-384, k={k})" for k in "15"
    ]
    shown = text([row(name, (k, 2.0, 3.0)) for k, name in enumerate(long)], width=60, hide=["notes"])
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 60
    first = next(at for at, line in enumerate(lines) if line.startswith("knn"))
    assert lines[first].endswith("  0.0 ±1.1  2.0 ±1.1      3 ±1")
    assert all(line.startswith("  ") for line in lines[first + 1 : first + 3])
    squeezed = "".join(re.sub(r"  +[\d.]+ ±.*", "", line).strip() for line in lines).replace(" ", "")
    assert all(name.replace(" ", "") in squeezed for name in long)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("nearest-photo-streetview", ["nearest-photo-", "  streetview"]),
        ("constant (longitude=-75.0)", ["constant", "  (longitude=-75.0)"]),
        ("a" * 30, ["a" * 19, "  " + "a" * 11]),
    ],
)
def test_a_name_is_folded_between_its_words(name: str, lines: list[str]) -> None:
    cells = {f"acc_{radius}km": Estimate(1.0, None, None, None, 9) for radius in (1, 25, 200)}
    shown = render([Row(name, cells)], [*cells], "text", title="", width=40).splitlines()
    first = next(at for at, line in enumerate(shown) if line.startswith(lines[0]))
    assert [re.sub(" +1.0.*", "", line) for line in shown[first : first + len(lines)]] == lines


def test_figures_without_room_stand_below() -> None:
    names = [f"acc_{radius}km" for radius in range(1, 13)]
    cells = {name: Estimate(float(at), None, None, None, 9) for at, name in enumerate(names)}
    shown = render([Row("a-method-of-some-length", cells)], names, "text", title="", width=60)
    assert max(map(len, shown.splitlines())) <= 60
    assert shown.count("a-method") == 2
    assert re.findall(r"\d+ km", shown) == [f"{radius} km" for radius in range(1, 13)]
    figures = [float(one) for line in re.findall(r"^a-method-\S+ (.*)", shown, re.M) for one in line.split()]
    assert figures == list(range(12))


@given(st.lists(st.integers(1, 200), min_size=1, max_size=8), st.integers(40, 200))
def test_listings_are_folded_to_a_terminal_widest_column_first(widths: list[int], room: int) -> None:
    fitted = folded_widths(widths, room)
    assert all(one == before or 12 <= one < before for one, before in zip(fitted, widths, strict=True))
    assert sum(fitted) + 2 * len(fitted) - 2 <= room or max(fitted) <= 12
    if sum(widths) + 2 * len(widths) - 2 <= room:
        assert fitted == widths


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_listing_on_a_terminal_is_no_wider_and_holds_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["knn@capitals", " ".join(f"word{at}" for at in range(30)), 3], ["shorter"]]
    assert len(aligned(rows, ["run", "title", "n"]).splitlines()) == 4
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    shown = aligned(rows, ["run", "title", "n"])
    assert max(map(len, shown.splitlines())) <= 60
    assert re.findall(r"word\d+", shown) == rows[0][1].split()
    assert "knn@capitals" in shown


def test_half_widths_give_way_before_names_do() -> None:
    narrow = text(width=48)
    assert "±" not in narrow
    assert "Half-widths are left out: they need" in narrow
    assert "nearest-photo" in narrow
    needed = int(re.findall(r"they need (\d+)", narrow)[0])
    assert "±1.1" in text(width=needed)


def test_rows_are_ranked_by_a_column_best_first() -> None:
    distances = [
        Row("far", {"median_km": Estimate(900.0, None, None, None, 9)}),
        Row("none", {"acc_1km": Estimate(1.0, None, None, None, 9)}),
        Row("near", {"median_km": Estimate(9.0, None, None, None, 9)}),
    ]
    order = re.findall(
        "^(far|near|none)", render(distances, ["median_km"], "text", title="", sort="median_km"), re.M
    )
    assert order == ["near", "far", "none"]
    assert [line.split()[0] for line in text(sort="method").splitlines()[5:7]] == [
        "nearest-photo",
        "pinpoint",
    ]


def test_what_is_hidden_is_gone() -> None:
    whole = text([*ROWS, row("half", (1.0, 1.0, 1.0), complete=False)])
    assert "ceiling" in whole
    assert "half (100 of 100)" in whole
    hidden = text([*ROWS, row("half", (1.0, 1.0, 1.0), complete=False)], hide=("oracles", "partial", "notes"))
    assert "ceiling" not in hidden
    assert "half" not in hidden
    assert "percent" not in hidden


def test_notes_call_rows_by_what_tells_them_apart() -> None:
    part = {"complete": False, "n": "50", "footnotes": ("slow",)}
    twins = [row("knn", (1.0, 2.0, 3.0), run=key * 12, footnotes=("fast",)) for key in "ab"]
    literature = [
        row("GeoX", (4.0, 5.0, 6.0), kind="published", source=source, n=n, mllm="no", protocol="wgs84-lt")
        for source, n in (("first paper", "90"), ("second paper", "80"))
    ]
    rows = [*twins, row("knn", (1.0, 2.0, 3.0), **part), *literature]
    for form in ("md", "html"):
        shown = render(rows, METRICS, form, title="Toy").replace("\\", "")
        assert shown.count("knn [aaaaaaaa]") == shown.count("knn [bbbbbbbb]") == 2  # in the table and a note
        assert "knn [aaaaaaaa], knn [bbbbbbbb]: fast" in shown
        assert "knn: slow" in shown
        assert "GeoX [first paper]: n 90" in shown
        assert "GeoX [second paper]: n 80" in shown
    full = row("knn", (1.0, 2.0, 3.0), footnotes=("fast",))
    notes = render([full, row("knn", (1.0, 2.0, 3.0), **part)], METRICS, "md", title="Toy")
    assert "knn: fast" in notes
    assert "knn (50 of 100): slow" in notes
    mixed = [full, replace(full, protocol="haversine-6371-le", footnotes=("round",))]
    assert "knn [haversine-6371-le]: round" in text(mixed, mix_protocols=True).replace("\n", "")
    compact = text(literature, hide=["notes"])
    assert re.findall(r"^GeoX \[(\w+) paper\]", compact, re.M) == ["first", "second"]


def test_no_two_rows_are_given_one_name() -> None:
    a, b = row("knn (k=1)", (1.0,) * 3, short="knn (k=1)"), row("knn", (2.0,) * 3, short="knn (k=5)")
    for name in ("knn", "knn (k=5)"):
        with pytest.raises(UsageError, match="two rows would be called"):
            Choice(rename={"knn (k=1)": name}).renamed([a, b])
    with pytest.raises(UsageError, match="two rows would be called 'same'"):
        Choice(rename={"knn (k=1)": "same", "knn (k=5)": "same"}).renamed([a, b])
    swapped = Choice(rename={"knn (k=1)": "knn (k=5)", "knn (k=5)": "knn (k=1)"}).renamed([a, b])
    assert [one.short for one in swapped] == ["knn (k=5)", "knn (k=1)"]


def test_a_compact_table_for_a_paper_has_short_names_and_a_label() -> None:
    compact = render(ROWS, METRICS, "latex", title="Toy set, 100 photos", compact=True)
    assert r"\begin{table}" in compact
    assert r"\label{tab:toy-set}" in compact
    assert "backbone=mini" not in compact
    assert r"\underline{10.0}\,{\scriptsize \ensuremath{\pm}1.1}" in compact
    assert r"\textbf{12.0}\textsuperscript{ab}\,{\scriptsize" in compact
    assert "backbone=mini" in render(ROWS, METRICS, "latex", title="Toy")


def test_letters_that_pdflatex_lacks_are_spelled() -> None:
    assert latex_text("Müller–Łódź ñ α ij") == r"M\"{u}ller--\L{}\'{o}d\'{z} \~{n} \ensuremath{\alpha} ij"
    assert latex_text("í") == r"\'{\i}"
    assert latex_text("京") == r"{\ifdefined\Umathchar 京\else\texttt{U+4EAC}\fi}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("compact", [True, False])
def test_pdflatex_sets_the_table_within_two_columns(tmp_path: Path, compact: bool) -> None:
    named = row("Ľudovít 京 αβ_{x}^2 & 100% #1 ~\\ <|>", (1.0, 2.0, 3.0), source="Ørsted „x“")
    table = render([*ROWS, named], METRICS, "latex", title="Toy_set 100% ☃", compact=compact, notes=["Ω≈1"])
    head = "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{head}{table}\nx\n\\end{{document}}\n", encoding="utf-8")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on the capitals: one constant, one drawn with three seeds."""
    folder = tmp_path_factory.mktemp("home")
    for seed in range(3):
        score_run(evaluate("random-prior", "capitals", seed=seed, home=folder), "wgs84-lt")
    score_run(evaluate("constant", "capitals", parameters=PARIS, home=folder), "wgs84-lt")
    return folder


PARIS = {"latitude": "48.9", "longitude": "2.3"}


def runs_of(home: Path) -> list[Run]:
    from pinpoint_harness.running import iter_runs

    return list(iter_runs(home / "runs"))


def pinpoint(home: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["--home", str(home), *words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_names_tell_runs_apart_by_what_differs(home: Path) -> None:
    names = short_names(runs_of(home))
    assert sorted(names) == ["constant"] + [f"random-prior (seed={seed})" for seed in "012"]
    assert set(short_names([run for run in runs_of(home) if run.label == "constant"])) == {"constant"}


def test_the_mean_over_seeds_is_that_of_the_runs_and_says_over_how_many(home: Path) -> None:
    scores = [
        float(score_run(run, "wgs84-lt").estimates["geoscore"].value or 0)
        for run in runs_of(home)
        if run.label == "random-prior"
    ]
    mean = sum(scores) / 3
    spread = (sum((score - mean) ** 2 for score in scores) / 2) ** 0.5
    shown = pinpoint(home, "table", "capitals", "--mean-over", "seed")
    assert re.search(rf"^random-prior .* {mean:.0f} ±{spread:.0f}$", shown, re.M)
    assert "random-prior: mean ± standard deviation over 3 runs, seed 0, 1, 2" in shown
    assert "constant: one run (seed 0)" in shown


def test_seeds_are_compared_as_one_method(home: Path) -> None:
    shown = pinpoint(home, "table", "capitals", "--mean-over", "seed", "--compare", "--columns", "2500")
    assert len(re.findall(r"^(?:constant|random-prior) .* ±\d", shown, re.M)) == 2
    assert "Letters" in shown


def test_chosen_methods_runs_and_columns_are_all_there_is(home: Path) -> None:
    words = ["table", "capitals", "--format", "csv"]
    chosen = pinpoint(home, *words, "--methods", "constant", "--columns", "500km,median_km")
    assert chosen.splitlines()[0].startswith("method,source,mllm,web,acc_500km,median_km,protocol")
    assert len(chosen.splitlines()) == 2
    one = next(run for run in runs_of(home) if run.label == "random-prior")
    assert pinpoint(home, *words, "--runs", one.key[:8]).count("random-prior") == 1
    assert "\nGuess" in pinpoint(home, "table", "capitals", "--rename", "constant=Guess")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--methods", "constnt"], "no run here is of a method 'constnt'"),
        (["--columns", "speed"], "there is no column 'speed'"),
        (["--sort", "speed"], "there is no column 'speed'"),
        (["--rename", "constant"], "is not of the form OLD=NEW"),
        (["--rename", "constant=A", "--rename", "constant=B"], "--rename gives 'constant' two names"),
        (["--rename", "random-prior=x"], "random-prior (seed=0);"),
        (["--sort", "country"], "no row has 'acc_country' to be sorted by"),
        (["--columns", "1e3km"], "is a column, as 40km"),
        (["--rename", "nobody=x"], "no row is called 'nobody'"),
        (["--rename", "random-prior=x"], "3 rows are called 'random-prior'"),
        (["--hide", "walls"], "--hide walls: nothing is called that"),
        (["--mean-over", "temperature"], "no run has a parameter 'temperature'"),
        (["--methods", "constant", "--mean-over", "seed"], "there is nothing to average"),
    ],
)
def test_what_cannot_be_chosen_is_one_line(home: Path, words: list[str], problem: str) -> None:
    assert problem in pinpoint(home, "table", "capitals", *words, code=2)


def test_a_row_is_chosen_by_the_name_it_is_shown_under(home: Path) -> None:
    shown = pinpoint(home, "table", "capitals", "--methods", "random-prior (seed=1)", "--format", "csv")
    assert [line.split(",")[0] for line in shown.splitlines()[1:]] == ["random-prior (seed=1)"]


def test_a_column_that_was_asked_for_and_no_row_has_is_named(home: Path) -> None:
    shown = pinpoint(home, "table", "capitals", "--columns", "25km,country,nll", "--format", "md")
    assert "no row has acc\\_country, nll" in shown
    assert shown.count("NLL is of methods with a density") == 1


def test_full_and_partial_runs_of_one_title_are_told_apart_in_every_format(tmp_path: Path) -> None:
    for words in ([], ["--limit", "20"]):
        pinpoint(tmp_path, "run", "random-prior", "capitals", *words)
    for form in ("csv", "latex", "md"):
        shown = pinpoint(tmp_path, "table", "capitals", "--format", form).replace("\\", "")
        assert len(set(re.findall(r"random-prior \{?\[\}?(\w{8})", shown))) == 2
    told = pinpoint(tmp_path, "compare", "capitals", code=2)
    assert re.search(r"answered other photos than the rest\s+found: 20 photos, others up to 193", told)
    assert "--hide partial" in told


def test_a_comparison_over_seeds_that_are_not_there_is_refused_as_a_table_is(home: Path) -> None:
    one = next(run.key[:8] for run in runs_of(home) if run.label == "random-prior")
    words = ["compare", "constant@capitals", one, "--mean-over", "seed"]
    assert "there is nothing to average" in pinpoint(home, *words, code=2)


def test_columns_are_named_as_in_the_table_or_in_full() -> None:
    assert [metric_name(name) for name in ("25", "25km", "acc_25km", "city", "geoscore")] == [
        "acc_25km", "acc_25km", "acc_25km", "acc_city", "geoscore",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="there is no column 'x'"):
        metric_name("x")
    assert Choice(columns=("500km",), sort="10km").radii_km((1.0,)) == (1.0, 10.0, 500.0)


def test_a_terminal_gets_style_unless_no_color_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not has_style()
    monkeypatch.setattr("sys.stdout", Terminal())
    assert has_style()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_style()


def test_a_dataset_stands_for_its_runs_and_seeds_for_one_row_in_a_comparison(home: Path) -> None:
    words = ["compare", "capitals", "--flips", "500", "--mean-over", "seed", "--hide", "intervals"]
    shown = pinpoint(home, *words, "--columns", "2500km", "--rename", "constant=Guess")
    assert re.search(r"^Guess +\d", shown, re.M)
    assert re.search(r"^random-prior \(mean of 3\) +\d", shown, re.M)
    assert shown.count("  minus  ") == 1
    assert "95 % interval" not in shown
    assert "minus" not in pinpoint(home, *words[:-1], "pairs")
    alone = pinpoint(home, "compare", "capitals", "--methods", "constant", code=2)
    assert "a comparison needs two runs or more" in alone


def test_repeats_are_compared_by_their_mean(home: Path) -> None:
    drawn = [run for run in runs_of(home) if run.label == "random-prior"]
    (constant,) = [run for run in runs_of(home) if run.label == "constant"]
    together = compare([constant, *drawn], mean_over="seed", flips=500, resamples=100)
    alone = [compare([constant, run], flips=500, resamples=100) for run in drawn]
    (difference,) = [one for one in together.differences if one.metric == "geoscore"]
    each = [one.difference for item in alone for one in item.differences if one.metric == "geoscore"]
    assert difference.difference == pytest.approx(sum(filter(None, each)) / 3)
    same = compare([constant, drawn[0]], mean_over="seed", flips=500, resamples=100)
    assert same.to_dict() == alone[0].to_dict()
