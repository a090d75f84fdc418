"""Leaderboards rank only what may be compared, say what they leave out, and link what is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner, Result
from tests.support.report_world import ReportWorld

from pinpoint_harness.api import score
from pinpoint_harness.cli.main import cli
from pinpoint_harness.evaluation import Estimate, get_protocol
from pinpoint_harness.reports.pages import ReportOptions, write_site
from pinpoint_harness.reports.pages.leaderboard import Board, Edition, board_page, board_rows, index_page
from pinpoint_harness.reports.pages.site import report_parts
from pinpoint_harness.reports.tables import Row
from pinpoint_harness.running import Run
from pinpoint_harness.types import RADII_KM

OWN, OTHER = "wgs84-lt", "haversine-6371-le"


class Site:
    """Two complete runs and a partial one of one truth, a run of another truth, and a damaged one."""

    def __init__(self, root: Path) -> None:
        self.world = ReportWorld(root)
        self.part = self.world.run("part", limit=10, every=2)
        score(self.world.b, protocol=OTHER)
        self.damaged = self.world.run("gone", every=7)
        answers = self.damaged.folder / "predictions.parquet"
        answers.write_bytes(answers.read_bytes()[:-9])
        truth = self.world.location.path
        assert truth is not None
        text = truth.read_text()
        truth.write_text(text.replace("-80.0", "-80.5", 1))
        self.elsewhere = self.world.run("third", every=3)
        truth.write_text(text)
        self.folder = self.write("site")

    def write(self, name: str) -> Path:
        path = self.world.home / name
        index = write_site(
            self.world.home / "runs", self.world.registry, path, ReportOptions(), reports=False
        )
        assert index == path / "index.html"
        return path

    def page(self, run: Run, protocol: str) -> str:
        (path,) = self.folder.glob(f"toy-{run.record['recipe']['dataset_hash'][:8]}/{protocol}.html")
        return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def blocks(page: str) -> list[tuple[str, bool, list[str]]]:
    """Heading, whether rows can be put in order, and names of rows of each block of the table of results."""
    (table,) = re.findall(r'<table class="results".*?</table>', page, flags=re.DOTALL)
    return [
        (
            re.findall(r'rowgroup"[^>]*>(.*?)</th>', body)[0],
            "data-sortable" in attributes,
            [re.sub(r"<[^>]*>", "", name) for name in re.findall(r'scope="row">(.*?)</th>', body)],
        )
        for attributes, body in re.findall(r"<tbody(.*?)>(.*?)</tbody>", table, flags=re.DOTALL)
    ]


def test_complete_runs_of_one_truth_are_ranked_and_parts_stand_apart(site: Site) -> None:
    assert blocks(site.page(site.world.a, OWN)) == [
        (f"measured ({OWN})", True, ["even &lt;b&gt;rows&lt;/b&gt;", "third"]),
        (f"measured ({OWN}), not ranked", False, ["part (10 of 40)"]),
    ]
    assert '50.0</b> <i class="letters">a</i>' in site.page(site.world.a, OWN)
    assert blocks(site.page(site.elsewhere, OWN)) == [(f"measured ({OWN})", True, ["third"])]


def test_a_protocol_that_one_run_was_scored_by_measures_all(site: Site) -> None:
    ((_, _, names), _) = blocks(site.page(site.world.a, OTHER))
    assert names == ["even &lt;b&gt;rows&lt;/b&gt;", "third"]
    assert len(list(site.folder.rglob("*.html"))) == 1 + 2 + 1


def test_what_is_damaged_is_said_without_places_of_this_machine(site: Site) -> None:
    line = f"toy/gone/{site.damaged.key}: predictions.parquet is changed"
    index = (site.folder / "index.html").read_text()
    for page in (index, site.page(site.world.a, OWN)):
        assert f"<li><bdi>{line}</bdi></li>" in page
        assert str(site.world.home) not in page
    assert "<b>3044</b>" in index or "<b>3043</b>" in index
    assert "not ranked:</small> <small>1 partial run" in index


def test_every_link_leads_to_a_file_or_place_of_the_site(site: Site) -> None:
    pages = list(site.folder.rglob("*.html"))
    followed = 0
    for path in pages:
        for address in re.findall(r'<a href="([^"]*)"', path.read_text(encoding="utf-8")):
            assert not re.match(r"[a-z]+:|/", address), address
            name, _, anchor = unquote(address).partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target in [page.resolve() for page in pages], address
            assert not anchor or f'id="{anchor}"' in target.read_text(encoding="utf-8")
            followed += 1
    assert followed > 10


def test_pages_hold_to_the_rules_of_reports(site: Site) -> None:
    for path in site.folder.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert "default-src 'none'" in page
        assert "unsafe-eval" not in page
        for dangerous in ("<script>alert", "<img src=x", "even <b>rows"):
            assert dangerous not in page
        ids = re.findall(r' id="([^"]*)"', page)
        assert len(ids) == len(set(ids))


def test_equal_runs_give_equal_files_in_any_process(site: Site, tmp_path: Path) -> None:
    shutil.copytree(site.world.home / "runs", tmp_path / "runs")
    words = ["--plugin", str(site.world.plugin), "site", "--no-reports", "--home", str(tmp_path)]
    code = f"from pinpoint_harness.cli.main import cli; cli({words!r})"
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env={**os.environ, **paths})
    again = tmp_path / "reports" / "site"
    names = {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert names == {path.relative_to(site.folder) for path in site.folder.rglob("*") if path.is_file()}
    for name in names:
        assert (again / name).read_bytes() == (site.folder / name).read_bytes()


# Pages of rows made by hand


def row(name: str, value: float, **more: object) -> Row:
    cells = {"geoscore": Estimate(value, 1.0, value - 1, value + 1, 100)}
    fields = {"protocol": OWN, "n": "100", "total": 100, "truth": "t", "short": name, **more}
    return Row(name, cells, **fields)  # type: ignore[arg-type]


def edition(dataset: str, *, procedural: bool = False) -> Edition:
    title = f"Title of {dataset}"
    return Edition(dataset, title, "f" * 64, 100, (), procedural, OWN, RADII_KM, f"{dataset}-folder", (), ())


def test_published_rows_never_stand_among_those_of_runs() -> None:
    published = [
        row("unsaid", 9.0, kind="published", protocol="?", verified="copied"),
        row("other paper", 8.0, kind="published", protocol=OTHER, verified="copied"),
        row("same paper", 7.0, kind="published", verified="copied"),
    ]
    measured = [row("oracle", 99.0, kind="oracle"), row("part", 5.0, complete=False), row("low", 1.0)]
    rows = board_rows([*measured, row("high", 2.0)], published, OWN)
    board = Board(edition("a"), get_protocol(OWN), rows)
    page = board_page(board, [board], {}, "")
    assert [(sortable, names) for _, sortable, names in blocks(page)] == [
        (True, ["high", "low"]),
        (False, ["part (100 of 100)"]),
        (False, ["oracle (oracle)"]),
        (True, ["same paper"]),
        (True, ["other paper"]),
        (False, ["unsaid ?"]),
    ]
    assert "2 complete runs, the highest GeoScore first; not ranked: 1 partial run and 1 oracle." in page
    assert "never ranked against a run: 3, of which 1 states this protocol" in page


def test_procedural_datasets_are_labelled_and_come_after_real_ones() -> None:
    boards = [
        Board(one, get_protocol(OWN), [row("method", 1.0)])
        for one in (edition("drawn", procedural=True), edition("real"))
    ]
    index = index_page(boards, [], "pinpoint site")
    real, _, drawn = index.partition("<h2>Procedural datasets</h2>")
    assert "Title of real" in real
    assert "Procedural:" not in real
    assert "Title of drawn" in drawn
    assert "Title of real" not in drawn
    assert "<b>Procedural:</b>" in drawn
    assert "<b>Procedural:</b>" in board_page(boards[0], boards[:1], {}, "")
    assert "Procedural" not in board_page(boards[1], boards[1:], {}, "")


def test_many_runs_make_several_reports_the_best_last_in_the_first(site: Site) -> None:
    runs = (site.part, site.world.b, site.world.a)
    rows = [row(run.label, 1.0, run=run.key, complete=run is not site.part) for run in runs[::-1]]
    small = replace(edition("toy"), runs=runs)
    assert report_parts(small, rows) == [[site.part, site.world.b, site.world.a]]
    large = replace(small, photos=1_000_000)
    assert report_parts(large, rows) == [[site.world.b, site.world.a], [site.part]]


# The command


def pinpoint(site: Site, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--plugin", str(site.world.plugin), *words])


def test_the_command_writes_below_home_and_a_folder_of_others_is_kept(site: Site, tmp_path: Path) -> None:
    home = ["--home", str(site.world.home)]
    made = pinpoint(site, "site", "--no-reports", *home)
    index = site.world.home / "reports" / "site" / "index.html"
    assert made.stdout.splitlines() == [str(index)], made.output
    (tmp_path / "mine.txt").write_text("mine")
    refused = pinpoint(site, "site", "--no-reports", "-o", str(tmp_path), "--overwrite", *home)
    assert refused.exit_code == 2
    assert "found: mine.txt" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_another_site_is_replaced_only_when_asked(site: Site, tmp_path: Path) -> None:
    words = ["site", "--no-reports", "-o", str(tmp_path / "out"), "--home", str(site.world.home)]
    assert pinpoint(site, *words).exit_code == 0
    assert pinpoint(site, *words).exit_code == 0  # the same
    refused = pinpoint(site, *words, "--no-published")
    assert refused.exit_code == 2
    assert "add --overwrite" in refused.stderr
    assert pinpoint(site, *words, "--all-protocols", "--overwrite").exit_code == 0
    assert len(list((tmp_path / "out").rglob("*.html"))) > 10


def test_a_home_without_runs_is_refused_in_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["site", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "there is no finished run" in result.stderr
    assert list(tmp_path.iterdir()) == []
