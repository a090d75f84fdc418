"""From a figure to a file: PNG, PDF or SVG, the same bytes for the same figure."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts import write_new
from ..errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure

# Without the time and matplotlib's version, which would change the bytes of equal pictures.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}
FORMATS = tuple(_METADATA)


@dataclass(frozen=True)
class Drawing:
    """How pictures are written: `size` in inches and `dpi`, None for each picture's own."""

    size: tuple[float, float] | None = None
    dpi: float | None = None
    overwrite: bool = False

    def write(self, figure: Figure, path: Path) -> None:
        """The figure as what the suffix of the path says.

        UsageError for a suffix that is none of FORMATS, and where the path has something else.
        """
        write_new(path, encoded(figure, picture_format(path), self.size, self.dpi), self.overwrite)


def picture_format(path: Path) -> str:
    """`pdf` of `errors.pdf`; UsageError for what no picture is written as."""
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise UsageError(
            f"'{path}' is not the name of a picture",
            fix=f"give a name that ends in .{', .'.join(FORMATS)}",
        )
    return form


def encoded(
    figure: Figure, form: str, size: tuple[float, float] | None = None, dpi: float | None = None
) -> bytes:
    """The figure as a file of one of FORMATS; photos and dots within PDF and SVG have `dpi`, too."""
    import matplotlib as mpl

    if size is not None:
        figure.set_size_inches(*size)
    data = io.BytesIO()
    # TrueType, since journals refuse the Type 3 fonts that matplotlib embeds else.
    with mpl.rc_context({"svg.hashsalt": "pinpoint", "pdf.fonttype": 42}):
        figure.savefig(data, format=form, dpi=dpi or "figure", metadata=_METADATA[form])
    return data.getvalue()
