"""Feature stores: the same bytes however they were made, rows found by id, nothing lost in silence."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tests.support.processes import in_child

from pinpoint_harness.api import evaluate, read_run
from pinpoint_harness.artifacts import Artifact, Subset, canonical_json, damaged_files, write_atomic
from pinpoint_harness.batching import WorkerShare
from pinpoint_harness.cli.main import cli
from pinpoint_harness.errors import ArtifactError, DataError, PluginError, UnfinishedError, UsageError
from pinpoint_harness.features import (
    EmbedRequest,
    FeatureStore,
    ImportRequest,
    StoreLookup,
    complete,
    export_store,
    find_store,
    import_store,
    iter_stores,
    write_matrix_header,
)
from pinpoint_harness.features import embed as embedding
from pinpoint_harness.features.backbones import BackboneSource
from pinpoint_harness.features.exchange import compare
from pinpoint_harness.features.store import ALL_ZERO, NOT_FINITE, VERSION, store_files
from pinpoint_harness.images import ImageStore, PassingTroubleError
from pinpoint_harness.plugins import Entry, Origin, Registry, load_registry
from pinpoint_harness.types import BackboneInfo, Context, DataLocation, DatasetInfo

pytestmark = pytest.mark.usefixtures("any_number_of_rows")

COUNT = 11
FILES = (
    "contents.parquet",
    "features.npy",
    "rows.parquet",
    "failures.parquet",
    "store.json",
    "manifest.json",
)

PLUGIN = """
import numpy as np
from pinpoint_harness import BackboneInfo, MethodInfo, Predictions, hookimpl

class Colours:
    width, tile = 3, 4
    def __init__(self, weights, context):
        pass
    def content(self):
        return {"version": 1}
    def prepare(self, image):
        return image.mean(axis=(0, 1))
    def features(self, images):
        assert len(images) == self.tile
        return np.stack(images)

class Redness:
    input = "colours"
    answer_version = 1
    given = []
    def __init__(self, params, context):
        pass
    def predict(self, queries):
        self.given.append(queries.input)
        red = queries.input[:, 0].double().numpy()
        return Predictions(np.stack([red / 4, np.zeros(len(red))], axis=1))

@hookimpl
def pinpoint_register(register):
    register.backbone("colours", f"{__name__}:Colours", BackboneInfo(title="Colours", width=3))
    register.method("redness", f"{__name__}:Redness", MethodInfo(title="r", licence="x"))
"""


def jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40 + number, 30), (number * 20, 10, 250)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


class Colours:
    """The mean colour of a photo; four photos at a time, and never another number."""

    width = 3
    tile = 4
    sizes: ClassVar[list[int]] = []
    spoil: ClassVar[Callable[[Any], Any]] = staticmethod(lambda features: features)
    pause: ClassVar[float] = 0.0

    def __init__(self, weights: Path | None, context: Context) -> None:
        pass

    def content(self) -> dict[str, Any]:
        return {"version": 1}

    def prepare(self, image: Any) -> Any:
        return image.mean(axis=(0, 1))

    def features(self, images: Any) -> Any:
        self.sizes.append(len(images))
        time.sleep(self.pause)
        return Colours.spoil(np.stack(images))


@dataclass(frozen=True)
class Folder:
    """A dataset of photos in a folder; `shuffled` gives the truth in another order."""

    path: Path
    shuffled: bool = False
    author: str | None = "ann"
    info: ClassVar[DatasetInfo] = DatasetInfo(title="Folder", source="", licence="")

    def truth(self) -> pd.DataFrame:
        number = np.arange(COUNT)
        frame = pd.DataFrame(
            {
                "id": [f"p{n}" for n in number],  # p10 stands before p2 in the order of ids
                "image": [f"p{n}.jpg" for n in number],
                "latitude": number * 1.5,
                "longitude": number * -1.0,
                "author": [self.author if n % 2 else None for n in number],
                "source": "photos",
            }
        )
        return frame.sample(frac=1, random_state=1, ignore_index=True) if self.shuffled else frame

    def images(self) -> ImageStore:
        return ImageStore.open([self.path])


@pytest.fixture(autouse=True)
def as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    Colours.sizes.clear()
    monkeypatch.setattr(embedding, "SHARD_TILES", 1)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"p{number}.jpg").write_bytes(jpeg(number))
    return folder


def source() -> BackboneSource:
    entry = Entry(
        "backbone",
        "colours",
        f"{__name__}:Colours",
        BackboneInfo(title="Colours", width=3),
        Origin("test", "explicit"),
    )
    return BackboneSource("colours", entry, "")


def request(photos: Path, root: Path, **changes: Any) -> EmbedRequest:
    dataset: Any = Folder(photos)
    return replace(EmbedRequest("folder", dataset, source(), root), **changes)


def contents(store: FeatureStore) -> dict[str, bytes]:
    return {name: (store.folder / name).read_bytes() for name in FILES}


def test_every_photo_has_its_feature_in_a_row_found_by_id(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path / "out"))
    assert store.table["id"].to_pylist() == sorted(f"p{n}" for n in range(COUNT))
    rows = store.find([f"p{n}" for n in range(COUNT)])
    red = store.matrix[rows][:, 0]
    assert np.abs(red - np.arange(COUNT) * 20).max() <= 2
    assert store.matrix.dtype == np.float16
    assert store.find(["p3", "nobody", "p0"]).tolist() == [4, -1, 0]
    assert store.coordinates()[rows].tolist() == [[n * 1.5, -n] for n in range(COUNT)]
    assert store.table["author"].to_pylist()[:3] == [None, "ann", None]  # p0, p1, p10
    assert (store.dataset, store.backbone, len(store), store.width) == ("folder", "colours", COUNT, 3)


def test_a_picture_that_goes_while_the_backbone_is_loaded_is_not_missing(
    photos: Path, tmp_path: Path
) -> None:
    """Weights may take minutes to be fetched, and the folder of the store is not there before."""

    class Away(BackboneSource):
        def open(self, context: Context, *, fetch: bool = False) -> Any:
            (photos / "p3.jpg").rename(tmp_path / "p3.jpg")
            return super().open(context, fetch=fetch)

    away = Away("colours", source().entry, "")
    with pytest.raises(PassingTroubleError, match=r"cannot be read any more: .*\n.*No such file"):
        complete(request(photos, tmp_path / "out", source=away))
    (tmp_path / "p3.jpg").rename(photos / "p3.jpg")
    assert len(complete(request(photos, tmp_path / "out"))) == COUNT


def test_the_network_always_sees_a_whole_tile(photos: Path, tmp_path: Path) -> None:
    complete(request(photos, tmp_path / "out"))
    assert Colours.sizes == [4, 4, 4]


def test_the_same_request_is_answered_from_disk(photos: Path, tmp_path: Path) -> None:
    first = complete(request(photos, tmp_path / "out"))
    Colours.sizes.clear()
    assert complete(request(photos, tmp_path / "out")).folder == first.folder
    assert Colours.sizes == []


def test_the_order_of_the_truth_changes_nothing(photos: Path, tmp_path: Path) -> None:
    plain = complete(request(photos, tmp_path / "a"))
    shuffled: Any = Folder(photos, shuffled=True)
    assert contents(complete(request(photos, tmp_path / "b", dataset=shuffled))) == contents(plain)


def test_how_many_tiles_are_committed_at_once_changes_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = complete(request(photos, tmp_path / "a"))
    monkeypatch.setattr(embedding, "SHARD_TILES", 2)
    assert contents(complete(request(photos, tmp_path / "b"))) == contents(plain)


@pytest.mark.parametrize(
    "changes",
    [
        {"context": Context(dtype="bfloat16")},
        {"subset": Subset(limit=3)},
        {"subset": Subset(ids=["p1"])},
    ],
)
def test_whatever_may_change_a_feature_changes_the_key(
    changes: dict[str, Any], photos: Path, tmp_path: Path
) -> None:
    assert complete(request(photos, tmp_path, **changes)).key != complete(request(photos, tmp_path)).key


def test_authors_tile_and_content_are_in_the_key(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [complete(request(photos, tmp_path)).key]
    other: Any = Folder(photos, author="eve")
    keys.append(complete(request(photos, tmp_path, dataset=other)).key)
    monkeypatch.setattr(Colours, "tile", 5)
    keys.append(complete(request(photos, tmp_path)).key)
    monkeypatch.setattr(Colours, "content", lambda self: {"version": 2})
    keys.append(complete(request(photos, tmp_path)).key)
    assert len(set(keys)) == 4


def test_photos_that_cannot_be_read_are_failures_and_disturb_no_neighbour(
    photos: Path, tmp_path: Path
) -> None:
    whole = complete(request(photos, tmp_path / "whole"))
    (photos / "p1.jpg").unlink()
    (photos / "p4.jpg").write_bytes(b"<!DOCTYPE html><html></html>")
    store = complete(request(photos, tmp_path / "broken"))
    assert store.failures["p1"] == "missing"
    assert store.failures["p4"].startswith("unreadable: looks like an HTML page")
    assert len(store.failures) == store.record["failed"] == 2
    left = store.table["id"].to_pylist()
    assert "p1" not in left
    assert np.array_equal(store.matrix, whole.matrix[whole.find(left)])


def test_a_tile_without_any_photo_is_not_embedded(photos: Path, tmp_path: Path) -> None:
    for name in ("p0", "p1", "p10", "p2"):  # the first tile in the order of ids
        (photos / f"{name}.jpg").write_bytes(b"")
    store = complete(request(photos, tmp_path / "out"))
    assert Colours.sizes == [4, 4]
    assert len(store) == COUNT - 4


def test_finding_no_photo_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"none of the 11 photos of 'folder' was found[\s\S]*--images"):
        complete(request(tmp_path / "empty", tmp_path / "out"))


def test_a_feature_that_is_no_number_is_a_failure_and_a_tile_of_them_an_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_bad(features: Any) -> Any:
        features = features.copy()
        features[features[:, 0] > 190] = 70_000  # beyond fp16: p10 alone
        return features

    monkeypatch.setattr(Colours, "spoil", staticmethod(one_bad))
    store = complete(request(photos, tmp_path / "a"))
    assert store.failures == {"p10": NOT_FINITE}
    assert np.isfinite(store.matrix).all()
    monkeypatch.setattr(Colours, "spoil", staticmethod(lambda features: features * np.nan))
    with pytest.raises(DataError, match="no finite feature for any of 4 photos"):
        complete(request(photos, tmp_path / "b"))


def test_a_feature_of_zeros_is_a_failure_and_a_tile_of_them_an_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_empty(features: Any) -> Any:
        return np.where(features[:, :1] > 190, 0, features)  # p10 alone

    monkeypatch.setattr(Colours, "spoil", staticmethod(one_empty))
    assert complete(request(photos, tmp_path / "a")).failures == {"p10": ALL_ZERO}
    for name, factor in {"b": 0, "c": 1e-12}.items():  # zero in fp16
        monkeypatch.setattr(Colours, "spoil", staticmethod(lambda features, by=factor: features * by))
        with pytest.raises(DataError, match=r"'colours' of test gives no feature but zeros for any of 4"):
            complete(request(photos, tmp_path / name))


@pytest.mark.parametrize("bad", [lambda features: features[:, :2], lambda features: features[:2]])
def test_an_answer_of_the_wrong_shape_names_the_backbone(
    bad: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Colours, "spoil", staticmethod(bad))
    with pytest.raises(
        PluginError, match=r"backbone 'colours' of test must answer with an array of shape \(4, 3\)"
    ):
        complete(request(photos, tmp_path))


def test_a_backbone_that_raises_is_named_and_the_store_can_be_resumed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = complete(request(photos, tmp_path / "whole"))

    def stumble(features: Any) -> Any:
        if len(Colours.sizes) == 3:
            raise RuntimeError("out of memory")
        return features

    monkeypatch.setattr(Colours, "spoil", staticmethod(stumble))
    Colours.sizes.clear()
    with pytest.raises(PluginError, match=r"'colours' of test failed[\s\S]*out of memory"):
        complete(request(photos, tmp_path / "stopped"))
    monkeypatch.setattr(Colours, "spoil", staticmethod(lambda features: features))
    Colours.sizes.clear()
    resumed = complete(request(photos, tmp_path / "stopped"))
    assert Colours.sizes == [4]  # two of three shards stood
    assert contents(resumed) == contents(whole)


# Kills and shares


def test_a_store_killed_at_any_flush_or_rename_resumes_to_the_same_bytes(
    photos: Path, tmp_path: Path
) -> None:
    whole = contents(complete(request(photos, tmp_path / "whole")))
    # Every second operation: a file takes three, so each kind is hit for one file or another.
    for fatal in itertools.count(1, 2):
        out = tmp_path / str(fatal)

        def work(out: Path = out, fatal: int = fatal) -> None:
            count = 0

            def dying(function: Callable[..., Any]) -> Callable[..., Any]:
                def wrapped(*arguments: Any) -> Any:
                    nonlocal count
                    count += 1
                    if count == fatal:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return function(*arguments)

                return wrapped

            os.fsync = dying(os.fsync)
            Path.replace = dying(Path.replace)  # type: ignore[method-assign]
            complete(request(photos, out))

        ended = in_child(work)
        store = complete(request(photos, out))
        assert contents(store) == whole, f"killed at operation {fatal}"
        left = sorted(path.name for path in store.folder.iterdir())
        assert left == sorted([".lock", "sessions.jsonl", *FILES])
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    # Three shards of two files, five final files and the start: each flushed, renamed, its folder flushed.
    assert fatal > 30


def test_shares_meet_in_the_same_bytes_and_say_what_is_left(photos: Path, tmp_path: Path) -> None:
    whole = contents(complete(request(photos, tmp_path / "whole")))
    for index in (2, 0):
        with pytest.raises(UnfinishedError, match="of 3 shards are embedded"):
            complete(request(photos, tmp_path / "shared", share=WorkerShare(index, 3)))
    assert contents(complete(request(photos, tmp_path / "shared", share=WorkerShare(1, 3)))) == whole


def test_who_is_done_waits_for_those_still_at_work(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(complete(request(photos, tmp_path / "whole")))
    monkeypatch.setattr(Colours, "pause", 0.15)
    codes = []
    children = []
    for index in range(2):  # the first has two shards and the second one
        child = os.fork()
        if child == 0:
            code = 1
            try:
                complete(request(photos, tmp_path / "both", share=WorkerShare(index, 2)))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0]
    assert contents(complete(request(photos, tmp_path / "both"))) == whole


def test_two_processes_under_torchrun_give_the_bytes_of_one(photos: Path, tmp_path: Path) -> None:
    rows = [f"p{n}.jpg,{n},{n}" for n in range(COUNT)]
    (photos / "truth.csv").write_text("\n".join(["image,lat,lng", *rows]) + "\n")
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "start.py").write_text(
        "from pinpoint_harness import batching\n"
        "from pinpoint_harness.features import embed\n"
        "from pinpoint_harness.cli.main import main\n"
        "batching.ROW_BLOCK = embed.SHARD_TILES = 1\n"
        "main()\n"
    )
    command = ["--plugin", str(tmp_path / "plugin.py"), "embed", "table", "--data", str(photos / "truth.csv")]
    command += ["--images", str(photos), "--backbone", "colours", "--home"]
    assert CliRunner().invoke(cli, [*command, str(tmp_path / "one")]).exit_code == 0
    paths = os.pathsep.join(path for path in sys.path if path)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(tmp_path / "start.py"), *command, str(tmp_path / "two")],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (one,), (two,) = iter_stores(tmp_path / "one" / "stores"), iter_stores(tmp_path / "two" / "stores")
    assert contents(two) == contents(one)
    log = [json.loads(line) for line in (two.folder / "sessions.jsonl").read_text().splitlines()]
    assert len({entry["process"] for entry in log if entry["event"] == "start"}) == 2


# Opening


def big_store(folder: Path, rows: int) -> FeatureStore:
    truth = pd.DataFrame({"id": np.char.mod("%09d", np.arange(rows)), "latitude": 1.0, "longitude": 2.0})
    truth = truth.assign(author=None, source="photos")

    def write(stream: Any) -> None:
        write_matrix_header(stream, rows, 64)
        for _ in range(rows // 1000):
            stream.write(bytes(1000 * 64 * 2))

    record = {"dataset": "big", "backbone": "x", "rows": rows, "width": 64, "subset": None,
              "recipe": {"version": VERSION}}  # fmt: skip
    artifact = Artifact.begin(folder, "features", {"rows": rows})
    artifact.finish(store_files(truth, {}, write, record))
    return FeatureStore.open(artifact.folder)


def test_a_store_of_a_million_rows_opens_in_under_20_ms(tmp_path: Path) -> None:
    folder = big_store(tmp_path, 1_000_000).folder
    times = []
    for _ in range(5):
        started = time.process_time()
        store = FeatureStore.open(folder)
        assert store.matrix[999_999, 63] == 0
        times.append(time.process_time() - started)
    assert min(times) < 0.02
    assert store.find(["000999999", "x"]).tolist() == [999_999, -1]


def test_what_is_no_complete_store_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"not a feature store[\s\S]*stores list"):
        FeatureStore.open(tmp_path)
    with pytest.raises(UnfinishedError):
        complete(request(photos, tmp_path / "out", share=WorkerShare(0, 2)))
    (folder,) = (tmp_path / "out").glob("*/*/*")
    with pytest.raises(ArtifactError, match="not finished"):
        FeatureStore.open(folder)


def test_a_cut_matrix_does_not_pass_for_the_whole(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path))
    np.save(store.folder / "features.npy", np.zeros((3, 3), np.float16))
    with pytest.raises(ArtifactError, match=r"damaged[\s\S]*features.npy is changed"):
        _ = FeatureStore.open(store.folder).matrix


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("features.npy", lambda store: store.matrix),
        ("rows.parquet", lambda store: store.table),
        ("failures.parquet", lambda store: store.failures),
        ("store.json", lambda store: store),
    ],
)
def test_a_single_changed_byte_is_seen_when_a_store_is_read(
    name: str, read: Callable[[FeatureStore], object], photos: Path, tmp_path: Path
) -> None:
    path = complete(request(photos, tmp_path)).folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"damaged[\s\S]*{name} is changed[\s\S]*--fresh"):
        read(FeatureStore.open(path.parent))


def test_a_store_that_lost_its_manifest_is_damaged_not_absent(photos: Path, tmp_path: Path) -> None:
    folder = complete(request(photos, tmp_path / "stores")).folder
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        FeatureStore.open(folder)
    listed = CliRunner().invoke(cli, ["stores", "list", "--home", str(tmp_path)])
    assert "manifest.json is missing" in listed.stderr
    assert "damaged" in listed.stdout
    removed = CliRunner().invoke(cli, ["stores", "rm", folder.name, "--yes", "--home", str(tmp_path)])
    assert removed.exit_code == 0
    assert not folder.exists()


def test_a_store_of_another_release_is_refused_with_the_command_that_makes_it(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = complete(request(photos, tmp_path)).folder
    record = json.loads((folder / "store.json").read_bytes())
    record["recipe"]["version"] = VERSION - 1
    written = write_atomic(folder / "store.json", canonical_json(record))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest.pop("sha256")  # of its own, which older releases did not write
    manifest["files"]["store.json"] = written
    write_atomic(folder / "manifest.json", canonical_json(manifest))
    with pytest.raises(ArtifactError, match=r"another release[\s\S]*pinpoint embed "):
        FeatureStore.open(folder)
    assert list(iter_stores(tmp_path)) == []
    assert "another release" in caplog.text


def test_photos_that_were_replaced_are_embedded_anew(photos: Path, tmp_path: Path) -> None:
    first = complete(request(photos, tmp_path))
    assert complete(request(photos, tmp_path)).folder == first.folder
    replaced = photos / "p4.jpg"
    replaced.write_bytes(jpeg(9))
    second = complete(request(photos, tmp_path))
    assert second.folder != first.folder
    assert not np.array_equal(second.matrix, first.matrix)


def test_a_backbone_that_works_in_place_gives_the_last_photo_its_own_feature(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = complete(request(photos, tmp_path / "a")).matrix / 2

    def in_place(self: Any, images: Any) -> Any:
        for image in images:
            image /= 2
        return np.stack(images)

    monkeypatch.setattr(Colours, "features", in_place)
    found = complete(request(photos, tmp_path / "b")).matrix
    assert np.allclose(found, expected, rtol=1e-2)


def test_a_masked_array_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Colours, "spoil", staticmethod(np.ma.masked_invalid))
    with pytest.raises(PluginError, match="a masked array"):
        complete(request(photos, tmp_path))


def test_a_backbone_that_exits_ends_no_command(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Colours, "spoil", staticmethod(lambda features: sys.exit(0)))
    with pytest.raises(PluginError, match=r"it calls sys.exit\(0\)"):
        complete(request(photos, tmp_path))


def test_stores_are_named_by_folder_or_key(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path))
    complete(request(photos, tmp_path, subset=Subset(limit=2)))
    assert find_store(str(store.folder), tmp_path).key == store.key
    assert find_store(store.key[:10], tmp_path).key == store.key
    with pytest.raises(UsageError, match="names 2 stores"):
        find_store("", tmp_path)


# Runs on features


@pytest.fixture
def table(photos: Path) -> Path:
    rows = [f"p{n}.jpg,{n},{n}" for n in range(COUNT)]
    path = photos.parent / "truth.csv"
    path.write_text("\n".join(["image,lat,lng", *rows]) + "\n")
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    file = tmp_path / "plugin.py"
    file.write_text(PLUGIN)
    return load_registry([str(file)])


def ask(table: Path, photos: Path, registry: Registry, tmp_path: Path, **changes: Any) -> Any:
    options: dict[str, Any] = {"out": tmp_path / "runs", "stores": tmp_path / "stores", "tile": 4, **changes}
    return evaluate("redness", "table", data=table, images=[photos], registry=registry, **options)


def test_a_run_completes_the_store_and_gets_its_features_by_id(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    run = ask(table, photos, registry, tmp_path)
    (store,) = iter_stores(tmp_path / "stores")
    frame = run.predictions()
    red = store.matrix[store.find(frame["id"].tolist())][:, 0]
    assert frame["predicted_latitude"].tolist() == (red.astype(float) / 4).tolist()
    given = registry.method("redness").load().given[-1]
    assert isinstance(given, torch.Tensor)
    assert (given.shape, given.dtype) == ((4, 3), torch.float16)
    assert run.record["recipe"]["inputs"] == {"store": store.key}


def test_a_store_that_is_there_serves_every_run_and_every_part(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    ask(table, photos, registry, tmp_path)
    hidden = photos.with_name("hidden")
    photos.rename(hidden)
    photos.mkdir()
    part = ask(table, photos, registry, tmp_path, limit=3)
    assert part.record["counts"]["ok"] == 3
    assert len(list(iter_stores(tmp_path / "stores"))) == 1


def test_a_part_is_embedded_alone_where_nothing_is_there(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    ask(table, photos, registry, tmp_path, limit=3)
    (store,) = iter_stores(tmp_path / "stores")
    assert len(store) == 3


def test_photos_without_features_are_misses_with_their_reason(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    whole = ask(table, photos, registry, tmp_path / "whole").predictions()
    (photos / "p0.jpg").unlink()
    for number in (4, 5, 6, 7):  # a whole tile of the run
        (photos / f"p{number}.jpg").write_bytes(b"")
    frame = ask(table, photos, registry, tmp_path).predictions()
    assert frame["status"].tolist() == [
        "missing",
        *["ok"] * 3,
        *["unreadable: empty file (0 bytes)"] * 4,
        *["ok"] * 3,
    ]
    answered = frame["status"] == "ok"
    assert frame[answered]["predicted_latitude"].equals(whole[answered]["predicted_latitude"])


def test_photos_found_later_or_replaced_are_embedded_anew_by_the_next_run(
    table: Path, photos: Path, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.move(photos / "p4.jpg", tmp_path / "p4.jpg")
    first = ask(table, photos, registry, tmp_path)
    assert first.record["counts"]["missing"] == 1
    shutil.move(tmp_path / "p4.jpg", photos / "p4.jpg")
    second = ask(table, photos, registry, tmp_path)
    assert second.record["counts"]["ok"] == COUNT
    assert "made from other pictures" in caplog.text
    (photos / "p4.jpg").write_bytes(jpeg(0))
    third = ask(table, photos, registry, tmp_path).predictions()["predicted_latitude"]
    assert third[4] == third[0] != second.predictions()["predicted_latitude"][4]


def test_stored_features_serve_where_the_pictures_are_not(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    first = ask(table, photos, registry, tmp_path)
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()
    assert ask(table, photos, registry, tmp_path).key == first.key


# Features made elsewhere


def imported(photos: Path, root: Path, file: Path, **changes: Any) -> FeatureStore:
    dataset: Any = Folder(photos)
    asked = ImportRequest("folder", dataset, "colours", 3, root, file, None, "none")
    return import_store(replace(asked, **changes))


def shuffled_rows(store: FeatureStore) -> tuple[list[str], Any]:
    order = np.random.default_rng(0).permutation(len(store))
    ids = store.table["id"].to_pylist()
    return [f"{ids[row]}.jpg" for row in order], np.asarray(store.matrix)[order]


def write_external(folder: Path, ids: list[str], features: Any) -> dict[Path, Path | None]:
    """The same rows in every form that is read, in float32 where the form allows."""
    table = folder / "ids.csv"
    table.write_text("\n".join(["img_id", *ids]) + "\n")
    np.save(folder / "x.npy", features.astype(np.float32))
    np.savez(folder / "x.npz", ids=np.array(ids), features=features)
    (folder / "x.f16").write_bytes(features.tobytes())
    vectors = pa.array(features.astype(np.float32).tolist())
    pq.write_table(pa.table({"id": ids, "embedding": vectors}), folder / "x.parquet")
    return {
        folder / "x.npy": table,
        folder / "x.npz": None,
        folder / "x.f16": table,
        folder / "x.parquet": None,
    }


def test_features_of_every_form_are_joined_by_id(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path / "own"))
    ids, features = shuffled_rows(store)
    for file, table in write_external(tmp_path, ids, features).items():
        found = imported(photos, tmp_path / "stores" / file.suffix[1:], file, ids=table)
        assert np.array_equal(found.matrix, store.matrix), file
        assert found.table.equals(store.table)
        assert found.imported
        assert not store.imported


def test_photos_the_file_lacks_are_missing_and_rows_of_others_left_out(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path / "own"))
    ids, features = shuffled_rows(store)
    ids[0], gone = "of-another-set.jpg", ids[0].removesuffix(".jpg")
    np.savez(tmp_path / "x.npz", ids=np.array(ids), features=features)
    found = imported(photos, tmp_path / "stores", tmp_path / "x.npz")
    assert found.failures == {gone: "missing"}
    assert len(found) == COUNT - 1


def test_the_declared_normalisation_is_put_to_the_test(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path / "own"))
    ids, features = shuffled_rows(store)
    unit = features / np.linalg.norm(features.astype(np.float32), axis=1, keepdims=True)
    for name, array, declared, actual in [("a", features, "l2", "none"), ("b", unit, "none", "l2")]:
        file = tmp_path / f"{name}.npz"
        np.savez(file, ids=np.array(ids), features=array)
        with pytest.raises(DataError, match=f"declared to be of normalisation '{declared}'"):
            imported(photos, tmp_path / name, file, normalisation=declared)
        assert not list(iter_stores(tmp_path / name))
        assert imported(photos, tmp_path / name, file, normalisation=actual).record["normalisation"] == actual


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000])
def test_what_fp16_cannot_hold_is_refused_by_id(value: float, photos: Path, tmp_path: Path) -> None:
    features = np.ones((COUNT, 3), np.float32)
    features[4, 1] = value
    np.savez(tmp_path / "x.npz", ids=np.array([f"p{n}" for n in range(COUNT)]), features=features)
    with pytest.raises(DataError, match=r"no finite fp16 numbers[\s\S]*'p4'"):
        imported(photos, tmp_path / "stores", tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0, 0, 0], "are zero"),
        ([-0.0, 0, -0.0], "are zero"),
        ([1e-9, 0, 3e-9], "are too small for fp16"),  # zero in fp16
        ([3e-5, 2e-5, 1.0], "are too small for fp16"),  # two of three subnormal
    ],
)
def test_features_that_carry_nothing_are_refused_by_id(
    row: list[float], words: str, photos: Path, tmp_path: Path
) -> None:
    features = np.ones((COUNT, 3), np.float32)
    features[3:5] = row
    np.savez(tmp_path / "x.npz", ids=np.array([f"p{n}" for n in range(COUNT)]), features=features)
    with pytest.raises(DataError, match=rf"{words}[\s\S]*'p3'"):
        imported(photos, tmp_path / "stores", tmp_path / "x.npz")
    assert not list(iter_stores(tmp_path / "stores"))


def test_features_that_are_mostly_zero_by_design_are_kept(photos: Path, tmp_path: Path) -> None:
    features = np.zeros((COUNT, 3), np.float32)
    features[:, 1] = 0.5  # as after a ReLU
    np.savez(tmp_path / "x.npz", ids=np.array([f"p{n}" for n in range(COUNT)]), features=features)
    assert len(imported(photos, tmp_path / "stores", tmp_path / "x.npz")) == COUNT


def test_files_that_cannot_be_joined_say_why(photos: Path, tmp_path: Path) -> None:
    features = np.ones((COUNT, 3), np.float32)
    np.save(tmp_path / "x.npy", features)
    with pytest.raises(UsageError, match="--id-table"):
        imported(photos, tmp_path / "stores", tmp_path / "x.npy")
    (tmp_path / "ids.txt").write_text("p1\np2\n")
    with pytest.raises(DataError, match=r"11 rows[\s\S]*2 ids"):
        imported(photos, tmp_path / "stores", tmp_path / "x.npy", ids=tmp_path / "ids.txt")
    (tmp_path / "ids.txt").write_text("\n".join(f"q{n}x" for n in range(COUNT)))
    with pytest.raises(DataError, match="no row of"):
        imported(photos, tmp_path / "stores", tmp_path / "x.npy", ids=tmp_path / "ids.txt")
    (tmp_path / "ids.txt").write_text("\n".join(f"p{n}" for n in range(COUNT)))
    with pytest.raises(DataError, match=r"width 3, expected 4"):
        imported(photos, tmp_path / "stores", tmp_path / "x.npy", ids=tmp_path / "ids.txt", width=4)
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot read[\s\S]*Python objects"):
        imported(photos, tmp_path / "stores", tmp_path / "x.npy")


def test_an_imported_store_is_found_by_the_name_of_its_backbone(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    features = np.full((COUNT, 3), 40.0)
    np.savez(tmp_path / "x.npz", ids=np.array([f"p{n}" for n in range(COUNT)]), features=features)
    command = ["--plugin", str(tmp_path / "plugin.py"), "stores", "import", "table", str(tmp_path / "x.npz")]
    command += ["--backbone", "colours", "--normalisation", "none", "--data", str(table)]
    done = CliRunner().invoke(cli, [*command, "--home", str(tmp_path)])
    assert done.exit_code == 0, done.output
    frame = ask(table, photos, registry, tmp_path).predictions()
    assert frame["predicted_latitude"].tolist() == [10.0] * COUNT
    # Both an imported store and one made here: which is meant would be a guess.
    command = ["--plugin", str(tmp_path / "plugin.py"), "embed", "table", "--backbone", "colours"]
    command += ["--data", str(table), "--images", str(photos), "--home", str(tmp_path)]
    assert CliRunner().invoke(cli, command).exit_code == 0
    with pytest.raises(UsageError, match=r"there are 2 stores[\s\S]*imported"):
        ask(table, photos, registry, tmp_path)


def test_comparing_measures_the_cosine_to_features_embedded_anew(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path / "own"))
    ids, features = shuffled_rows(store)
    turned = features.copy()
    turned[3] = turned[3][[2, 1, 0]]
    np.savez(tmp_path / "x.npz", ids=np.array(ids), features=turned)
    other = imported(photos, tmp_path / "stores", tmp_path / "x.npz")
    assert compare(store, request(photos, tmp_path / "x"), 5).minimum == pytest.approx(1, abs=1e-12)
    agreement = compare(other, request(photos, tmp_path / "x"), 256)
    one, two = features[3].astype(float), turned[3].astype(float)
    assert agreement.photos == COUNT
    assert agreement.median == pytest.approx(1, abs=1e-12)
    assert agreement.minimum == pytest.approx(float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("ending", [".npy", ".npz", ".parquet", ".f16"])
def test_what_is_exported_can_be_imported_again(ending: str, photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path / "own"))
    written = export_store(store, tmp_path / f"features{ending}")
    again = imported(photos, tmp_path / "stores", written[0], ids=written[1] if len(written) > 1 else None)
    assert np.array_equal(again.matrix, store.matrix)
    assert again.table.equals(store.table)


def test_an_unknown_ending_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no known ending"):
        export_store(complete(request(photos, tmp_path)), tmp_path / "features.bin")


def test_stores_are_listed_with_what_they_hold(photos: Path, tmp_path: Path) -> None:
    complete(request(photos, tmp_path / "stores"))
    complete(request(photos, tmp_path / "stores", subset=Subset(limit=2)))
    listed = CliRunner().invoke(cli, ["stores", "list", "--home", str(tmp_path), "--json"])
    rows = json.loads(listed.stdout)
    assert sorted((row["rows"], row["part"]) for row in rows) == [(2, "2 photos"), (11, "all")]
    checked = CliRunner().invoke(cli, ["stores", "verify", "--all", "--home", str(tmp_path)])
    assert checked.stdout == "2 checked, 0 damaged files\n"
    exported = CliRunner().invoke(
        cli, ["stores", "export", rows[0]["key"], str(tmp_path / "x.npy"), "--home", str(tmp_path)]
    )
    assert exported.stdout.split() == [str(tmp_path / "x.npy"), str(tmp_path / "x.npy.ids.parquet")]


def test_a_store_says_what_it_is_made_of(photos: Path, tmp_path: Path) -> None:
    store = complete(request(photos, tmp_path))
    assert store.spec["backbone"]["version"] == 1
    assert store.spec["backbone"]["target"].endswith(":Colours")
    assert (store.folder / "store.json").read_bytes() == canonical_json(dict(store.record))
    assert damaged_files(store.folder) == {}


# Features under a name of one's own, and the pictures of a gallery


def invoke(tmp_path: Path, *words: str) -> Any:
    return CliRunner().invoke(cli, ["--plugin", str(tmp_path / "plugin.py"), "--home", str(tmp_path), *words])


def test_features_made_elsewhere_are_used_under_a_name_of_ones_own(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    features = np.random.default_rng(0).normal(size=(COUNT, 5))
    np.savez(tmp_path / "x.npz", ids=np.array([f"p{n}" for n in range(COUNT)]), features=features)
    own = ("--backbone", "my-own", "--normalisation", "none", "--data", str(table))
    done = invoke(tmp_path, "stores", "import", "table", str(tmp_path / "x.npz"), *own)
    assert done.exit_code == 0, done.output
    run = ("run", "nearest-photo", "table", "--data", str(table), "--set", "gallery=table")
    found = invoke(tmp_path, *run, "--set", "backbone=my-own")
    assert found.exit_code == 0, found.output
    answers = read_run("nearest-photo@table", home=tmp_path).predictions()
    assert (answers["status"] == "ok").all()
    assert (answers["error_km"] > 1).all()  # never itself
    unknown = invoke(tmp_path, *run, "--set", "backbone=my-other")
    assert "there is no backbone 'my-other'" in unknown.stderr
    elsewhere = invoke(tmp_path, "run", "nearest-photo", "capitals", *run[5:], "--set", "backbone=my-own")
    assert elsewhere.exit_code == 2
    assert "there are no features of 'capitals' by 'my-own'" in elsewhere.stderr
    assert "pinpoint stores import capitals FILE --backbone my-own" in elsewhere.stderr


def test_a_name_of_ones_own_has_no_weights_to_compare_with_and_is_no_slip_of_the_pen(
    table: Path, photos: Path, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.savez(tmp_path / "x.npz", ids=np.array([f"p{n}" for n in range(COUNT)]), features=np.ones((COUNT, 5)))
    command = ("stores", "import", "table", str(tmp_path / "x.npz"), "--normalisation", "none")
    command += ("--data", str(table), "--backbone")
    assert "a name of your own" in invoke(tmp_path, *command, "mine", "--check").stderr
    assert "leave --weights out" in invoke(tmp_path, *command, "mine", "--weights", "owner/x").stderr
    near = invoke(tmp_path, *command, "colour")
    assert near.exit_code == 0
    assert "did you mean 'colours'?" in caplog.text + near.output


def test_the_pictures_of_a_gallery_may_lie_apart(
    table: Path, photos: Path, registry: Registry, tmp_path: Path
) -> None:
    apart, gallery = tmp_path / "apart", tmp_path / "tables" / "gallery.csv"
    for folder in (apart, gallery.parent):
        folder.mkdir()
    rows = pd.read_csv(table).head(6)
    rows["image"] = [f"g{n}.jpg" for n in range(6)]
    rows.to_csv(gallery, index=False)
    for number in range(6):
        (apart / f"g{number}.jpg").write_bytes(jpeg(number))
    command = ["run", "nearest-photo", "table", "--data", str(table), "--images", str(photos)]
    command += ["--set", "backbone=colours", "--set", "gallery=table", "--set", f"gallery_data={gallery}"]
    without = invoke(tmp_path, *command)
    assert without.exit_code == 2
    done = invoke(tmp_path, *command, "--gallery-images", str(apart))
    assert done.exit_code == 0, done.output
    run = read_run("nearest-photo@table", home=tmp_path)
    assert run.galleries[0].location.images == (apart,)
    assert run.record["counts"]["ok"] == COUNT
    idle = invoke(
        tmp_path, "run", "random-prior", "table", "--data", str(table), "--gallery-images", str(apart)
    )
    assert "method 'random-prior' opens no gallery" in idle.stderr


class Usual(Folder):
    """The same, its photos in a place that is known without being named."""

    place: ClassVar[Path]

    def __init__(self, location: DataLocation) -> None:
        super().__init__(self.place)


def test_a_gallery_whose_photos_were_replaced_is_embedded_anew(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Usual, "place", photos, raising=False)
    origin = Origin("test", "explicit")
    dataset = Entry("dataset", "folder", f"{__name__}:Usual", Folder.info, origin)
    known = Registry()
    known.datasets["folder"], known.backbones["colours"] = dataset, source().entry
    lookup = StoreLookup(known, tmp_path / "stores")
    first = lookup.gallery("folder", "colours")
    assert lookup.gallery("folder", "colours").folder == first.folder
    (photos / "p4.jpg").write_bytes(jpeg(0))
    second = lookup.gallery("folder", "colours")
    assert "made from other pictures" in caplog.text
    fourth, zeroth = second.matrix[second.find(["p4", "p0"])]
    assert np.array_equal(fourth, zeroth)
    assert lookup.gallery(str(first.folder), "colours").folder == first.folder  # as it is named
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()
    assert lookup.gallery("folder", "colours").folder in (first.folder, second.folder)


def test_a_copy_without_its_times_of_change_is_read_and_not_embedded_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "p3.jpg").write_bytes(b"no picture")
    first = complete(request(photos, tmp_path / "out"))
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in photos.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
        os.utime(copy / path.name, (1, 1))
    Colours.sizes.clear()
    assert complete(request(copy, tmp_path / "out")).folder == first.folder
    assert Colours.sizes == []
    with monkeypatch.context() as patch:  # it is known now: nothing is read
        patch.setattr(ImageStore, "read", lambda *given: pytest.fail("read again"))
        assert complete(request(copy, tmp_path / "out")).folder == first.folder
    assert damaged_files(first.folder) == {}
    (copy / "p4.jpg").write_bytes(jpeg(12))
    other = complete(request(copy, tmp_path / "out"))
    assert other.folder != first.folder
    assert Colours.sizes == [4]  # of the new picture alone, in a whole tile


def test_fresh_embeds_a_copy_anew(photos: Path, tmp_path: Path) -> None:
    first = complete(request(photos, tmp_path / "out"))
    os.utime(photos / "p0.jpg", (1, 1))
    other = complete(request(photos, tmp_path / "out", fresh=True))
    assert other.folder != first.folder
