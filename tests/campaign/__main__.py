"""The whole campaign: every kind, its counts as a table, exit code 1 if anything was wrong.

python -m tests.campaign                 all kinds, each with as many trials as WHOLE says
python -m tests.campaign tables kills    some
python -m tests.campaign --trials 100    with so many trials each
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.campaign import WHOLE, trial_of
from tests.campaign.trials import Tally, run_trials

SHOWN = 5


def main() -> int:
    parser = argparse.ArgumentParser(description="Seeded trials of hostile input, kills and broken plugins.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(WHOLE))
    parser.add_argument("--trials", type=int, help="of each kind, in place of its own number")
    parser.add_argument("--first", type=int, default=0, help="the number of the first trial")
    asked = parser.parse_args()
    unknown = set(asked.kinds) - set(WHOLE)
    if unknown:
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(WHOLE)}")
    tallies = []
    print("| kind | trials | answered | refused | crashes | hangs | silent differences | seconds |")  # noqa: T201
    print("|---|---|---|---|---|---|---|---|", flush=True)  # noqa: T201
    for kind in asked.kinds or WHOLE:
        started = time.monotonic()
        numbers = range(asked.first, asked.first + (asked.trials or WHOLE[kind]))
        tally = run_trials(kind, trial_of(kind), numbers)
        print(_row(tally, time.monotonic() - started), flush=True)  # noqa: T201
        tallies.append(tally)
    for tally in tallies:
        for wrong in tally.wrong[:SHOWN]:
            print(f"\n{wrong}", file=sys.stderr)  # noqa: T201
    return int(any(tally.wrong for tally in tallies))


def _row(tally: Tally, seconds: float) -> str:
    ended = [tally.ended[word] for word in ("answered", "refused", "crash", "hang", "silent")]
    cells = [tally.kind, f"{tally.trials:,}", *(f"{count:,}" for count in ended), f"{seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
