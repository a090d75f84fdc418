"""A finished table as LaTeX for the packages booktabs and graphicx, by any engine.

Names may hold any letter. pdflatex knows few beyond ASCII, so accents are spelled out; what has no
spelling is itself under XeLaTeX and LuaLaTeX and its code point under pdflatex.
"""

from __future__ import annotations

import re
import unicodedata

from .formats import Cell, Grid, plain, tabulated

_SPELLED = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "¶": r"\textparagraph{}",
    "§": r"\textsection{}",
    "≈": r"\ensuremath{\approx}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "°": r"\ensuremath{^\circ}",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}

_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
    "\N{COMBINING DOT ABOVE}": ".",
}

_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψω",
        """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon
        phi chi psi omega""".split(),  # noqa: SIM905 - one name a line would be longer than what it says
        strict=True,
    )
)


def latex(grid: Grid) -> str:
    """A table with caption, `\\label` and notes below, shrunk where it is wider than its place.

    A compact one is for one column of a paper (`table`), any other for the width of the page (`table*`).
    """
    environment, width = ("table", r"\columnwidth") if grid.compact else ("table*", r"\textwidth")
    fit = rf"\resizebox{{\ifdim\width>{width} {width}\else\width\fi}}{{!}}{{%"
    notes = [rf"{latex_text(note)}\par" for note in grid.notes]
    below = [r"\par\smallskip", r"{\scriptsize\raggedright", *notes, "}"] if notes else []
    lines = [
        r"% \usepackage{booktabs,graphicx}",
        rf"\begin{{{environment}}}",
        r"\centering",
        rf"\caption{{{latex_text(grid.title)}}}",
        rf"\label{{tab:{_label(grid.title)}}}",
        r"\smallskip",
        *([r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"] if grid.compact else [r"\small"]),
        fit,
        *_tabular(grid),
        "}",
        *below,
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(grid: Grid) -> list[str]:
    """The `tabular` with one `\\midrule` between blocks."""
    lines = tabulated(grid, "latex_raw", _cell, lambda text: rf"\emph{{{latex_text(text)}}}", latex_text)
    # tabulate writes \begin, \hline, header, \hline, one line per row, \hline, \end.
    body = iter(lines[4:-2])
    columns = len(grid.headers)
    ruled = [lines[0], r"\toprule", lines[2]]
    for block in grid.blocks:
        next(body)
        # Over all columns: in the first alone a long heading would widen the names.
        heading = rf"\multicolumn{{{columns}}}{{l}}{{\emph{{{latex_text(block.heading)}}}}} \\"
        ruled += [r"\midrule", heading, *(next(body) for _ in block.rows)]
    return [*ruled, r"\bottomrule", lines[-1]]


def latex_text(text: str) -> str:
    """Any text as LaTeX that pdflatex, too, can set."""
    escaped = "".join(map(_spelled, plain(text)))
    # After `\\` or \midrule, a row that begins with [ or * would be read as their argument.
    return re.sub(r"^([\[*])", r"{\1}", escaped)


def _spelled(character: str) -> str:
    if character in _SPELLED:
        return _SPELLED[character]
    if character.isascii():
        return character
    if character in _GREEK:
        return rf"\ensuremath{{\{_GREEK[character]}}}"
    base, *accents = list(unicodedata.normalize("NFD", character))
    if base.isascii() and len(accents) == 1 and accents[0] in _ACCENTS:
        letter = {"i": r"\i", "j": r"\j"}.get(base, base)
        return rf"\{_ACCENTS[accents[0]]}{{{letter}}}"
    return rf"{{\ifdefined\Umathchar {character}\else\texttt{{U+{ord(character):04X}}}\fi}}"


def _label(title: str) -> str:
    ascii_title = unicodedata.normalize("NFKD", plain(title).lower()).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", re.split("[:,]", ascii_title)[0])
    return "-".join(words) or "results"


def _cell(cell: Cell) -> str:
    text = latex_text(cell.text)
    if cell.emphasis:
        text = rf"\textbf{{{text}}}" if cell.emphasis == "best" else rf"\underline{{{text}}}"
    raised = latex_text(cell.marks) + cell.letters
    marks = rf"\textsuperscript{{{raised}}}" if raised else ""
    half_width = cell.interval.startswith("±")
    interval = rf"{{\scriptsize {latex_text(cell.interval)}}}" if half_width else cell.interval
    return (r"\," if half_width else " ").join(part for part in (text + marks, interval) if part)
