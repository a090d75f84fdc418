"""Which runs stand in a table or a comparison, under which names and in which columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...errors import UsageError, unknown_name
from ...evaluation import ADMIN_METRICS, DISTRIBUTION_METRICS, DISTRIBUTIONS, metric_names
from ...types import FARTHEST_KM
from .names import short_names
from .row import find_metric

if TYPE_CHECKING:
    from ...running import Run
    from .row import Row


USUAL_ORDER = "geoscore"


@dataclass(frozen=True)
class Choice:
    """What a user has chosen to show.

    `methods` are labels of rows, or names of registered methods with all their rows. `columns` are
    metrics, `25km` for `acc_25km`. `rename` maps a name as it is shown, or a label, to another. `hide`
    are words that each command knows. `mean_over` is the parameter whose values are averaged over.
    """

    methods: Sequence[str] = ()
    columns: Sequence[str] = ()
    sort: str = USUAL_ORDER
    rename: Mapping[str, str] = field(default_factory=dict)
    hide: frozenset[str] = frozenset()
    mean_over: str | None = None

    def among(self, runs: Iterable[Run]) -> list[Run]:
        """The runs of the chosen methods, in the order of `methods`; UsageError for a method of none."""
        runs = list(runs)
        if not self.methods:
            return runs
        shorts = short_names(runs, self.mean_over)
        chosen: dict[Run, None] = {}
        for name in self.methods:
            named = [
                run
                for run, short in zip(runs, shorts, strict=True)
                if name in (run.label, run.record["method"]["name"], run.title, short)
            ]
            if not named:
                known = dict.fromkeys(run.label for run in runs)
                raise unknown_name(f"no run here is of a method '{name}'", name, known)
            chosen |= dict.fromkeys(named)
        return list(chosen)

    def published(self, rows: Sequence[Row]) -> list[Row]:
        """The published rows, those of the chosen methods where any of these is published."""
        named = [row for row in rows if row.method in self.methods]
        return named if named else list(rows)

    def metrics(self, usual: Sequence[str]) -> tuple[str, ...]:
        """The chosen columns, else the usual ones; UsageError for what is no metric."""
        if not self.columns:
            return tuple(usual)
        return tuple(dict.fromkeys(map(metric_name, self.columns)))

    def radii_km(self, radii_km: Sequence[float]) -> tuple[float, ...]:
        """These radii and those of the columns and of the order, ascending."""
        names = [
            *map(metric_name, self.columns),
            *([] if self.sort == "method" else [metric_name(self.sort)]),
        ]
        asked = [radius for name in names if (radius := find_metric(name).radius_km) is not None]
        return tuple(sorted({*radii_km, *asked}))

    @property
    def distributions(self) -> frozenset[str]:
        """The presets of `DISTRIBUTIONS` that the columns and the order need."""
        names = {*map(metric_name, self.columns), self.order}
        return frozenset(preset for preset, metrics in DISTRIBUTIONS.items() if names & set(metrics))

    @property
    def order(self) -> str:
        """`sort` as `sorted_rows` takes it."""
        return self.sort if self.sort == "method" else metric_name(self.sort)

    def check_order(self, rows: Sequence[Row]) -> None:
        """UsageError where it was asked for an order by a metric that no row has."""
        if self.sort in (USUAL_ORDER, "method") or any(row.value(self.order) is not None for row in rows):
            return
        known = dict.fromkeys(name for row in rows for name in row.cells)
        raise UsageError(f"no row has '{self.order}' to be sorted by", found=", ".join(known) or "no metrics")

    def notes_on(self, rows: Sequence[Row]) -> list[str]:
        """What to say of columns that were asked for and that no row has."""
        lost = [name for name in self.metrics(()) if all(row.value(name) is None for row in rows)]
        return [f"no row has {', '.join(lost)}"] if lost else []

    def renamed(self, rows: Sequence[Row]) -> list[Row]:
        """The rows under their new names; UsageError where a name is of no row, or of several."""
        new = new_names([names_of(row) for row in rows], self.rename)
        return [
            replace(row, method=new[at], short=new[at]) if at in new else row for at, row in enumerate(rows)
        ]


def choose(
    words_to_hide: Sequence[str],
    methods: Sequence[str],
    columns: Sequence[str],
    sort: str,
    rename: Mapping[str, str],
    hide: Collection[str],
    mean_over: str | None,
) -> Choice:
    """A choice, checked before anything is read: UsageError for a column or a word to hide that is none."""
    if unknown := [word for word in hide if word not in words_to_hide]:
        fix = f"one of: {', '.join(words_to_hide)}"
        raise UsageError(f"--hide {unknown[0]}: nothing is called that", fix=fix)
    choice = Choice(methods, columns, sort, rename, frozenset(hide), mean_over)
    choice.radii_km(())
    return choice


def names_of(row: Row) -> tuple[str, ...]:
    """All that a row may be called: in full, in short, and without what stands in brackets."""
    return row.method, row.short, row.short.partition(" (")[0]


def new_names(called: Sequence[Sequence[str]], rename: Mapping[str, str]) -> dict[int, str]:
    """The new name of each row that is renamed, by its place.

    `called` is all that each row may be called, last its name without what stands in brackets. UsageError
    for a name that is of no row or of several, and where two rows would read alike.
    """
    new: dict[int, str] = {}
    for old, name in rename.items():
        at = [number for number, names in enumerate(called) if old in names]
        if not at:
            known = dict.fromkeys(names[-2] or names[0] for names in called)
            raise unknown_name(f"--rename: no row is called '{old}'", old, known)
        if len(at) > 1:
            raise UsageError(
                f"--rename: {len(at)} rows are called '{old}'",
                found="; ".join(called[number][-2] for number in at),
                fix="give one of these whole names",
            )
        new[at[0]] = name
    for place, name in new.items():
        for other, names in enumerate(called):
            if other != place and name in ([new[other]] if other in new else names[:-1]):
                raise UsageError(
                    f"--rename: two rows would be called '{name}'",
                    found=f"{called[place][0]}; {names[0]}",
                    fix="choose a name that no other row has, or rename that one as well",
                )
    return new


def metric_name(text: str) -> str:
    """The name of a metric from what a user writes: `25km` or `25` for `acc_25km`, `city` for `acc_city`."""
    for name in (text, f"acc_{text}", f"acc_{text}km"):
        try:
            return find_metric(name).name
        except UsageError:
            continue
    raise unknown_name(
        f"there is no column '{text}'",
        text,
        [*metric_names(), *ADMIN_METRICS, *DISTRIBUTION_METRICS],
        fix=f"any radius above 0 and below {FARTHEST_KM:,.0f} km is a column, as 40km",
    )
