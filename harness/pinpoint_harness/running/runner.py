"""Running a method over a dataset: truth, inputs, tiles, answers, one file.

The runner alone decides which photos stand together in a `predict` call. Every call gets exactly
one tile's number of queries, in whole row blocks, so an answer depends neither on how many were left
nor on its place among them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..artifacts import Artifact, Content, Session, canonical_json, read_json
from ..batching import Tile, WorkerShare, padded, tiles, whole_blocks
from ..errors import ArtifactError, PluginError, UnfinishedError, UsageError
from ..features import FinishedStores
from ..images import remembered_pictures
from ..params import train_command
from ..plugins import Entry, plugin_code
from ..processes import Processes, joined_processes, sliced_galleries
from ..progress import phase
from ..readers.conventions import NEARLY_ALL
from ..training import StageMissingError
from ..types import Context, Method, MethodInfo, Predictions, Queries
from . import predictions as answers
from .contract import check_log_density, check_predictions
from .inputs import Inputs, QuerySet, TileInput, look_for_pictures, open_inputs
from .record import changed_parameters, describe_method, given_parameters, run_record
from .request import Request, run_spec
from .run import Run, run_parent

if TYPE_CHECKING:
    from ..types import Floats

_AT_TRUTH_KM = 0.1
_SHARD = ".parquet"
_NOTES = ".notes.json"
_MEND = "mend the method and give the same command again; what a run has finished is kept"


class UnfinishedRunError(UnfinishedError):
    """This process has done its share of a run that others have not finished yet."""


def run(request: Request) -> Run:
    """Answer every row of the dataset and store the answers; a killed run is resumed.

    What could not be read, and what the method leaves unanswered, is stored as a miss with its
    reason: the denominator is the whole dataset. With a `share`, only that part of the tiles is
    answered; whoever answers the last one puts the run together, and for all others
    UnfinishedRunError is raised. The processes of a torchrun answer a part of the tiles each; where the
    method opens a gallery, all answer every tile and each holds a slice of the gallery. The first one puts
    the run together.
    """
    alone = nullcontext(Processes())
    joined = joined_processes(request.context.device) if request.share is None else alone
    with remembered_pictures(), joined as processes:
        return _run(request, processes)


def _run(request: Request, processes: Processes) -> Run:
    selection = request.selection()
    refuse_untrained(request)
    look_for_pictures(request, selection)
    with sliced_galleries(processes) as holders:
        method = build_method(request.method, request.params, request.context)
    _refuse_unused_images(request)
    part = _part_of(request, processes, holders.used)
    with sliced_galleries(part.galleries), closing(open_inputs(method.input, request, selection)) as inputs:
        size = inputs.tile_size(whole_blocks(request.tile))
        spec = run_spec(request, method, selection, size, inputs.content())
        parent = run_parent(request.out, request.listed_name, request.label)
        join = request.share is not None and request.share.count > 1
        artifact = processes.in_turn(
            lambda first: Artifact.begin(parent, "run", spec, fresh=request.fresh, join=join or not first)
        )
        if processes.by_first(lambda: artifact.complete):
            return Run(artifact.folder)
        files: dict[str, Content] = {}
        with Session(artifact.folder, request.context) as session:
            with artifact.work():
                session.phase("prepare")
                done = processes.by_first(lambda: artifact.finished_shards(_SHARD))
                _answer_tiles(artifact, request, method, inputs, selection.truth, size, part, done)
                session.phase("predict")
                processes.wait()
                if processes.first:
                    files = _assemble(artifact, request, selection.truth)
            if processes.first:
                artifact.finish(files)
            processes.wait()
            session.phase("store")
    return Run(artifact.folder)


@dataclass(frozen=True)
class _Part:
    """What a process does of a run: the tiles it asks about, and whether it keeps their answers.

    `galleries` are the processes that hold a slice of each gallery: of several, all ask about every tile.
    """

    share: WorkerShare
    keeps: bool = True
    galleries: Processes = field(default_factory=Processes)


def _part_of(request: Request, processes: Processes, opened_slices: bool) -> _Part:
    if request.share is not None:
        return _Part(request.share)
    if opened_slices or (request.store_lookup is not None and request.store_lookup.opened):
        return _Part(WorkerShare(), processes.first, processes)
    return _Part(WorkerShare(processes.rank, processes.count))


def _refuse_unused_images(request: Request) -> None:
    stores = request.store_lookup
    if stores and stores.gallery_images and not stores.opened:
        raise UsageError(
            f"--gallery-images: method '{request.method.name}' opens no gallery", fix="leave it out"
        )


def refuse_untrained(request: Request) -> None:
    """Refuse a method whose training has not even its features, before any picture is embedded for it.

    Whether its stages are there is said by the method itself, once their features are. Models in a folder
    of their own may have been made where their features are: those are embedded here.
    """
    loaded, elsewhere = request.method.load(), getattr(request.params, "models", None)
    if request.store_lookup is None or elsewhere or not hasattr(loaded, "stages"):
        return
    stores = FinishedStores(request.store_lookup, request.method, request.params)
    loaded.stages(request.params, replace(request.context, stores=stores))


def _answer_tiles(
    artifact: Artifact,
    request: Request,
    method: Method,
    inputs: Inputs,
    truth: pd.DataFrame,
    size: int,
    part: _Part,
    done: Collection[int],
) -> None:
    """Ask about every tile of this process's part that no shard stands for yet."""
    cluster_column = request.dataset.info.cluster_column
    mine = [tile for tile in tiles(len(truth), size) if part.share.has(tile.index)]
    todo = [tile for tile in mine if tile.index not in done]
    title = f"{request.label} on {request.listed_name}"
    queries = QuerySet.of(truth)
    total, left = (sum(len(tile) for tile in chosen) for chosen in (mine, todo))
    named = request.method.named
    with phase(title, total, done=total - left) as advance:
        for tile, given, answer in predict_blocks(method, inputs, truth, todo, size, named):
            rows = padded(tile, size)
            asked, density = truth.iloc[rows], None
            if given.answerable:
                density = density_at(method, queries.take(rows, given.values, given.keys), asked, named)
            if part.keeps:
                table = _table(tile, asked, answer, given, cluster_column, density)
                _commit(artifact, tile, table, answer.notes)
            advance(len(tile))


def build_method(entry: Entry[MethodInfo], params: Any, context: Context) -> Method:
    """The method, ready to be asked; whatever its constructor raises names the method.

    The command that trains it is added to the refusal of a method whose stages are not there.
    """
    loaded = entry.load()
    try:
        with plugin_code(f"{entry.named} cannot be set up"):
            method: Method = loaded(params, context)
    except StageMissingError as error:
        command = train_command(entry.name, params, entry.preset, context.models)
        raise ArtifactError(error.problem, found=error.found, fix=command) from error
    return method


@contextmanager
def _contract_of(named: str) -> Iterator[None]:
    """Names the method whose answer is looked at; what it calls may raise errors that name others."""
    try:
        yield
    except PluginError as error:
        problem, fix = f"{named} breaks its contract: {error.problem}", error.fix or _MEND
        raise PluginError(problem, found=error.found, fix=fix) from error


def predict_tiles(
    method: Method,
    inputs: Inputs,
    truth: pd.DataFrame,
    todo: Sequence[Tile],
    size: int,
    named: str = "the method",
) -> Iterator[tuple[Tile, TileInput, Predictions]]:
    """Each tile with its input and what the method answers, padded to `size` queries."""
    queries = QuerySet.of(truth)
    for tile, given in zip(todo, inputs.stream(todo, size), strict=True):
        asked = queries.take(padded(tile, size), given.values, given.keys)
        yield tile, given, predict_tile(method, asked, given, named)


def predict_blocks(
    method: Method,
    inputs: Inputs,
    truth: pd.DataFrame,
    todo: Sequence[Tile],
    size: int,
    named: str = "the method",
) -> Iterator[tuple[Tile, TileInput, Predictions]]:
    """The same; a method with `predict_tiles` sees as many tiles at once as its inputs leave memory for."""
    together = max(1, inputs.queries_at_once // size)
    if together == 1 or not hasattr(method, "predict_tiles"):
        yield from predict_tiles(method, inputs, truth, todo, size, named)
        return
    queries = QuerySet.of(truth)
    stream = zip(todo, inputs.stream(todo, size), strict=True)
    while block := list(islice(stream, together)):
        asked = [
            queries.take(padded(tile, size), given.values, given.keys)
            for tile, given in block
            if given.answerable
        ]
        failed = f"{named} failed on {len(asked)} tiles of {size} queries"
        with plugin_code(failed, _MEND):
            searching: Any = method
            answers_of = iter(searching.predict_tiles(asked) if asked else ())
        for tile, given in block:
            yield tile, given, _next_answer(answers_of, given, size, named)
        with plugin_code(failed, _MEND):
            if next(answers_of, None) is not None:
                raise ValueError("predict_tiles gave more answers than it was given tiles")


def _next_answer(answers_of: Iterator[Predictions], given: TileInput, size: int, named: str) -> Predictions:
    """The answer to one tile of a block, held to the contract as that of a tile alone."""
    if not given.answerable:
        return _no_answer(size)
    with plugin_code(f"{named} failed on a tile of {size} queries", _MEND):
        answer = next(answers_of)
        with _contract_of(named):
            check_predictions(answer, size)
    return answer


def predict_tile(
    method: Method, queries: Queries, given: TileInput, named: str = "the method"
) -> Predictions:
    """One call of the method, its answer held to the contract."""
    if not given.answerable:
        return _no_answer(len(queries))
    with plugin_code(f"{named} failed on a tile of {len(queries)} queries", _MEND):
        answer = method.predict(queries)
        with _contract_of(named):
            check_predictions(answer, len(queries))
    return answer


def density_at(method: Method, queries: Queries, truth: pd.DataFrame, named: str) -> Floats | None:
    """Of a method that has one, the log density at the truth of queries it has answered, `(n,)`.

    Only here does a method get truth, and never that of a query it still has to answer.
    """
    if not getattr(method, "has_density", False):
        return None
    places = truth[["latitude", "longitude"]].to_numpy(dtype=np.float64)
    with plugin_code(f"{named} gave no density for a tile of {len(queries)} queries", _MEND):
        found: Floats = method.log_density(queries, places)  # type: ignore[attr-defined]
        with _contract_of(named):
            check_log_density(found, len(queries))
    return found


def _no_answer(count: int) -> Predictions:
    return Predictions(np.full((count, 2), np.nan))


def _table(
    tile: Tile,
    truth: pd.DataFrame,
    answer: Predictions,
    given: TileInput,
    cluster_column: str,
    density: Floats | None,
) -> pa.Table:
    """One tile's answers without the padding."""
    status = answers.statuses(answer)
    for position, failure in given.failures.items():
        status[position] = failure
    return answers.build(truth, answer, status, cluster_column, density).slice(0, len(tile))


def _commit(artifact: Artifact, tile: Tile, table: pa.Table, notes: Sequence[str]) -> None:
    """Store one tile's answers; the shard stands whole or not at all."""
    if notes:  # before the shard itself, which stands for "this tile is done"
        artifact.write_shard(tile.index, _NOTES, canonical_json({"notes": list(notes)}))
    artifact.write_shard(tile.index, _SHARD, answers.encode(table))


def _assemble(artifact: Artifact, request: Request, truth: pd.DataFrame) -> dict[str, Content]:
    """The final files from all shards: the answers, and the record of what came out."""
    shards = sorted(artifact.finished_shards(_SHARD))
    table = answers.concatenate([answers.read(artifact.shard_path(index, _SHARD)) for index in shards])
    if request.share is not None and table.num_rows < len(truth):
        raise UnfinishedRunError(
            f"{table.num_rows:,} of {len(truth):,} photos are answered; the rest is other processes' share"
        )
    if table.column("id").to_pylist() != truth["id"].tolist():
        raise ArtifactError(
            f"'{artifact.folder}' holds {table.num_rows} answers, not those of the {len(truth)} photos",
            fix="run the command again with --fresh",
        )
    notes: list[str] = []
    for index in sorted(artifact.finished_shards(_NOTES)):
        notes += read_json(artifact.shard_path(index, _NOTES))["notes"]
    at_truth = pc.less(table.column("error_km"), _AT_TRUTH_KM)  # however its coordinates were rounded
    if (pc.mean(at_truth.cast("float64")).as_py() or 0) >= NEARLY_ALL:
        notes.append("nearly every answer is the truth itself: was the truth file given as the answers?")
    record = run_record(
        label=request.label,
        parameters=given_parameters(request.params),
        shown_parameters=changed_parameters(request.params, request.method.preset),
        galleries=[] if request.store_lookup is None else request.store_lookup.opened.values(),
        oracle=False,
        method=describe_method(request.method, request.params),
        dataset_name=request.dataset_name,
        listed_as=request.listed_as,
        dataset=request.dataset.info,
        spec=artifact.spec,
        status=table.column("status").to_pylist(),
        notes=notes,
    )
    return {"predictions.parquet": answers.encode(table), "run.json": canonical_json(record)}
