"""Tables: what is ranked, what stands beneath, and that no name can break out of its cell."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint_harness.errors import UsageError
from pinpoint_harness.evaluation import Estimate
from pinpoint_harness.reports.tables import Format, Present, Row, render
from pinpoint_harness.reports.tables.csv_rows import TRAILING, read
from pinpoint_harness.types import STATUS

CLUSTERS = "198 clusters by AUTHOR, 54.1 effective"
METRICS = ("acc_1km", "acc_25km", "mean_km", "geoscore")


HOSTILE = st.text(
    st.sampled_from("aB1 \\\\{}[]()*&%$#_~^<>|\"'`=+-@!.;,/é†\n\r\t\x00\x1b\u202e\u2028"), max_size=12
).map("a".__add__) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "[click](javascript:alert(1))",
        "a | b\n| c |",
        "=cmd|' /C calc'!A1",
        "@SUM(1)",
        "-1+1",
        "'=1",
        "\\input{/etc/passwd}",
        "100% & {more} #1_x^2~",
        "*starred",
        "[bracketed]",
    ]
)


def exact(value: float | None, n: int = 100) -> Estimate:
    return Estimate(value, None, None, None, n)


def measured(method: str, n: int = 100, **figures: float | None) -> Row:
    cells = {name: exact(value, n) for name, value in figures.items()}
    return Row(method, cells, protocol="wgs84-lt", n=str(n), total=100)


def published(method: str, **changes: Any) -> Row:
    usual = {"protocol": "wgs84-lt", "mllm": "no", "web": "no", "verified": "copied", "source": "arXiv:1"}
    return Row(method, {"acc_1km": exact(50.0, 0)}, kind="published", **(usual | changes))


def counts(total: int, **missed: int) -> dict[str, int]:
    words = {word: missed.get(word.replace(" ", "_"), 0) for word in STATUS}
    return {"total": total} | words | {"ok": total - sum(missed.values())}


def table(*rows: Row, metrics: Sequence[str] = ("acc_1km", "mean_km"), **options: Any) -> str:
    return render(rows, metrics, "md", title="Toy", **options)


def cells_of(markdown: str) -> dict[str, list[str]]:
    """Each row's cells by its first one; an escaped pipe does not end a cell."""
    lines = [
        re.findall(r"\|((?:\\.|[^|\\])*)(?=\|)", line)
        for line in markdown.splitlines()
        if line.startswith("|")
    ]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def notes_of(markdown: str) -> list[str]:
    return [line.removeprefix("- ") for line in markdown.splitlines() if line.startswith("- ")]


GOLDEN_ROWS = [
    Row(
        "knn",
        {"acc_25km": Estimate(44.44, 0.95, 42.5, 46.33, 200), "mean_km": exact(1800.06, 198)},
        protocol="wgs84-lt",
        n="200",
        total=200,
        counts=counts(200, missing=2),
        clusters=CLUSTERS,
    ),
    Row(
        "geo_clip",
        {"acc_25km": Estimate(33.0, 1.0, 31.0, 35.0, 200), "mean_km": exact(1900.0, 198)},
        protocol="wgs84-lt",
        n="200",
        total=200,
        clusters=CLUSTERS,
    ),
    Row("MP-16 best", {"acc_25km": exact(97.0, 200)}, kind="oracle", protocol="wgs84-lt", n="200", total=200),
    Row(
        "[L]kNN & co",
        {"acc_25km": exact(19.4, 0)},
        kind="published",
        source="arXiv:1705.04838",
        mllm="yes",
        web="no",
        verified="copied",
    ),
]
"""A row with misses, one without, an oracle and a published row with two marks."""


def golden(format: Format) -> str:
    """The table with its padding squeezed out, which is all that versions of tabulate differ in."""
    text = render(
        GOLDEN_ROWS, ("acc_1km", "acc_25km", "mean_km"), format, title="Toy 100%", notes=["Remark."]
    )
    return re.sub(r"(?<=\|)-+(?=\|)", "-", re.sub(r" +", " ", text))


def test_markdown_is_the_table_written_by_hand() -> None:
    assert (
        golden("md")
        == r"""### Toy 100%

| method | source | 25 km | mean km |
|-|-|-|-|
| *measured (wgs84-lt)* | | | |
| knn | | **44.4** [42.5, 46.3] | **1800.1** |
| geo\_clip | | <ins>33.0</ins> [31.0, 35.0] | <ins>1900.0</ins> |
| *oracle (wgs84-lt), not ranked* | | | |
| MP-16 best (oracle) | | 97.0 | – |
| *published, not ranked* | | | |
| \[L\]kNN \& co †? | arXiv:1705.04838 | 19.4 | – |

- Accuracies in percent; 95 % intervals in brackets.
- Bold: best; underlined: second, among the complete measured rows of one protocol.
- † uses a multimodal language model; ? does not state its protocol.
- Remark.
- knn: total 200: scored 198, missing 2
- knn, geo\_clip: mean km over 198 of 200 images
- 95 % intervals: cluster bootstrap, 198 clusters by AUTHOR, 54.1 effective
"""
    )


def test_latex_is_the_table_written_by_hand() -> None:
    assert (
        golden("latex")
        == r"""% \usepackage{booktabs,graphicx}
\begin{table*}
\centering
\caption{Toy 100\%}
\label{tab:toy-100}
\smallskip
\small
\resizebox{\ifdim\width>\textwidth \textwidth\else\width\fi}{!}{%
\begin{tabular}{llrr}
\toprule
 method & source & 25 km & mean km \\
\midrule
\multicolumn{4}{l}{\emph{measured (wgs84-lt)}} \\
 knn & & \textbf{44.4} [42.5, 46.3] & \textbf{1800.1} \\
 geo\_clip & & \underline{33.0} [31.0, 35.0] & \underline{1900.0} \\
\midrule
\multicolumn{4}{l}{\emph{oracle (wgs84-lt), not ranked}} \\
 MP-16 best (oracle) & & 97.0 & -- \\
\midrule
\multicolumn{4}{l}{\emph{published, not ranked}} \\
 {[}L]kNN \& co\textsuperscript{\textdagger{}?} & arXiv:1705.04838 & 19.4 & -- \\
\bottomrule
\end{tabular}
}
\par\smallskip
{\scriptsize\raggedright
Accuracies in percent; 95 \% intervals in brackets.\par
Bold: best; underlined: second, among the complete measured rows of one protocol.\par
\textdagger{} uses a multimodal language model; ? does not state its protocol.\par
Remark.\par
knn: total 200: scored 198, missing 2\par
knn, geo\_clip: mean km over 198 of 200 images\par
95 \% intervals: cluster bootstrap, 198 clusters by AUTHOR, 54.1 effective\par
}
\end{table*}
"""
    )


def test_html_is_the_table_written_by_hand() -> None:
    assert (
        golden("html-part").partition("</style>\n")[2].partition("<ul>")[0]
        == """<table>
<caption>Toy 100%</caption>
<thead><tr><th scope="col">method</th><th scope="col">source</th><th scope="col" class="figure">25 km</th>\
<th scope="col" class="figure">mean km</th></tr></thead>
<tbody>
<tr><th scope="rowgroup" colspan="4">measured (wgs84-lt)</th></tr>
<tr><th scope="row">knn</th><td></td><td class="figure"><strong>44.4</strong> \
<span class="interval">[42.5, 46.3]</span></td>\
<td class="figure"><strong>1800.1</strong></td></tr>
<tr><th scope="row">geo_clip</th><td></td><td class="figure"><u>33.0</u> \
<span class="interval">[31.0, 35.0]</span></td>\
<td class="figure"><u>1900.0</u></td></tr>
</tbody>
<tbody>
<tr><th scope="rowgroup" colspan="4">oracle (wgs84-lt), not ranked</th></tr>
<tr><th scope="row">MP-16 best (oracle)</th><td></td>\
<td class="figure">97.0</td><td class="figure">–</td></tr>
</tbody>
<tbody>
<tr><th scope="rowgroup" colspan="4">published, not ranked</th></tr>
<tr><th scope="row">[L]kNN &amp; co<sup>†?</sup></th><td>arXiv:1705.04838</td><td class="figure">19.4</td>\
<td class="figure">–</td></tr>
</tbody>
</table>
"""
    )


def test_csv_is_unrounded_and_begins_with_the_columns_of_the_published_files() -> None:
    header, knn, *others = golden("csv").splitlines()
    assert header == (
        "method,source,mllm,web,acc_25km,mean_km,protocol,views,n,gallery,author_filter,verified,note,"
        "acc_25km_low,acc_25km_high,acc_25km_standard_error,acc_25km_n,acc_25km_present,acc_25km_letters,"
        "mean_km_low,mean_km_high,mean_km_standard_error,mean_km_n,mean_km_present,mean_km_letters,"
        "kind,complete,total,scored,missing,unreadable,no_prediction,invalid_coordinate,"
        "clusters,present_n,present_ids_sha256,footnotes"
    )
    assert knn == (
        "knn,,?,?,44.44,1800.06,wgs84-lt,?,200,?,?,?,,42.5,46.33,0.95,200,,,,,,198,,,"
        'measured,yes,200,198,2,0,0,0,"198 clusters by AUTHOR, 54.1 effective",,,'
    )
    assert [line.partition(",")[0] for line in others] == ["geo_clip", "MP-16 best", "[L]kNN & co"]


def test_lower_is_better_for_kilometres_and_higher_for_the_rest() -> None:
    low = measured("low", acc_1km=1.0, mean_km=10.0, geoscore=100.0)
    high = measured("high", acc_1km=2.0, mean_km=20.0, geoscore=200.4)
    rows = cells_of(table(low, high, metrics=("acc_1km", "mean_km", "geoscore")))
    assert rows["low"] == ["<ins>1.0</ins>", "**10.0**", "<ins>100</ins>"]
    assert rows["high"] == ["**2.0**", "<ins>20.0</ins>", "**200**"]


def test_figures_that_look_equal_share_the_mark() -> None:
    figures = {"a": 3.04, "b": 2.96, "c": 1.0, "d": 1.04, "e": 0.5}
    rows = cells_of(table(*(measured(name, acc_1km=value) for name, value in figures.items())))
    assert rows["a"] == rows["b"] == ["**3.0**"]
    assert rows["c"] == rows["d"] == ["<ins>1.0</ins>"]
    assert rows["e"] == ["0.5"]


def test_a_single_row_or_figure_is_not_called_the_best() -> None:
    assert "**" not in table(measured("a", acc_1km=1.0))
    rows = cells_of(table(measured("a", acc_1km=1.0, mean_km=5.0), measured("b", acc_1km=2.0)))
    assert rows["a"] == ["<ins>1.0</ins>", "5.0"]
    assert rows["b"] == ["**2.0**", "–"]


def test_partial_oracle_and_published_rows_are_never_ranked() -> None:
    partial = Row("part", {"acc_1km": exact(99.0, 7)}, protocol="wgs84-lt", n="7", total=4536, complete=False)
    oracle = Row("best", {"acc_1km": exact(98.0)}, kind="oracle", protocol="wgs84-lt")
    text = table(partial, oracle, published("paper"), measured("a", acc_1km=1.0), measured("b", acc_1km=2.0))
    rows = cells_of(text)
    assert rows["part (7 of 4,536)"][-1] == "99.0"
    assert rows["best (oracle)"][-1] == "98.0"
    assert rows["paper"][-1] == "50.0"
    assert rows["b"][-1] == "**2.0**"
    assert "part: partial: 7 of 4,536, not ranked" in notes_of(text)


def test_means_over_different_numbers_of_images_are_not_ranked() -> None:
    everything = Row(
        "all", {"acc_1km": exact(1.0), "mean_km": exact(10.0)}, protocol="wgs84-lt", n="100", total=100
    )
    easy = Row(
        "easy", {"acc_1km": exact(2.0), "mean_km": exact(1.0, 60)}, protocol="wgs84-lt", n="100", total=100
    )
    text = table(everything, easy)
    assert cells_of(text)["easy"] == ["**2.0**", "1.0"]
    assert "easy: mean km over 60 of 100 images" in notes_of(text)
    assert "measured (wgs84-lt): mean km not ranked, over different numbers of images." in notes_of(text)


def test_rows_of_different_protocols_are_refused_by_name() -> None:
    other = Row("other", {"acc_1km": exact(1.0)}, protocol="wgs84-le")
    with pytest.raises(UsageError) as refusal:
        table(measured("mine", acc_1km=1.0), other, published("paper", protocol="haversine-6371-lt"))
    assert refusal.value.found == "mine: wgs84-lt; other: wgs84-le"


def test_mixed_protocols_make_one_block_each_ranked_alone() -> None:
    others = [
        Row(name, {"acc_1km": exact(value)}, protocol="wgs84-le") for name, value in (("c", 8.0), ("d", 9.0))
    ]
    mine = [measured("a", acc_1km=1.0), measured("b", acc_1km=2.0)]
    rows = cells_of(table(mine[0], *others, mine[1], mix_protocols=True))
    assert [*rows][2:] == ["*measured (wgs84-lt)*", "a", "b", "*measured (wgs84-le)*", "c", "d"]
    assert rows["b"] == ["**2.0**"]
    assert rows["a"] == ["<ins>1.0</ins>"]
    assert rows["d"] == ["**9.0**"]
    assert rows["c"] == ["<ins>8.0</ins>"]


def test_published_rows_of_other_protocols_stand_beside_measured_ones() -> None:
    text = table(measured("mine", acc_1km=1.0), published("paper", protocol="haversine-6371-le"))
    assert "published under haversine-6371-le: paper" in notes_of(text)


def test_a_metric_that_no_row_has_is_dropped_and_one_row_without_it_has_a_dash() -> None:
    text = table(measured("a", acc_1km=1.0, mean_km=None), measured("b", mean_km=2.0), metrics=METRICS)
    assert cells_of(text)["method"] == ["1 km", "mean km"]
    assert cells_of(text)["a"] == ["1.0", "–"]


def test_published_rows_with_none_of_the_metrics_are_left_out() -> None:
    admin_only = Row("admin", {"acc_country": exact(80.0)}, kind="published")
    text = table(published("paper"), admin_only)
    assert "admin" not in text
    assert (
        cells_of(table(published("paper"), admin_only, metrics=("acc_1km", "acc_country")))["admin ¶?"][-1]
        == "80.0"
    )


@pytest.mark.parametrize("metrics", [(), ("acc_2500km",)])
def test_a_table_without_figures_is_refused(metrics: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="no row of 'Toy' has any of"):
        table(measured("a", acc_1km=1.0), metrics=metrics)


def test_unknown_metrics_and_formats_are_refused() -> None:
    with pytest.raises(UsageError, match="no metric is called 'acc_1mi'"):
        table(measured("a", acc_1km=1.0), metrics=("acc_1mi",))
    with pytest.raises(UsageError, match="no metric is called 'speed'"):
        measured("a", speed=1.0)
    with pytest.raises(UsageError, match="no table format 'pdf'"):
        render([measured("a", acc_1km=1.0)], ("acc_1km",), "pdf", title="Toy")  # type: ignore[arg-type] # on purpose


def test_headers_name_radii_and_places() -> None:
    names = ("acc_0.5km", "acc_country", "median_km", "geoscore")
    row = Row("a", {name: exact(1.0) for name in names})
    assert cells_of(table(row, metrics=names))["method"] == [
        "0.5 km",
        "country",
        "median km",
        "GeoScore",
    ]


@pytest.mark.parametrize(
    ("changes", "sign", "meaning"),
    [
        ({"mllm": "yes"}, "†", "uses a multimodal language model"),
        ({"web": "yes"}, "‡", "searches the web"),
        ({"note": "Approximate, read off a figure"}, "≈", "approximate"),
        ({"verified": "approximate"}, "≈", "approximate"),
        ({"verified": "unverified"}, "¶", "not verified against its source"),
        ({"n": "96 (inferred)"}, "§", "scored on other than the full dataset"),
        ({"protocol": "?"}, "?", "does not state its protocol"),
    ],
)
def test_a_published_row_is_marked_and_the_legend_lists_only_that_mark(
    changes: Mapping[str, str], sign: str, meaning: str
) -> None:
    text = table(measured("mine", acc_1km=1.0), published("paper", **changes))
    assert f"paper {sign}" in cells_of(text)
    assert f"{sign} {meaning}." in notes_of(text)


def test_published_rows_on_the_full_dataset_and_measured_rows_carry_no_mark() -> None:
    text = table(measured("mine", acc_1km=1.0), published("paper", n="100"))
    assert {"mine", "paper"} <= set(cells_of(text))
    assert notes_of(text) == ["Accuracies in percent.", "published under wgs84-lt: paper"]


def test_what_was_missed_stands_beneath_the_row() -> None:
    row = Row(
        "a", {"acc_1km": exact(1.0)}, counts=counts(4536, missing=30, unreadable=6), n="4536", total=4536
    )
    assert "a: total 4536: scored 4500, missing 30, unreadable 6" in notes_of(table(row))
    whole = Row("a", {"acc_1km": exact(1.0)}, counts=counts(4536), n="4536", total=4536)
    assert "total" not in table(whole)


def test_counts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(UsageError, match="do not add up"):
        Row("a", {}, counts={**counts(10, missing=3), "ok": 10})
    with pytest.raises(UsageError, match="counts are of"):
        Row("a", {}, counts={"total": 1, "lost": 1})


def test_the_second_figure_and_a_rows_own_footnotes_stand_beneath() -> None:
    present = Present(4378, "ab12" * 16, {"acc_1km": 34.26, "geoscore": 3000.4})
    row = Row(
        "a", {"acc_1km": exact(33.0)}, n="4536", total=4536, present=present, footnotes=("2 ids were twice.",)
    )
    assert "a: over the 4378 images present: 1 km 34.3 (ids ab12ab12ab12)" not in notes_of(
        table(published("x"))
    )
    assert notes_of(table(row))[-2:] == [
        "a: over the 4378 images present: 1 km 34.3 (ids ab12ab12ab12)",
        "a: 2 ids were twice.",
    ]


def test_intervals_of_different_clusterings_are_described_row_by_row() -> None:
    sure = {"acc_1km": Estimate(1.0, 0.1, 0.8, 1.2, 100)}
    rows = [
        Row("a", sure, clusters=CLUSTERS),
        Row("b", sure, clusters="unclustered: no author is known"),
        Row("c", sure),
        Row("d", {"acc_1km": exact(1.0)}),
    ]
    assert notes_of(table(*rows))[-3:] == [
        f"a: 95 % intervals: cluster bootstrap, {CLUSTERS}",
        "b: 95 % intervals: unclustered: no author is known",
        "c: 95 % intervals: unclustered",
    ]


def test_without_intervals_neither_brackets_nor_clusters_are_shown() -> None:
    text = render(GOLDEN_ROWS, ("acc_25km",), "md", title="Toy", intervals=False)
    assert "[42.5" not in text
    assert "95 %" not in text


def test_views_gallery_and_author_filter_are_named_where_unusual() -> None:
    filtered = Row("a", {"acc_1km": exact(1.0)}, views="10", gallery="MP-16", author_filter="yes")
    plain = Row("b", {"acc_1km": exact(1.0)}, views="1", gallery="none", author_filter="no")
    assert notes_of(table(filtered, plain))[-3:] == [
        "views 10: a",
        "author filter yes: a",
        "gallery MP-16: a",
    ]


def test_infinite_and_undefined_figures_are_refused() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(UsageError, match="mean_km is"):
            measured("a", mean_km=value)


class Tags(HTMLParser):
    """Which tags and attributes a page has, whether they nest, and the text of each row's name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.names: list[str] = []
        self.is_name = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":  # has no end
            self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= set(attrs)
        self.is_name = ("scope", "row") in attrs
        if self.is_name:
            self.names.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.is_name = False

    def handle_data(self, data: str) -> None:
        if self.is_name:
            self.names[-1] += data


def one_line(name: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\u2028]", " ", name).replace("\u202e", "").split())


def hostile_table(name: str, format: Format) -> str:
    """A name wherever a name can stand: row, source, gallery, footnote, protocol, title, notes."""
    figures = {"acc_1km": Estimate(1.0, 0.1, 0.5, 1.5, 100)}
    row = Row(name, figures, protocol=name, source=name, gallery=name, clusters=name, footnotes=(name,))
    paper = published(name, source=name, gallery=name, n=name, total=5)
    return render([row, paper], ("acc_1km",), format, title=name, notes=[name])


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_no_name_adds_a_tag_or_attribute_to_html(name: str) -> None:
    page = Tags(hostile_table(name, "html"))
    assert page.open == []
    known = "html head meta title style body div table caption thead tbody tr th td sup span ul li"
    assert page.tags <= set(known.split())
    named = "lang charset name content scope colspan class"
    assert {key for key, _ in page.attributes} == set(named.split())
    assert page.names == [one_line(name), one_line(name)]


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_no_name_breaks_a_markdown_row_or_becomes_markup(name: str) -> None:
    text = hostile_table(name, "md")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 6
    for line in rows:
        assert len(re.sub(r"\\.", "", line).split("|")) == 5
    for line in (rows[3], rows[5], *notes_of(text)):
        unescaped = re.sub(r"\\.", "", line).replace("[0.5, 1.5]", "")
        assert not re.search(r"[`*_\[\]<>~&#]", unescaped)
    shown = re.sub(r"\\([^a-zA-Z0-9])", r"\1", [*cells_of(text)][3])
    assert shown == one_line(name)
    assert not any(re.match(r"[+=-]|\d+[.)]", note) for note in notes_of(text))


def assert_is_sound_latex(text: str) -> None:
    """Braces balance, and no character with a meaning stands unescaped but the column separators."""
    without_commands = re.sub(r"\\([a-zA-Z]+|.|\n)", "", text)
    depth = 0
    for character in without_commands:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    ours = without_commands.replace("% {booktabs,graphicx}", "").replace("{> }{!}{%\n", "")
    assert not re.search(r"[#$%^_~<>|\\]", ours)
    body = text.partition("\\toprule")[2].partition("\\bottomrule")[0]
    for line in body.splitlines():
        if line.endswith(r"\\") and not line.startswith(r"\multicolumn"):
            assert re.sub(r"\\.", "", line).count("&") == 2
            assert not line.strip().startswith(("[", "*"))
    outside = text.replace(body, "")
    assert "&" not in re.sub(r"\\.", "", outside)


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_no_name_unbalances_or_commands_latex(name: str) -> None:
    text = hostile_table(name, "latex")
    assert_is_sound_latex(text)
    known = "usepackage begin centering caption label small resizebox ifdim width textwidth else fi toprule"
    known += " midrule bottomrule multicolumn emph end par smallskip scriptsize raggedright textsuperscript"
    known += " textbackslash textasciitilde textasciicircum textless textgreater textbar"
    known += " textdagger textparagraph textsection"
    assert set(re.findall(r"(?<!\\)\\([a-zA-Z]+)", text.replace(r"\\", ""))) <= set(known.split())


def test_the_latex_check_itself_notices_what_it_is_for() -> None:
    for broken in ("{", "}", "a_b", "50%", "a & b"):
        with pytest.raises(AssertionError):
            assert_is_sound_latex(broken)


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
def test_no_name_becomes_a_formula_or_a_line_of_a_spreadsheet(name: str) -> None:
    lines = list(csv.reader(io.StringIO(hostile_table(name, "csv"))))
    assert [len(line) for line in lines] == [len(lines[0])] * 3
    for cell in (cell for line in lines for cell in line):
        assert not cell.startswith(tuple("=+-@"))
        assert not re.search(r"[\x00-\x1f]", cell)
    assert lines[1][0] in (one_line(name), "'" + one_line(name))


TEXT = HOSTILE.map(one_line)
PERCENT = st.floats(0, 100)
OPTIONAL = st.none() | PERCENT


@st.composite
def published_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for position in range(draw(st.integers(1, 4))):
        accuracies = sorted((draw(PERCENT), draw(PERCENT)))
        values = dict(zip(METRICS, (*accuracies, draw(OPTIONAL), draw(OPTIONAL)), strict=True))
        n = draw(st.integers(0, 10**7))
        cells = {
            name: Estimate(value, None, None, None, n) for name, value in values.items() if value is not None
        }
        row = Row(f"{position} {draw(TEXT)}", cells, "published", protocol="wgs84-lt", n=f"{n} (all)")
        words = {name: draw(st.sampled_from(["yes", "no", "?"])) for name in ("mllm", "web", "author_filter")}
        rows.append(replace(row, source=draw(TEXT), gallery=draw(TEXT) or "?", note=draw(TEXT), **words))
    return rows


@settings(max_examples=60, deadline=None)
@given(published_rows())
def test_the_published_columns_of_a_table_read_back_equal(rows: list[Row]) -> None:
    lines = list(csv.reader(io.StringIO(render(rows, METRICS, "csv", title=""), newline="")))
    text = io.StringIO()
    csv.writer(text).writerows(line[: lines[0].index(TRAILING[-1]) + 1] for line in lines)
    assert read(text.getvalue(), "table.csv") == rows


def test_numpy_numbers_are_written_as_plain_ones() -> None:
    estimate = Estimate(np.float64(12.5), np.float64(1.0), np.float64(10.0), np.float64(15.0), 8)
    text = render([Row("a", {"acc_1km": estimate})], ("acc_1km",), "csv", title="")
    assert "np." not in text
    (line,) = csv.DictReader(text.splitlines())
    parts = ("", "_standard_error", "_low", "_high", "_n")
    assert [line[f"acc_1km{part}"] for part in parts] == ["12.5", "1.0", "10.0", "15.0", "8"]
