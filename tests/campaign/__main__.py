"""The whole campaign: every kind, its counts as a table, exit code 1 if anything was wrong.

python -m tests.campaign                 all kinds, each with as many trials as WHOLE says
python -m tests.campaign tables kills    some
python -m tests.campaign --trials 100    with so many trials each
python -m tests.campaign --counts FILE   going on after the trials that are counted in it
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.campaign import WHOLE, kind_of
from tests.campaign.trials import Tally, run_trials

ENDS = ("answered", "refused", "crash", "hang", "silent")


def main() -> int:
    parser = argparse.ArgumentParser(description="Seeded trials of hostile input, kills and broken plugins.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(WHOLE))
    parser.add_argument("--trials", type=int, help="of each kind, in place of its own number")
    parser.add_argument("--first", type=int, default=0, help="the number of the first trial")
    parser.add_argument("--counts", type=Path, help="JSON of how trials ended, kept after each")
    asked = parser.parse_args()
    unknown = set(asked.kinds) - set(WHOLE)
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(WHOLE)}")
    counts = Counts(asked.counts)
    print("| kind | trials | answered | refused | crashes | hangs | silent differences |")  # noqa: T201
    print("|---|---|---|---|---|---|---|", flush=True)  # noqa: T201
    for name in asked.kinds or WHOLE:
        done = sum(counts.of(name).values())
        numbers = range(asked.first + done, asked.first + (asked.trials or WHOLE[name]))
        run_trials(name, kind_of(name), numbers, counts.add)
        print(_row(name, counts.of(name)), flush=True)  # noqa: T201
    return int(counts.anything_wrong)


class Counts:
    """How trials of each kind ended, in a file where one is given."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        kept = path is not None and path.exists()
        self._ended: dict[str, dict[str, int]] = json.loads(path.read_text()) if path and kept else {}

    def of(self, name: str) -> dict[str, int]:
        return self._ended.get(name, dict.fromkeys(ENDS, 0))

    @property
    def anything_wrong(self) -> bool:
        return any(ended[end] for ended in self._ended.values() for end in ENDS[2:])

    def add(self, tally: Tally) -> None:
        """Count the trial that ended last, and say what was wrong with it."""
        self._ended[tally.kind] = self.of(tally.kind)
        self._ended[tally.kind][tally.last] += 1
        if tally.last in ENDS[2:]:
            print(f"\n{tally.wrong[-1]}", file=sys.stderr, flush=True)  # noqa: T201
        if self._path is not None:
            part = self._path.with_name(f"{self._path.name}.part")
            part.write_text(json.dumps(self._ended, indent=2))
            part.replace(self._path)


def _row(name: str, ended: dict[str, int]) -> str:
    cells = [name, f"{sum(ended.values()):,}", *(f"{ended[end]:,}" for end in ENDS)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
