"""What another store of the same making has of a picture is taken, and is what would be computed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pinpoint_harness.artifacts import canonical_json, read_json, write_atomic
from pinpoint_harness.features import EmbedRequest, FeatureStore, complete
from pinpoint_harness.features import embed as embedding
from pinpoint_harness.features import known_features as known
from pinpoint_harness.features.backbones import BackboneSource
from pinpoint_harness.images import ImageStore
from pinpoint_harness.plugins import Entry, Origin
from pinpoint_harness.types import BackboneInfo, Context, DatasetInfo

pytestmark = pytest.mark.usefixtures("any_number_of_rows")

FILES = ("contents.parquet", "features.npy", "rows.parquet", "failures.parquet", "store.json")


class Colours:
    """The mean colour of a picture, four pictures at a time; `seen` are those it was given."""

    width, tile = 3, 4
    version: ClassVar[int] = 1
    seen: ClassVar[list[bytes]] = []
    bad: ClassVar[float] = np.inf

    def __init__(self, weights: Path | None, context: Context) -> None:
        pass

    def content(self) -> dict[str, Any]:
        return {"version": self.version}

    def prepare(self, image: Any) -> Any:
        return image.mean(axis=(0, 1))

    def features(self, images: Any) -> Any:
        self.seen.extend({image.tobytes() for image in images} - set(self.seen))
        rows = np.stack(images)
        return np.where(rows[:, :1] > self.bad, np.nan, rows)


@dataclass(frozen=True)
class Photos:
    """Some photos of a folder, by their numbers."""

    path: Path
    numbers: Sequence[int]
    info: ClassVar[DatasetInfo] = DatasetInfo(title="Photos", source="", licence="")

    def truth(self) -> pd.DataFrame:
        number = np.array(self.numbers)
        names = [f"p{one}" for one in number]
        frame = pd.DataFrame(
            {"id": names, "image": [f"{name}.jpg" for name in names], "latitude": number * 1.0}
        )
        return frame.assign(longitude=number * -1.0, author=None, source="photos")

    def images(self) -> ImageStore:
        return ImageStore.open([self.path])


@pytest.fixture(autouse=True)
def as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    Colours.seen.clear()
    monkeypatch.setattr(embedding, "SHARD_TILES", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        write_photo(folder, number, number)
    return folder


def write_photo(folder: Path, number: int, shade: int) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), (shade * 12, 100, 250 - shade * 12)).save(stream, "PNG")
    (folder / f"p{number}.jpg").write_bytes(stream.getvalue())


def embed(photos: Path, root: Path, name: str, numbers: Sequence[int], **changes: Any) -> FeatureStore:
    """The store of some photos; `Colours.seen` are then the pictures that were computed for it."""
    info = BackboneInfo(title="Colours", width=3)
    entry = Entry("backbone", "colours", f"{__name__}:Colours", info, Origin("test", "explicit"))
    dataset: Any = Photos(photos, numbers)
    Colours.seen.clear()
    asked = EmbedRequest(name, dataset, BackboneSource("colours", entry, ""), root)
    return complete(replace(asked, **changes))


def contents(store: FeatureStore) -> dict[str, bytes]:
    return {name: (store.folder / name).read_bytes() for name in FILES}


def test_a_part_of_a_dataset_is_not_embedded_again(photos: Path, tmp_path: Path) -> None:
    part = range(0, 20, 2)
    alone = embed(photos, tmp_path / "alone", "part", part)
    embed(photos, tmp_path / "both", "whole", range(20))
    found = embed(photos, tmp_path / "both", "part", part)
    assert Colours.seen == []
    assert contents(found) == contents(alone)
    assert found.key == alone.key


def test_of_a_dataset_only_what_its_part_lacks_is_embedded(photos: Path, tmp_path: Path) -> None:
    alone = embed(photos, tmp_path / "alone", "whole", range(20))
    embed(photos, tmp_path / "both", "part", range(13))
    found = embed(photos, tmp_path / "both", "whole", range(20))
    assert len(Colours.seen) == 7
    assert contents(found) == contents(alone)


def test_of_replaced_pictures_only_these_are_embedded(photos: Path, tmp_path: Path) -> None:
    embed(photos, tmp_path / "out", "whole", range(18))
    write_photo(photos, 3, 19)
    write_photo(photos, 4, 5)  # the picture of another, which is known
    found = embed(photos, tmp_path / "out", "whole", range(18))
    assert len(Colours.seen) == 1
    assert contents(found) == contents(embed(photos, tmp_path / "alone", "whole", range(18)))


def test_what_cannot_be_read_or_has_no_feature_is_no_picture_that_is_known(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Colours, "bad", 210)  # photos 18 and 19
    (photos / "p1.jpg").write_bytes(b"no picture")
    (photos / "p2.jpg").unlink()
    whole = embed(photos, tmp_path / "out", "whole", range(20))
    assert len(whole.failures) == 4
    part = embed(photos, tmp_path / "out", "part", range(19))
    assert sorted(part.failures) == ["p1", "p18", "p2"]
    assert len(Colours.seen) == 1  # photo 18
    assert contents(part) == contents(embed(photos, tmp_path / "alone", "part", range(19)))


@pytest.mark.parametrize("other", ["content", "tile", "dtype", "versions", "fresh"])
def test_features_of_another_making_are_not_taken(
    other: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(photos, tmp_path, "whole", range(20))
    changes: dict[str, Any] = {}
    if other == "content":
        monkeypatch.setattr(Colours, "version", 2)
    elif other == "tile":
        monkeypatch.setattr(Colours, "tile", 5)
    elif other == "versions":
        monkeypatch.setattr(known, "library_versions", lambda: {"torch": "0"})
    else:
        changes = {"dtype": {"context": Context(dtype="bfloat16")}, "fresh": {"fresh": True}}[other]
    embed(photos, tmp_path, "part", range(8), **changes)
    assert len(Colours.seen) == 8


@pytest.mark.parametrize("name", ["features.npy", "contents.parquet"])
def test_a_damaged_store_gives_nothing(
    name: str, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = embed(photos, tmp_path, "whole", range(20)).folder / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    part = embed(photos, tmp_path, "part", range(8))
    assert len(Colours.seen) == 8
    assert "damaged" in caplog.text
    assert len(part) == 8


def test_a_store_without_digests_of_its_pictures_gives_nothing(photos: Path, tmp_path: Path) -> None:
    folder = embed(photos, tmp_path, "whole", range(20)).folder
    (folder / "contents.parquet").unlink()
    manifest = read_json(folder / "manifest.json")
    del manifest["files"]["contents.parquet"], manifest["sha256"]
    write_atomic(folder / "manifest.json", canonical_json(manifest))
    embed(photos, tmp_path, "part", range(8))
    assert len(Colours.seen) == 8
