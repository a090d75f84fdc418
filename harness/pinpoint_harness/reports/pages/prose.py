"""What stands around the figures: their tables in words, how each run was made, what was audited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...artifacts import read_json
from ...audit.result import iter_audits, read_audit
from ...errors import ArtifactError
from ...running.record import remake_command
from .text import escaped

if TYPE_CHECKING:
    from ...evaluation import Comparison, Estimate
    from ...evaluation.protocols import Protocol
    from ...running import Run
    from .measures import Measures
    from .section import Section


def plain_table(head: Sequence[str], rows: Iterable[Sequence[str]], summary: str) -> str:
    """A folded table, the text of a figure; cells are escaped here."""
    header = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in head)
    lines = "\n".join(
        f'<tr><th scope="row"><bdi>{escaped(first)}</bdi></th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in rest)
        for first, *rest in rows
    )
    if not lines:
        return ""
    name = escaped(summary)
    table = f"<table><thead><tr>{header}</tr></thead><tbody>{lines}</tbody></table>"
    region = f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{table}</div>'
    return f'<details class="data"><summary>{name}</summary>{region}</details>'


def differences_table(comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    rows = [
        [
            f"{one.first} − {one.second}",
            one.metric,
            "–" if one.difference is None else f"{one.difference:+.2f}",
            "–" if one.low is None or one.high is None else f"{one.low:+.2f} to {one.high:+.2f}",
            "–" if one.p is None else f"{one.p:.4f}",
            "–" if one.p_holm is None else f"{one.p_holm:.4f}",
        ]
        for one in comparison.differences
    ]
    return plain_table(
        ["pair", "metric", "difference", "95 % interval", "p", "p (Holm)"], rows, "Differences as a table"
    )


def breakdown_tables(section: Section, measures: Measures) -> str:
    head = ["slice", "photos", "effective clusters", *(f"{km:g} km" for km in section.radii_km)]
    return "\n".join(
        plain_table(
            head,
            [
                [
                    one.name,
                    f"{one.n:,}",
                    f"{one.effective:.1f}",
                    *(_with_interval(one.estimates[m]) for m in section.metrics),
                ]
                for one in (found.whole, *found.slices)
            ],
            f"By {by}, {section.columns[number].name}, as a table",
        )
        for (number, by), found in measures.breakdowns.items()
    )


def calibration_table(section: Section, measures: Measures) -> str:
    rows = []
    for number, found in measures.calibrations.items():
        eces = {
            one.radius_km: f"{one.ece:.1f} (by chance up to {one.ece_chance_limit:.1f})"
            for one in found.reliability
        }
        for one in found.risk:
            rows.append(
                [
                    section.columns[number].name,
                    f"{one.radius_km:g} km",
                    eces.get(one.radius_km, "–"),
                    _with_interval(one.aurc),
                    _with_interval(one.excess),
                    found.ranking,
                ]
            )
    return plain_table(
        ["run", "radius", "ECE", "AURC", "excess", "ordered by"], rows, "Calibration as a table"
    )


def provenance(section: Section, audits: Path, command: str) -> str:
    """How every run was made, from which files, and what of its dataset was audited."""
    parts = [f"<h4><bdi>{escaped(run.title)}</bdi></h4>{run_facts(run)}" for run in section.runs]
    return "\n".join(
        [
            f"<p>Figures and map are by {protocol_words(section.protocol)}</p>",
            f"<h4>Leakage</h4>{leakage(section.dataset, section.truth_hash, audits)}",
            f"<h4>This report again</h4><pre>{escaped(command, 4000)}</pre>",
            *parts,
        ]
    )


def protocol_words(protocol: Protocol) -> str:
    """What a protocol measures, as the end of a sentence, and what counts as a miss."""
    sphere = "" if protocol.radius_km is None else f" on a sphere of {protocol.radius_km:g} km"
    reached = "up to and including it" if protocol.inclusive else "below it"
    name = f"<b>{escaped(protocol.name)}</b> ({escaped(protocol.used_by)})"
    return (
        f"{name}: distance {protocol.distance}{sphere}; a radius is reached "
        f"by an error {reached}. A photo that is missing, unreadable or unanswered is a miss and stays in "
        "the denominator."
    )


def run_facts(run: Run, name: str = "") -> str:
    """How a run was made, from which files, as a list under the id `name`."""
    record, manifest = run.record, read_json(run.folder / "manifest.json")
    counts = record["counts"]
    fates = ", ".join(f"{word} {count:,}" for word, count in counts.items() if count and word != "total")
    facts = {
        "command": remake_command(record),
        "key": run.key,
        "dataset": f"{run.dataset}, {record['dataset']['rows']:,} photos",
        "truth": record["recipe"]["dataset_hash"],
        "denominator": f"{counts['total']:,} photos: {fates}"
        + (f"; partial: {run.partial}" if run.partial else ""),
        "method": record["method"].get("title", ""),
        "paper": record["method"].get("paper", ""),
        "training data": record["method"].get("training_data", ""),
        "gallery": record["method"].get("gallery", ""),
        "author filter": record["method"].get("author_filter", ""),
        "predictions": f"sha256 {manifest['files']['predictions.parquet']['sha256']}",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
        "notes": "; ".join(record["notes"]),
    }
    lines = "".join(
        f"<dt>{name}</dt><dd>{escaped(str(value), 2000)}</dd>" for name, value in facts.items() if value
    )
    anchor = f' id="{escaped(name)}"' if name else ""
    return f'<dl class="wrap"{anchor}>{lines}</dl>'


def leakage(dataset: str, truth_hash: str, folder: Path) -> str:
    """What the stored audits of one truth say, as a list; that there is none where there is none."""
    sentences = []
    for path in iter_audits(folder) if folder.is_dir() else ():
        try:
            audit = read_audit(path)
        except ArtifactError:
            continue  # of another version
        if audit.asked.get("dataset_hash") == truth_hash:
            sentences += audit.in_words()
    if not sentences:
        sentences = [f"no audit of this dataset is stored: pinpoint audit GALLERY {dataset} makes one"]
    return f"<ul>{''.join(f'<li>{escaped(line, 2000)}</li>' for line in sentences)}</ul>"


def _with_interval(one: Estimate) -> str:
    if one.value is None:
        return "–"
    interval = "" if one.low is None or one.high is None else f" [{one.low:.1f}, {one.high:.1f}]"
    return f"{one.value:.1f}{interval}"
