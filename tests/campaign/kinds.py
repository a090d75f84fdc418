"""The kinds of trials: what is damaged how is drawn from a number, so that each can be made again.

A trial returns in a word how it ended: `answered` or `refused`. Anything else that is raised is a crash,
and an AssertionError a silent difference.
"""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tests.campaign.trials import Kind
from tests.support.hostile import DAMAGES, MEMBERS, damaged_container, damaged_image, member_name

from pinpoint_harness.errors import HarnessError
from pinpoint_harness.features.backbones import find_backbone
from pinpoint_harness.features.exchange import ImportRequest, import_store
from pinpoint_harness.images import Failure, ImageStore
from pinpoint_harness.images.decode import decode
from pinpoint_harness.plugins import Registry
from pinpoint_harness.readers import TableDataset, TruthSpec, read_answers, read_coordinates
from pinpoint_harness.reproduce import load_recipe
from pinpoint_harness.types import Context, DataLocation, DatasetInfo

MAX_PIXELS = 4_000_000
ROWS = 40


def pictures(number: int, folder: Path) -> str:
    """A picture is decoded or has a reason."""
    _, data = damaged_image(number)
    result = decode(data, max_pixels=MAX_PIXELS)
    if isinstance(result, Failure):
        assert result.kind == "unreadable"
        assert 0 < len(result.reason) <= 160
        assert result.reason.isprintable()
        return "refused"
    assert result.dtype == np.uint8
    assert result.ndim == 3
    return "answered"


def archives(number: int, folder: Path) -> str:
    """A container gives its pictures or says why not."""
    _, files = damaged_container(number)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    wanted = pd.Series([member_name(index) for index in range(MEMBERS)])
    with refusals() as refused, ImageStore.open([folder]) as store:
        refs = store.find(wanted)
        read = [store.read(int(ref)) for ref in refs]
        assert all(isinstance(data, bytes | Failure) for data in read)
        return "answered" if any(isinstance(data, bytes) for data in read) else "refused"
    return refused()


def tables(number: int, folder: Path) -> str:
    """A truth, answers and places are read as they are or refused."""
    draw = np.random.default_rng([3, number])
    forms = sorted(sound_tables())
    name = forms[number % len(forms)]
    path = folder / name
    path.write_bytes(damaged(sound_tables()[name], draw))
    ended = []
    for read in (_truth, read_answers, read_coordinates):
        with refusals() as refused:
            read(path)
            ended.append("answered")
            continue
        ended.append(refused())
    return "answered" if "answered" in ended else "refused"


def features(number: int, folder: Path) -> str:
    """Features made elsewhere become a store of finite numbers, or are refused."""
    draw = np.random.default_rng([4, number])
    files = sound_features()
    name = sorted(files)[number % len(files)]
    (folder / name).write_bytes(damaged(files[name], draw))
    ids = None if name.endswith((".npz", ".parquet")) else folder / "ids.csv"
    if ids is not None:
        rows = damaged(_ids(), draw) if draw.random() < 0.3 else _ids()
        ids.write_bytes(rows)
    width = 4 if name.endswith(".f16") else None
    dataset: Any = Photos()
    with refusals() as refused:
        store = import_store(
            ImportRequest(
                "photos", dataset, "made/elsewhere", width, folder / "stores", folder / name, ids, "none"
            )
        )
        assert np.isfinite(store.matrix).all()
        assert len(store) == len(store.table)
        return "answered"
    return refused()


def checkpoints(number: int, folder: Path) -> str:
    """A checkpoint gives finite features or is refused; one that is changed is never taken for the same."""
    draw = np.random.default_rng([5, number])
    sound, content, expected = sound_checkpoint()
    here = folder / "checkpoint"
    shutil.copytree(sound, here)
    names = sorted(path.name for path in here.iterdir())
    victim = here / names[number % len(names)]
    victim.write_bytes(damaged(victim.read_bytes(), draw))
    with refusals() as refused:
        source = find_backbone(Registry(), str(here))
        backbone = source.open(Context())
        found = dict(source.content(backbone))
        given = _features_of(backbone)
        if found == content:
            assert np.array_equal(given, expected, equal_nan=True)
        return "answered"
    return refused()


def recipes(number: int, folder: Path) -> str:
    """A recipe is understood whole or refused."""
    draw = np.random.default_rng([6, number])
    path = folder / "recipe.toml"
    is_odd = draw.random() < 0.6
    path.write_bytes(_odd_recipe(draw).encode() if is_odd else damaged(SOUND_RECIPE.encode(), draw))
    with refusals() as refused:
        recipe = load_recipe(str(path))
        assert all(isinstance(word, str) for step in recipe.steps for word in step.words)
        return "answered"
    return refused()


@contextmanager
def refusals() -> Iterator[Callable[[], str]]:
    """What is refused by the harness's own errors ends the block; they say a line, and are bounded."""
    try:
        yield lambda: "refused"
    except HarnessError as error:
        said = str(error)
        assert said.strip()
        assert len(said) < 20_000


def damaged(data: bytes, draw: np.random.Generator) -> bytes:
    """The bytes with one or two kinds of damage, or with odd words in place of some."""
    for _ in range(1 + (draw.random() < 0.3)):
        if not data:
            return data
        if draw.random() < 0.4:
            data = _odd_words(data, draw)
        else:
            data = DAMAGES[sorted(DAMAGES)[int(draw.integers(len(DAMAGES)))]](data, draw)
    return data


_WORDS = (
    b"",
    b"null",
    b"NaN",
    b"-inf",
    b"1e400",
    b"[]",
    b"{}",
    b"true",
    b'""',
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"9" * 400,
    b"[" * 3000,
    b"a" * 70_000,
    b"\0",
    b"-1",
    b"0",
    b"1.5",
    b"\xe2\x80\xae",
    b"\x1b[2J",
    b"\r\n",
)


def _odd_words(data: bytes, draw: np.random.Generator) -> bytes:
    """A few of the words between signs of the text replaced."""
    pieces = data.split(b",") if b"," in data else data.split(b" ")
    for _ in range(int(draw.integers(1, 4))):
        pieces[int(draw.integers(len(pieces)))] = _WORDS[int(draw.integers(len(_WORDS)))]
    return (b"," if b"," in data else b" ").join(pieces)


# Tables


class Toy(TableDataset):
    spec: ClassVar[TruthSpec] = TruthSpec(
        name="toy", info=DatasetInfo(title="Toy", source="", licence=""), ids="verbatim", extras=None
    )


def _truth(path: Path) -> None:
    frame = Toy(DataLocation(path)).truth()
    assert frame["id"].is_unique
    assert frame["latitude"].between(-90, 90).all()


@cache
def sound_tables() -> dict[str, bytes]:
    import gzip

    draw = random.Random(0)
    rows = [
        {
            "id": f"photo{n}.jpg",
            "lat": round(draw.uniform(-80, 80), 6),
            "lon": round(draw.uniform(-170, 170), 6),
        }
        for n in range(ROWS)
    ]
    frame = pd.DataFrame(rows)
    csv = frame.to_csv(index=False).encode()
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), stream)
    twice = io.BytesIO()
    table = pa.table(
        [pa.array(frame["id"]), pa.array(frame["lat"]), pa.array(frame["lon"]), pa.array(frame["lon"])],
        names=["id", "lat", "lon", "lon"],
    )
    pq.write_table(table, twice)
    return {
        "a.csv": csv,
        "a.tsv": frame.to_csv(index=False, sep="\t").encode(),
        "a.csv.gz": gzip.compress(csv, mtime=0),
        "utf16.csv": csv.decode().encode("utf-16"),
        "a.json": json.dumps(rows).encode(),
        "by_photo.json": json.dumps({row["id"]: [row["lat"], row["lon"]] for row in rows}).encode(),
        "a.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "a.parquet": stream.getvalue(),
        "twice.parquet": twice.getvalue(),
    }


# Features


class Photos:
    """As many photos as there are rows of features."""

    info = DatasetInfo(title="Photos", source="", licence="")

    def truth(self) -> pd.DataFrame:
        names = [f"p{n}" for n in range(ROWS)]
        frame = pd.DataFrame({"id": names, "image": names, "latitude": 1.0, "longitude": 2.0})
        return frame.assign(author=None, source="photos")


def _ids() -> bytes:
    return b"img_id\n" + b"".join(b"p%d\n" % n for n in range(ROWS))


@cache
def sound_features() -> dict[str, bytes]:
    matrix = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    ids = [f"p{n}" for n in range(ROWS)]

    def written(write: Callable[[io.BytesIO], object]) -> bytes:
        stream = io.BytesIO()
        write(stream)
        return stream.getvalue()

    vectors = pa.table({"id": ids, "embedding": pa.array(matrix.tolist())})
    return {
        "x.npy": written(lambda stream: np.save(stream, matrix)),
        "x.npz": written(lambda stream: np.savez(stream, ids=np.array(ids), features=matrix)),
        "packed.npz": written(lambda stream: np.savez_compressed(stream, ids=np.array(ids), features=matrix)),
        "x.parquet": written(lambda stream: pq.write_table(vectors, stream)),
        "x.f16": matrix.astype("<f2").tobytes(),
    }


# Checkpoints


@cache
def sound_checkpoint() -> tuple[Path, dict[str, Any], Any]:
    """A tiny tower in the real format, what its features depend on, and features."""
    import tempfile

    import torch
    from transformers import SiglipConfig, SiglipModel

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = SiglipConfig(
        text_config={**small, "vocab_size": 20, "max_position_embeddings": 8},
        vision_config={**small, "image_size": 16, "patch_size": 8},
    )
    folder = Path(tempfile.mkdtemp(prefix="pinpoint-campaign-"))
    SiglipModel(config).eval().save_pretrained(folder, max_shard_size="6KB")
    processor = {
        "size": {"height": 16, "width": 16},
        "resample": 3,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    source = find_backbone(Registry(), str(folder))
    backbone = source.open(Context())
    return folder, dict(source.content(backbone)), _features_of(backbone)


def _features_of(backbone: Any) -> Any:
    from pinpoint_harness.batching import Tile
    from pinpoint_harness.features.embed import features_of

    picture = np.random.default_rng(1).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    prepared = iter([(0, backbone.prepare(picture))])
    return features_of(Tile(0, 0, 1), backbone, prepared, "tiny", 1)[0]


# Recipes

SOUND_RECIPE = """
title = "What it shows"
status = "expected"
hours = 0.1
steps = [["run", "constant", "capitals", "--set", "latitude={at}"], ["table", "capitals"]]
more = [["table", "capitals", "--format", "{form}"]]
next = [["table", "capitals"]]
lanes = "at"

[each]
at = ["1", "2"]
form = ["md", "csv"]

[[needs]]
dataset = "capitals"
gigabytes = 0.7

[[expected]]
run = "constant@capitals"
protocol = "wgs84-lt"
tolerance = 0.05
cells = { acc_2500km = 3.1 }
"""


def _odd_recipe(draw: np.random.Generator) -> str:
    """A field of another type."""
    odd = [
        "1",
        "1.5",
        "true",
        "[]",
        "{}",
        '""',
        "[[]]",
        "[1]",
        "[[1]]",
        "inf",
        "nan",
        "1979-05-27",
        '["{at}{at}"]',
    ]
    lines = SOUND_RECIPE.splitlines()
    fields = [row for row, line in enumerate(lines) if " = " in line]
    for _ in range(int(draw.integers(1, 3))):
        row = fields[int(draw.integers(len(fields)))]
        lines[row] = lines[row].partition(" = ")[0] + " = " + odd[int(draw.integers(len(odd)))]
    return "\n".join(lines)


TRIALS = {
    "pictures": Kind(pictures),
    "archives": Kind(archives),
    "tables": Kind(tables),
    "features": Kind(features),
    "checkpoints": Kind(checkpoints, lambda number: sound_checkpoint()),
    "recipes": Kind(recipes),
}
