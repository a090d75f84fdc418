"""The results as one table in plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

HEADERS = ("", "figure", "median", "least to most", "of floor", "against", "aim")


def table(record: Mapping[str, Any]) -> str:
    """Checks and figures of a run, a line each, under what they were measured on."""
    machine = record["machine"]
    facts = ("name", "memory_gib", "torch", "cuda", "driver", "python", "transformers", "commit")
    title = ", ".join(f"{fact} {machine[fact]}" for fact in facts if machine.get(fact))
    rows = [HEADERS, *(row for item in record["items"] for row in _rows(item))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([title, "", *(line.rstrip() for line in lines)])


def _rows(item: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    reason = item.get("reason", "")
    if item["kind"] == "check" or item["status"] != "ok":
        yield (item["status"], item["name"], "", "", "", reason[:100], "")
    for figure in item.get("figures", ()):
        yield (
            item["status"],
            f"{item['name'].partition(' ')[0]} {figure['name']}",
            f"{_number(figure['median'])} {figure['unit']}",
            f"{_number(figure['min'])} to {_number(figure['max'])}",
            f"{figure['percent_of_floor']:.0f} %" if "percent_of_floor" in figure else "",
            ", ".join(f"{ratio['ratio']:.2f}x {peer}" for peer, ratio in figure.get("peers", {}).items()),
            figure["aim"],
        )


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
