"""The package from Python: what the command line does, as functions.

    from pinpoint_harness import api

    api.train("regression", parameters={"hidden": 128})
    api.evaluate("regression", "mini-earth/query-clean", parameters={"hidden": 128})
    print(api.table("mini-earth/query-clean"))

Everything that is made lies below one folder (`home=`, `$PINPOINT_HOME`, or `results`), and what is there
already is not made again. Errors are `HarnessError`s whose `problem`, `found` and `fix` say what to do.
"""

from __future__ import annotations

from .ask import Audited, audit, locate
from .make import embed, train
from .measure import break_down, calibrate, compare, evaluate, load_dataset, read_run, score
from .show import Picture, Table, plot, table

__all__ = [
    "Audited",
    "Picture",
    "Table",
    "audit",
    "break_down",
    "calibrate",
    "compare",
    "embed",
    "evaluate",
    "load_dataset",
    "locate",
    "plot",
    "read_run",
    "score",
    "table",
    "train",
]
