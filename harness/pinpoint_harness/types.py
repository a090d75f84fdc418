"""What datasets and methods exchange with the harness.

Coordinates are `(latitude, longitude)` in degrees, WGS84, arrays of shape `(n, 2)`, float64.
This module imports nothing heavy, so that registering a plugin costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .errors import UsageError
from .home import find_home

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from .features.store import FeatureStore
    from .images.containers import ImageStore

    Floats = NDArray[np.float64]

RADII_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
"""Street, city, region, country and continent, the radii every paper of the field reports."""


FARTHEST_KM = 20_038.0
"""Farther than this nothing is from anything on Earth."""

STATUS = ("ok", "missing", "unreadable", "no prediction", "invalid coordinate")
"""What can become of a query; all but the first are misses. `unreadable` may go on with `: why`."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a dataset is, known without opening it."""

    title: str
    source: str
    licence: str
    citation: str = ""
    version: str = "1"
    expected_rows: int | None = None
    default_protocol: str = "wgs84-lt"
    radii_km: tuple[float, ...] = RADII_KM
    """Within which its benchmark counts photos, ascending; scores and tables go by these without others."""
    cluster_column: str = ""
    """What intervals are by: the name of the photographer column in the field's files, or any column of
    the truth whose rows stand or fall together; empty where no author is known."""
    notes: tuple[str, ...] = ()
    """Footnotes every table of this dataset carries."""
    procedural: bool = False
    """Whether the pictures are drawn and show no place on Earth: results say that software works only."""

    def __post_init__(self) -> None:
        radii = tuple(self.radii_km)
        if not radii or radii != tuple(sorted(set(radii))) or not 0 < radii[0] <= radii[-1] < FARTHEST_KM:
            raise UsageError(
                f"'{self.title}' does not say within which radii it counts",
                found=f"radii_km={radii}",
                fix="give kilometres, ascending, such as (1.0, 25.0, 200.0)",
            )


@dataclass(frozen=True)
class MethodInfo:
    """What a method is, known without importing it."""

    title: str
    paper: str = ""
    licence: str = ""
    training_data: str = "none"
    gallery: str = "none"
    views: int = 1
    author_filter: str = "no"
    draws: bool = False
    """Whether answers depend on `Context.seed`; `--seed` is refused where they do not."""
    finds_own_photo: bool = False
    """Whether a query may find its own photo in the gallery; `methods check` refuses that elsewhere."""
    mllm: str = "no"
    """Whether a multimodal language model takes part: `yes`, `no` or `?`."""
    web: str = "no"
    """Whether the web is searched: `yes`, `no` or `?`."""
    needs: tuple[str, ...] = ()
    """Extras, packages or weights to install first, in words."""


@dataclass(frozen=True)
class BackboneInfo:
    """What a frozen image encoder is, known without importing it.

    `weights` is a Hugging Face id, `owner/name` or `owner/name@revision`; empty for a backbone that
    carries its own.
    """

    title: str
    width: int
    weights: str = ""
    paper: str = ""
    licence: str = ""
    training_data: str = ""
    needs: tuple[str, ...] = ()
    """Extras or packages to install first, in words."""


@dataclass(frozen=True)
class Queries:
    """One tile of queries, all that a method may know of them.

    `key` identifies a query and is opaque: `(n,)` uint64. `author_token` is equal for photos of
    one photographer, in queries and galleries alike, and 0 where none is known: `(n,)` uint64.
    `source` names each query's image source (`photos`, `streetview`, ...). `input` holds what the
    method asked for: nothing, RGB images, or features; it is not to be written to, for rows may share it.
    """

    key: NDArray[np.uint64]
    author_token: NDArray[np.uint64]
    source: Sequence[str]
    input: Any = None

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class Candidates:
    """Ranked alternatives of each query, best first, padded with NaN coordinates.

    `coordinates` is `(n, k, 2)`; `probability` `(n, k)` sums to at most 1 per query. A candidate that is
    a photo is named by `source`, the dataset it belongs to, and `photo_id`, its id there, both `(n, k)`;
    "" where it is none. `score` `(n, k)` is the method's own, higher is better, comparable within a query
    only, NaN for none; `found_by` `(n, k)` says in words which searches found it and at which rank, as
    `image 1, location 3`.
    """

    coordinates: Floats
    probability: Floats | None = None
    source: NDArray[np.str_] | None = None
    photo_id: NDArray[np.str_] | None = None
    score: Floats | None = field(default=None, kw_only=True)
    found_by: NDArray[np.str_] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Predictions:
    """A method's answers to one tile of queries, in the order of the queries.

    `coordinates` is `(n, 2)`, NaN where the method has no answer. `confidence` is `(n,)`, higher
    is surer, used for ranking only. `status` may say why a coordinate is NaN, one word of `STATUS`
    per query; `notes` are sentences to keep with the run, such as what a reader left out. `within`
    is `(n, 5)`, the probability that the answer lies within each of `RADII_KM` of the truth, never
    falling with the radius, a row of NaN for none; there the candidates' probabilities are summed.
    """

    coordinates: Floats
    confidence: Floats | None = None
    candidates: Candidates | None = None
    status: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    within: Floats | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.coordinates)


@dataclass(frozen=True)
class Context:
    """Where and how a method runs: decided by the harness, recorded with the run.

    `stores` opens the galleries a method searches; None where there is no run. `models` is the folder of
    trained stages.
    """

    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    stores: Stores | None = field(default=None, compare=False, repr=False)
    models: Path = field(default_factory=lambda: find_home().models, compare=False, repr=False)


class Method(Protocol):
    """A method: built once from its parameters, then asked tile after tile.

    `input` is `none`, `image`, or the name of a backbone, whose features are then given as a tensor
    `(tile, width)` of fp16 on the context's device; of several, separated by commas, a tuple of these. It
    may be set by the constructor.
    `answer_version` rises whenever the same parameters would give other answers, so that stored
    runs are never mistaken for new ones. A method whose answers depend on more than its parameters
    and files, such as a gallery, says on what in `content()`: a mapping that stands in the key of
    its runs, in place of the parameters of the same names. One whose `has_density` is true has
    `log_density(queries, places)`: the logarithm of its density at a place `(n, 2)` for each query, per
    steradian, `(n,)` float64, NaN for none; a run asks for it at the truth, of queries that are answered.
    One that is trained has a class method `stages(params, context)`. One that searches a large gallery may
    have `predict_tiles(tiles)`, which takes several tiles in a row and gives the answer of `predict` to
    each, in order: a run then asks for a block of tiles, for which the gallery is read once. `check_with`,
    where a class has it, holds parameter values for `methods check`: those that must be given, and those
    that train it in seconds.
    """

    Params: ClassVar[type[Any]]
    answer_version: ClassVar[int]
    input: str

    def __init__(self, params: Any, context: Context) -> None: ...

    def predict(self, queries: Queries) -> Predictions:
        """Answer every query of the tile; an answer must not depend on the others."""
        ...


class Backbone(Protocol):
    """A frozen image encoder, built as `target(weights, context)`.

    `weights` is the local folder of the weights its `BackboneInfo` names, None where it names none.
    A class may say `takes_any_tile = True` (False where it says nothing) if `features` also takes a
    single image: `locate` then gives it one instead of a padded tile, other last digits accepted.
    """

    width: int
    tile: int
    """Images in one forward pass, always as many: another number means other last digits.

    The harness rounds it up to a multiple of 16 rows (`pinpoint_harness.batching.ROW_BLOCK`).
    """

    def content(self) -> Mapping[str, Any]:
        """What the features depend on beside device and dtype: weights by sha256, preprocessing."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> Any:
        """An image `(h, w, 3)` in the shape and type the network takes; called from many threads."""
        ...

    def features(self, images: Sequence[Any]) -> Any:
        """Features `(n, width)` of n prepared images, a full tile or one: a tensor or an array."""
        ...


class Stores(Protocol):
    """Where feature stores, and what they are made with, are found."""

    def gallery(self, name: str, backbone: str, data: Path | None = None) -> FeatureStore:
        """The features of a dataset, by its name or the store's folder; completed if they are not there.

        `data` is where the dataset's files lie, as for `--data`.
        """
        ...

    def weights_of(self, backbone: str) -> str:
        """The folder or Hugging Face id of a backbone's weights, `--weights` included; "" if it has none."""
        ...


@dataclass(frozen=True)
class DataLocation:
    """Where a dataset's files lie and which of their columns to use.

    `path` is a file or folder. `columns` maps a role (`id`, `latitude`, `longitude`, `author`,
    `source`) to a column's name, or its number from 0 where the file has no header. `images` are
    folders or archives of pictures, where they do not lie in the dataset's usual places. `follow_links`
    opens pictures that symbolic links outside of those places lead to.
    """

    path: Path | None = None
    columns: dict[str, str] = field(default_factory=dict)
    images: tuple[Path, ...] = ()
    follow_links: bool = False


class Dataset(Protocol):
    """Truth: one row per photo, all of them scored."""

    info: DatasetInfo

    def __init__(self, location: DataLocation) -> None: ...

    def truth(self) -> pd.DataFrame:
        """Columns `id, image, latitude, longitude, author, source` and the dataset's own.

        `id` is the canonical key by which answers are joined, unique and a string; `image` is the
        name as the truth file spells it; `author` is missing where unknown.
        """
        ...

    def images(self) -> ImageStore:
        """The pictures, found by the truth's `image` column; DataError where there are none."""
        ...
