"""A report is one file: equal for equal runs, hostile names are text, and what may not be compared is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.support.report_world import ReportWorld

from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import UsageError
from pinpoint_harness.evaluation import Estimate, compare
from pinpoint_harness.reports.pages import ReportOptions, write_report
from pinpoint_harness.reports.pages.cases import choose_cases
from pinpoint_harness.reports.pages.measures import measure
from pinpoint_harness.reports.pages.section import (
    LEAST_KM,
    MOST_KM,
    STEPS,
    Section,
    build_section,
    error_codes,
    run_names,
    sure_ranks,
)
from pinpoint_harness.reports.pages.table import table_html
from pinpoint_harness.reports.pages.text import escaped, script_json, visible
from pinpoint_harness.reports.tables import Row
from pinpoint_harness.running import Run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ReportWorld:
    return ReportWorld(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(world: ReportWorld) -> str:
    return page_of(world, world.a, world.b)


def page_of(world: ReportWorld, *runs: Run, pictures: int = 900) -> str:
    path = world.home / "page.html"
    write_report(runs, world.registry, path, ReportOptions(location=world.location, pictures=pictures))
    return path.read_text(encoding="utf-8")


def section_of(world: ReportWorld, *runs: Run) -> Section:
    truth = world.registry.open_dataset("toy", world.location).truth
    return build_section(runs, None, truth, lambda: np.array([[0.0, 0.0]]))


def test_signs_without_a_shape_are_written_out_and_long_names_cut() -> None:
    assert visible("turned\u202egpj") == "turned\\u{202e}gpj"
    assert visible("a\nb\u200b\u061c") == "a\\u{a}b\\u{200b}\\u{61c}"
    assert visible("Zürich 東京") == "Zürich 東京"
    assert visible("k" * 10_240) == "k" * 160 + "… (10,240 characters)"
    assert escaped("<b>\"'&") == "&lt;b&gt;&quot;&#x27;&amp;"
    assert script_json({"</script>": "\u2028"}) == '{"\\u003c/script\\u003e":"\\u2028"}'


def test_equal_runs_give_equal_bytes_in_any_process(world: ReportWorld, page: str, tmp_path: Path) -> None:
    assert page == page_of(world, world.a, world.b)
    out = tmp_path / "again.html"
    words = ["--plugin", str(world.plugin), "report", world.a.key, world.b.key, "-o", str(out)]
    words += ["--home", str(world.home), "--data", str(world.location.path)]
    words += ["--images", str(world.location.images[0])]
    code = f"from pinpoint_harness.cli.main import cli; cli({words!r})"
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **paths})
    assert out.read_text(encoding="utf-8") == page


def test_nothing_in_the_page_leads_anywhere_and_names_are_never_markup(page: str) -> None:
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    leading = re.findall(r"""<[^<>]*?(?:src|href|action)=["']?(.)""", markup)
    assert set(leading) == {"#", "d"}  # within the page, and `data:`
    assert "default-src 'none'" in page
    for dangerous in ("<script>alert", "<img src=x", "</script><b>", "even <b>rows"):
        assert dangerous not in page
    assert "even &lt;b&gt;rows" in page
    assert "\u202e" not in page
    assert "k" * 200 not in page


def test_there_are_no_more_pictures_than_were_asked_for(world: ReportWorld) -> None:
    assert page_of(world, world.a, world.b, pictures=6).count("data:image/jpeg") == 6


def test_classes_of_error_follow_the_protocol_and_tell_a_miss_from_a_photo_not_asked(
    world: ReportWorld,
) -> None:
    part = world.run("part", limit=10, every=2)
    section = section_of(world, world.a, world.b, part)
    a, b, first_ten = section.columns
    assert (a.band[::2] == 0).all()
    assert (a.band[1::2] == 4).all()  # 20 degrees of latitude are some 2,200 km
    assert b.band[5] == 6  # beyond the five radii is 5, and then no answer
    assert (first_ten.band[10:] == 7).all()
    assert (first_ten.band[:10] == a.band[:10]).all()
    assert section.complete == [a, b]


def test_errors_are_kept_to_a_part_in_a_thousand() -> None:
    error_km = np.array([0.0, 0.001, 0.3, 25.0, 749.0, 20_003.9, np.inf, np.nan])
    codes = error_codes(error_km).astype(float)
    found = LEAST_KM * (MOST_KM / LEAST_KM) ** (codes[1:6] / STEPS)
    np.testing.assert_allclose(found, error_km[1:6], rtol=5.1e-4)
    assert codes[0] == 0
    assert (codes[6:] == 65_535).all()
    assert sure_ranks(np.array([0.5, np.nan, 0.1, 0.5])).tolist() == [65_535, 0, 1, 65_535]


def test_curves_and_slices_are_those_of_the_scores(world: ReportWorld) -> None:
    section = section_of(world, world.a, world.b)
    found = measure(section, compare([world.a, world.b], test_medians=False))
    curve = {
        (run, km): share
        for run, km, share in zip(found.curves["run"], found.curves["km"], found.curves["share"], strict=True)
    }
    assert curve["0", 25.0] == 50.0
    assert curve["1", 25.0] == pytest.approx(100 * 14 / 40)  # every third of 0 to 39
    rows = zip(*(found.slices[name] for name in ("run", "by", "radius", "label", "value")), strict=True)
    assert ("0", "continent", "1", "West (20)", 50.0) in set(rows)
    assert found.differences["value"][found.differences["radius"].index("1")] == pytest.approx(15.0)


def test_telling_photos_come_first(world: ReportWorld) -> None:
    section = section_of(world, world.a, world.b)
    rows = choose_cases(section, 4)
    a, b = section.columns
    assert a.band[rows[0]] <= 1 < b.band[rows[0]]  # the first pair: A is right where B is not
    assert len(set(rows)) == 4


def row(name: str, value: float, **more: object) -> Row:
    cells = {"acc_25km": Estimate(value, None, value - 1, value + 1, 100)}
    return Row(name, cells, protocol="wgs84-lt", n="100", total=100, truth="t", **more)  # type: ignore[arg-type]


def test_only_full_rows_of_one_protocol_can_be_put_in_order() -> None:
    rows = [
        row("one", 1.0),
        row("part", 9.0, complete=False),
        row("best possible", 99.0, kind="oracle"),
        row("paper", 5.0, kind="published"),
        row("paper on some", 6.0, kind="published", verified="copied"),
    ]
    rows[-1] = Row(**{**vars(rows[-1]), "n": "50"})
    html = table_html("t", rows, ["acc_25km"], "title")
    blocks = re.findall(r"<tbody(.*?)>(.*?)</tbody>", html, flags=re.DOTALL)
    sortable = {
        name: "data-sortable" in attributes
        for attributes, body in blocks
        for name in re.findall(r'<th scope="row"><bdi>(?:<b>)?([^<(]*[^<( ])', body)
    }
    assert sortable == {
        "one": True, "part": False, "best possible": False, "paper": True, "paper on some": False
    }  # fmt: skip


def test_names_are_as_short_as_differs(world: ReportWorld) -> None:
    again = world.run("third", every=5)
    assert (
        run_names([world.a, world.b]) == ["even <b>rows</b>", "third"]
        or run_names([world.a, world.b])[1] == "third"
    )
    names = run_names([world.b, again])
    assert len(set(names)) == 2
    assert all(name.startswith("third (") for name in names)


def test_what_cannot_be_a_report_is_refused_in_one_sentence(world: ReportWorld, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="named twice"):
        page_of(world, world.a, world.a)
    result = CliRunner().invoke(cli, ["report", "nothing@nowhere", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "names no run" in result.output


def test_the_command_writes_below_home_and_prints_the_path(world: ReportWorld) -> None:
    words = ["--plugin", str(world.plugin), "report", world.a.key, "--home", str(world.home), "--no-pictures"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert Path(result.stdout.splitlines()[-1]) == world.home / "reports" / "toy.html"
    page = (world.home / "reports" / "toy.html").read_text()
    assert f"pinpoint report {world.a.key} --no-pictures" in page
    assert "Differences need two runs" in page
    assert "data:image/jpeg" not in page


def test_another_file_of_that_name_is_kept_unless_it_may_go(world: ReportWorld, tmp_path: Path) -> None:
    (out := tmp_path / "mine.html").write_text("mine")
    words = ["--plugin", str(world.plugin), "report", world.a.key, "-o", str(out), "--no-pictures"]
    words += ["--home", str(world.home)]
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == 2
    assert "add --overwrite" in refused.stderr
    assert out.read_text() == "mine"
    assert CliRunner().invoke(cli, [*words, "--overwrite"]).exit_code == 0
    assert "<title>pinpoint report: toy" in out.read_text()


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.html.gz"])
def test_a_file_that_is_not_called_a_page_is_refused_with_the_way_to_a_pdf(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["report", "a@b", "-o", str(tmp_path / name)])
    assert result.exit_code == 2
    assert "a page in HTML" in result.stderr
    assert ("print it as PDF" in result.stderr) == name.endswith(".pdf")
    assert not list(tmp_path.iterdir())
