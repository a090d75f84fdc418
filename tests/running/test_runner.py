"""The runner: every row answered or a miss, tiles of one size, the same bytes however it got there."""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from pinpoint_harness.artifacts import Session, Subset, finishing_order, write_atomic
from pinpoint_harness.batching import Tile, padded, tiles
from pinpoint_harness.errors import ArtifactError, PluginError, UsageError
from pinpoint_harness.params import param
from pinpoint_harness.photo_ids import hash_ids
from pinpoint_harness.plugins import Entry, Origin, plugin_code
from pinpoint_harness.running import QuerySet, Run, find_run, iter_runs
from pinpoint_harness.running.request import Request
from pinpoint_harness.running.runner import predict_tile, run
from pinpoint_harness.types import Context, DataLocation, DatasetInfo, MethodInfo, Predictions, Queries

pytestmark = pytest.mark.usefixtures("any_number_of_rows")


class Places:
    """Ten photos along the equator, by three photographers."""

    info = DatasetInfo(title="Places", source="", licence="", cluster_column="AUTHOR")

    def __init__(self, location: DataLocation) -> None:
        self.count = 10

    def truth(self) -> pd.DataFrame:
        number = np.arange(self.count)
        return pd.DataFrame(
            {
                "id": [f"p{n}" for n in number],
                "image": [f"p{n}.jpg" for n in number],
                "latitude": 0.0,
                "longitude": number * 1.0,
                "author": ["ann", "ben", None, "ann", "ben", None, "ann", "ben", None, "eve"],
                "source": "photos",
            }
        )


@dataclass(frozen=True)
class EchoParams:
    file: Path | None = param(None, "content counts")
    shift: float = param(0.0, "degrees")


class Echo:
    """Answers from the key alone, and remembers what it was asked."""

    Params: ClassVar[type[Any]] = EchoParams
    answer_version: ClassVar[int] = 1
    input = "none"
    asked: ClassVar[list[Queries]] = []

    def __init__(self, params: EchoParams, context: Context) -> None:
        self.shift = params.shift

    def predict(self, queries: Queries) -> Predictions:
        self.asked.append(queries)
        longitude = (queries.key % np.uint64(180)).astype(float) + self.shift
        return Predictions(np.stack([np.zeros(len(queries)), longitude], axis=1))


class Silent(Echo):
    def predict(self, queries: Queries) -> Predictions:
        return Predictions(np.full((len(queries), 2), np.nan), notes=("nothing to say",))


class WrongShape(Echo):
    def predict(self, queries: Queries) -> Predictions:
        return Predictions(np.zeros((len(queries) - 1, 2)))


class SeesIds(Echo):
    input = "id"


class CannotStart(Echo):
    def __init__(self, params: EchoParams, context: Context) -> None:
        raise RuntimeError("no weights")


def entry(cls: type[Echo]) -> Entry[MethodInfo]:
    module = sys.modules[cls.__module__]
    setattr(module, cls.__name__, cls)
    target = f"{cls.__module__}:{cls.__name__}"
    return Entry("method", "echo", target, MethodInfo(title="Echo"), Origin("test", "explicit"))


def request(out: Path, cls: type[Echo] = Echo, **changes: Any) -> Request:
    given: dict[str, Any] = {"params": EchoParams(), "tile": 4, **changes}
    return Request(
        method=entry(cls),
        dataset_name="places",
        dataset=Places(DataLocation()),
        label="echo",
        out=out,
        **given,
    )


@pytest.fixture(autouse=True)
def forget() -> None:
    Echo.asked.clear()


def test_every_row_is_stored_in_the_order_of_the_truth(tmp_path: Path) -> None:
    done = run(request(tmp_path))
    frame = done.predictions()
    assert frame["id"].tolist() == [f"p{n}" for n in range(10)]
    assert (frame["status"] == "ok").all()
    assert frame["author"].tolist()[:2] == ["ann", "ben"]
    expected = (hash_ids(frame["id"].tolist()) % np.uint64(180)).astype(float)
    assert frame["predicted_longitude"].tolist() == expected.tolist()
    assert done.record["counts"]["total"] == 10


def test_every_call_has_the_size_of_a_tile_whatever_is_left(tmp_path: Path) -> None:
    run(request(tmp_path))
    assert [len(queries) for queries in Echo.asked] == [4, 4, 4]
    last = Echo.asked[-1]
    assert last.key.tolist() == hash_ids(["p8", "p9", "p9", "p9"]).tolist()


def test_a_method_sees_keys_and_tokens_and_nothing_else(tmp_path: Path) -> None:
    run(request(tmp_path))
    first = Echo.asked[0]
    assert set(vars(first)) == {"key", "author_token", "source", "input"}
    assert first.input is None
    assert first.author_token[0] == first.author_token[3] != 0  # ann
    assert first.author_token[2] == 0  # nobody known
    assert first.key.dtype == first.author_token.dtype == np.uint64


def test_the_same_request_is_answered_from_disk(tmp_path: Path) -> None:
    first = run(request(tmp_path))
    asked = len(Echo.asked)
    assert run(request(tmp_path)).folder == first.folder
    assert len(Echo.asked) == asked


@pytest.mark.parametrize(
    "changes",
    [
        {"params": EchoParams(shift=1.0)},
        {"context": Context(seed=1)},
        {"context": Context(dtype="bfloat16")},
        {"context": Context(device="cuda")},
        {"tile": 5},
        {"subset": Subset(limit=9)},
        {"subset": Subset(ids=["p1"])},
    ],
)
def test_whatever_may_change_an_answer_changes_the_key(changes: dict[str, Any], tmp_path: Path) -> None:
    assert run(request(tmp_path, **changes)).key != run(request(tmp_path)).key


def test_the_device_counts_by_type_and_not_by_number(tmp_path: Path) -> None:
    first = run(request(tmp_path, context=Context(device="cuda:0")))
    assert run(request(tmp_path, context=Context(device="cuda:1"))).key == first.key


def test_a_file_parameter_counts_by_content_and_not_by_name(tmp_path: Path) -> None:
    keys = []
    for name, content in [("a", b"1"), ("b", b"1"), ("a", b"2")]:
        (tmp_path / name).write_bytes(content)
        keys.append(run(request(tmp_path / "out", params=EchoParams(file=tmp_path / name))).key)
    assert keys[0] == keys[1] != keys[2]


def test_the_record_keeps_every_parameter_as_it_was_given_beside_the_short_title(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    file.parent.mkdir()
    file.write_bytes(b"1")
    done = run(request(tmp_path, params=EchoParams(file=file)))
    assert done.record["parameters"] == {"file": str(file), "shift": 0.0}
    assert done.record["shown_parameters"] == {"file": "a.txt"}
    assert done.title == "echo (file=a.txt)"
    assert done.galleries == []


def test_a_run_of_an_older_release_is_refused_with_the_command_that_makes_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older, newer = (run(request(tmp_path, params=EchoParams(shift=shift))) for shift in (1.5, 2.5))
    path = older.folder / "run.json"
    record = json.loads(path.read_bytes())
    del record["recipe"]["version"], record["parameters"], record["galleries"]
    manifest = json.loads((older.folder / "manifest.json").read_bytes())
    manifest.pop("sha256")  # of its own, which older releases did not write
    manifest["files"]["run.json"] = write_atomic(path, json.dumps(record).encode())
    write_atomic(older.folder / "manifest.json", json.dumps(manifest).encode())
    words = r"version 1 .*\n.*pinpoint run echo places --set shift=1.5"
    for read in (Run.predictions, lambda stored: stored.record, lambda stored: stored.title):
        with pytest.raises(ArtifactError, match=words):
            read(find_run(older.key[:8], tmp_path))
    assert [found.key for found in iter_runs(tmp_path)] == [newer.key]
    assert "stored by another release: 1, first" in caplog.text
    assert "pinpoint run echo places --set shift=1.5" in caplog.text
    assert find_run("echo@places", tmp_path).key == newer.key


def test_a_name_that_several_runs_have_is_refused_with_what_they_differ_in(tmp_path: Path) -> None:
    first, second = (run(request(tmp_path, params=EchoParams(shift=shift))) for shift in (1.5, 2.5))
    part = run(request(tmp_path, params=EchoParams(shift=2.5), subset=Subset(limit=2)))
    with pytest.raises(UsageError, match=r"'echo@places' names 3 runs\n") as caught:
        find_run("echo@places", tmp_path)
    found = (caught.value.found or "").splitlines()
    assert sorted(line[:8] for line in found) == sorted(made.key[:8] for made in (first, second, part))
    assert [line for line in found if line.startswith(first.key[:8]) and "(shift=1.5)" in line]
    assert [line for line in found if line.startswith(part.key[:8]) and "first 2 rows" in line]
    assert not any("seed" in line for line in found)
    assert "echo@places@latest" in (caught.value.fix or "")
    assert find_run(first.key[:8], tmp_path).key == first.key


def test_runs_of_one_key_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    one, other = (run(replace(request(tmp_path), label=label)) for label in ("echo", "again"))
    assert one.key == other.key
    with pytest.raises(UsageError, match="names 2 runs") as caught:
        find_run(one.key, tmp_path)
    assert str(one.folder) in (caught.value.found or "")
    assert str(other.folder) in (caught.value.found or "")
    named = re.search(r"such as '([^']+)'", caught.value.fix or "")
    assert named
    assert find_run(named[1], tmp_path).folder in (one.folder, other.folder)


def test_the_newest_of_several_runs_is_asked_for_by_a_suffix_whatever_the_clock_said(tmp_path: Path) -> None:
    for day, shift in ((3, 1.5), (1, 2.5), (2, 3.5)):
        log = run(request(tmp_path, params=EchoParams(shift=shift))).folder / "sessions.jsonl"
        said = re.sub(r', "sha256": "[0-9a-f]+"', "", log.read_text())  # as it was written before
        log.write_text(re.sub(r"20\d\d-\d\d-\d\d", f"2026-01-0{day}", said))
    newest = find_run("echo@places@latest", tmp_path)
    assert newest.record["parameters"]["shift"] == 3.5
    again = run(request(tmp_path, params=EchoParams(shift=1.5), fresh=True))
    assert find_run("echo@places@latest", tmp_path).key == again.key
    with pytest.raises(UsageError, match="names no run"):
        find_run("other@places@latest", tmp_path)


def test_where_the_order_of_two_runs_is_not_known_none_is_the_newest(tmp_path: Path) -> None:
    one, other = (run(request(tmp_path, params=EchoParams(shift=shift))) for shift in (1.5, 2.5))
    same = (other.folder / "sessions.jsonl").read_text()  # as where a file system locks no folders
    (one.folder / "sessions.jsonl").write_text(re.sub(r', "sha256": "[0-9a-f]+"', "", same))
    with pytest.raises(UsageError, match="which of 2 runs was finished last is not known") as caught:
        find_run("echo@places@latest", tmp_path)
    assert str(one.folder) in (caught.value.found or "")
    third = run(request(tmp_path, params=EchoParams(shift=3.5)))
    assert find_run("echo@places@latest", tmp_path).key == third.key
    # One that has lost its log may be the newest, whatever is in its place.
    log = third.folder / "sessions.jsonl"
    log.unlink()
    for damage in (lambda: log.write_text(""), lambda: (log.unlink(), log.mkdir())):
        with pytest.raises(UsageError, match="was finished last is not known") as caught:
            find_run("echo@places@latest", tmp_path)
        assert str(third.folder) in (caught.value.found or "")
        damage()
    with pytest.raises(UsageError, match="was finished last is not known"):
        find_run("echo@places@latest", tmp_path)


def test_of_runs_that_finish_at_once_each_has_its_number(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    folders = [tmp_path / "runs" / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()

    def finish(folder: Path) -> None:
        with Session(folder, Context()):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(finish, folders))
    assert sorted(map(finishing_order, folders)) == list(range(1, 9))


def test_authors_count_although_the_dataset_hash_ignores_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(request(tmp_path))
    original = Places.truth
    monkeypatch.setattr(Places, "truth", lambda self: original(self).assign(author=None))
    second = run(request(tmp_path))
    assert second.record["recipe"]["dataset_hash"] == first.record["recipe"]["dataset_hash"]
    assert second.key != first.key


def test_a_run_stopped_between_tiles_goes_on_where_it_was_and_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(request(tmp_path / "whole"))
    original, calls = Echo.predict, []

    def stumbling(self: Echo, queries: Queries) -> Predictions:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, queries)

    monkeypatch.setattr(Echo, "predict", stumbling)
    with pytest.raises(KeyboardInterrupt):
        run(request(tmp_path / "stopped"))
    resumed = run(request(tmp_path / "stopped"))
    assert len(calls) == 4  # the first tile is not asked again
    for name in ("predictions.parquet", "run.json", "manifest.json"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert [line["event"] for line in resumed.sessions()] == ["start", "failed", "start", "end"]


def test_every_start_and_end_says_how_many_threads_compute(tmp_path: Path) -> None:
    import torch

    done = run(request(tmp_path))
    lines = [json.loads(line) for line in (done.folder / "sessions.jsonl").read_text().splitlines()]
    assert [(line["event"], line["threads"]) for line in lines] == [
        ("start", torch.get_num_threads()),
        ("end", torch.get_num_threads()),
    ]


def test_silence_is_stored_as_a_miss_and_notes_are_kept_once(tmp_path: Path) -> None:
    done = run(request(tmp_path, Silent))
    assert done.record["counts"]["no prediction"] == 10
    assert done.record["notes"] == ["nothing to say"]


def test_an_answer_of_the_wrong_shape_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"coordinates must be a numpy array of float64 and shape \(4, 2\)"):
        run(request(tmp_path, WrongShape))


def test_only_built_in_methods_see_ids(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="asks to see ids"):
        run(request(tmp_path, SeesIds))


def test_a_constructor_that_fails_names_the_method(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"'echo' of .*cannot be set up[\s\S]*no weights"):
        run(request(tmp_path, CannotStart))


def test_shards_that_this_run_has_not_written_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Echo.predict
    monkeypatch.setattr(Echo, "predict", lambda self, queries: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(request(tmp_path / "a"))
    monkeypatch.setattr(Echo, "predict", original)
    donor = run(request(tmp_path / "b", tile=10, subset=Subset(limit=4)))
    (folder,) = (tmp_path / "a" / "places" / "echo").iterdir()
    (folder / "shards" / "000000.parquet").write_bytes((donor.folder / "predictions.parquet").read_bytes())
    (folder / "shards" / "000001.parquet").write_bytes((donor.folder / "predictions.parquet").read_bytes())
    whole = run(request(tmp_path / "whole"))
    assert run(request(tmp_path / "a")).predictions().equals(whole.predictions())


def test_a_partial_run_says_so(tmp_path: Path) -> None:
    assert run(request(tmp_path)).partial is None
    assert run(request(tmp_path, subset=Subset(limit=3))).partial == "first 3 of 10"
    assert (run(request(tmp_path, subset=Subset(ids=["p1"]))).partial or "").startswith("1 of 10, id list")


def test_tiles_cover_every_row_once() -> None:
    cut = list(tiles(10, 4))
    assert cut == [Tile(0, 0, 4), Tile(1, 4, 8), Tile(2, 8, 10)]
    assert padded(cut[2], 4).tolist() == [8, 9, 9, 9]


def test_tokens_are_equal_for_equal_texts_and_zero_for_none() -> None:
    found = hash_ids(["a", None, float("nan"), pd.NA, "a", "b"])
    assert found[0] == found[4]
    assert found[1] == found[2] == found[3] == 0
    assert len(set(found.tolist())) == 3


def test_queries_carry_their_source() -> None:
    queries = QuerySet.of(Places(DataLocation()).truth()).take(np.array([1, 1]), None)
    assert queries.source == ["photos", "photos"]


def test_results_are_refused_where_they_cannot_be_saved(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    with pytest.raises(ArtifactError, match="cannot be saved"):
        run(request(blocked))
    assert Echo.asked == []
    assert os.listdir(tmp_path) == ["blocked"]  # noqa: PTH208 - names are what is compared


def test_a_method_is_not_blamed_for_what_it_calls() -> None:
    class Calls:
        def predict(self, queries: Any) -> Any:
            with plugin_code("backbone 'b' of another failed"):
                raise ValueError("no luck")

    given: Any = SimpleNamespace(answerable=True)
    queries: Any = [None] * 4
    with pytest.raises(PluginError) as raised:
        predict_tile(Calls(), queries, given, "method 'm' of mine")  # type: ignore[arg-type]
    assert str(raised.value).startswith("backbone 'b' of another failed\n  found: ValueError: no luck")
