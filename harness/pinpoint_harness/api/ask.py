"""What queries and a gallery share, and where photos without truth were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts import check_writable, safe_name
from ..devices import default_device
from ..errors import UsageError
from ..features import StoreLookup
from ..home import Home, find_home
from ..plugins import Registry, load_registry
from ..processes import joined_processes
from .measure import data_location, read_run
from .python_words import speaks_python

if TYPE_CHECKING:
    import pandas as pd

    from ..audit.effect import Effect
    from ..audit.result import Audit
    from ..locate import Answer
    from ..running import Run
    from ..types import DataLocation


@dataclass(frozen=True)
class Audited:
    """An audit, the file that holds its row per query, and what the leaks are worth to runs."""

    audit: Audit
    effects: Sequence[Effect]
    file: Path

    def to_frame(self) -> pd.DataFrame:
        """A row per query: what it shares with the galleries, and which views keep it."""
        frame: pd.DataFrame = self.audit.table.to_pandas()
        return frame

    def __str__(self) -> str:
        return "\n".join(self.audit.in_words())


@speaks_python
def audit(
    gallery: str,
    dataset: str,
    *,
    backbone: str | None = None,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    images: Sequence[str | Path] = (),
    follow_links: bool = False,
    gallery_data: str | Path | None = None,
    gallery_images: Sequence[str | Path] = (),
    training: Sequence[str] = (),
    runs: Sequence[Run | str] = (),
    cosine: float | None = None,
    hamming: int = 31,
    spot_m: float = 30.0,
    pixels: bool = False,
    file: str | Path | None = None,
    device: str = "auto",
    weights: str | None = None,
    home: Home | str | Path | None = None,
    registry: Registry | None = None,
) -> Audited:
    """Say what the queries of a dataset and a gallery share: photographers, photos, near-duplicates.

    `gallery` is a dataset, the folder of a feature store, or several separated by commas; a method that has
    been run on the dataset stands for the galleries it opens, and its run is looked at too, as are `runs`.
    `training` are datasets whose ids must not be among the queries. The thresholds are those of `pinpoint
    audit`: a `cosine` of features, differing bits of a perceptual hash (`hamming`), metres between photos of
    one photographer (`spot_m`); `pixels` hashes every picture of the gallery. The row per query is written
    to `file` (default: below `audits` in the home), which `table(..., exclude=file)` takes.
    """
    from ..audit.audit import AuditRequest
    from ..audit.audit import audit as make_audit
    from ..audit.effect import effect_of, galleries_behind
    from ..audit.near_duplicates import Limits

    registry, home = registry or load_registry(), find_home(home)
    stores = StoreLookup(registry, home.stores, default_device(device), weights)
    measured = [read_run(run, home=home) if isinstance(run, str) else run for run in runs]
    place = data_location(gallery_data, images=gallery_images, follow_links=follow_links)
    galleries = [(name, place) for name in map(str.strip, gallery.split(",")) if name]
    if gallery in registry.methods:
        measured.insert(0, read_run(f"{gallery}@{dataset}", home=home))
        behind = galleries_behind(measured[0])
        backbone = backbone or behind[0].backbone
        galleries = [(one.name, replace(place, path=place.path or one.location.path)) for one in behind]
    if backbone is None:
        raise UsageError("a gallery is audited by a backbone's features", fix="give --backbone NAME")
    path = home.audits / _file_name(dataset, galleries) if file is None else Path(file)
    check_writable(path.parent)
    request = AuditRequest(
        dataset_name=dataset,
        dataset=registry.open_dataset(dataset, data_location(data, columns, images, follow_links)),
        galleries=galleries,
        backbone=backbone,
        store_lookup=stores,
        limits=Limits(cosine, hamming, spot_m),
        training=training,
        every_hash=pixels,
    )
    with joined_processes(stores.device) as processes:
        found = make_audit(request)
        opened = [stores.gallery(name, backbone, at.path) for name, at in galleries]

        def written() -> list[Effect]:
            found.write(path)
            return [effect_of(run, found, opened) for run in measured]

        return Audited(found, processes.by_first(written), path)


def _file_name(dataset: str, galleries: Sequence[tuple[str, DataLocation]]) -> str:
    names = [safe_name(Path(name).name if Path(name).is_dir() else name) for name, _ in galleries]
    return f"{safe_name(dataset)}--{'+'.join(names)}.parquet"


@speaks_python
def locate(
    photos: Sequence[str | Path],
    method: str = "pinpoint-plus",
    *,
    parameters: Mapping[str, Any] | None = None,
    source: str = "photos",
    author: str | None = None,
    device: str = "auto",
    weights: str | None = None,
    follow_links: bool = False,
    home: Home | str | Path | None = None,
    registry: Registry | None = None,
) -> list[Answer]:
    """Where photos were taken: files, folders or archives of them, an answer for each photo in turn.

    An answer has the `photo`, its `status`, the `place` in degrees, the probability `within` each radius in
    km where the method states one, and `candidates`. Nothing is stored. What must be said beside the
    answers, such as that the method knows no real place, is logged as a warning. `author` took the photos:
    a method with `author_filter` leaves out their photos in the gallery.
    """
    from ..locate import locate_photos

    return locate_photos(
        photos,
        method,
        parameters,
        source=source,
        author=author,
        device=device,
        home=home,
        weights=weights,
        follow_links=follow_links,
        registry=registry,
    )
