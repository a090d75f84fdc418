"""Stages of a method: each made once, found by its key, and shared by all methods that would make the same.

    results/models/<kind>/<key>/
        config.json          what was asked and what came out
        model.safetensors    or other files of the stage; no pickle anywhere
        manifest.json        recipe, keys of the inputs, versions and sha256 of the files; written last
        log.csv              figures of a training as they came, where asked for; no part of the content

The key of a stage holds the keys of the stages it is made from, so nothing stale is ever taken for new.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts import (
    KEY_LENGTH,
    Artifact,
    Content,
    Session,
    canonical_json,
    check_files,
    read_json,
    spec_key,
)
from ..errors import ArtifactError, UsageError, unknown_name
from ..images import remembered_pictures
from ..plugins import plugin_code
from ..processes import Processes, joined_processes, sliced_galleries, working_alone
from ..progress import log
from ..types import Context
from .metric_log import LogRequest, MetricLog

if TYPE_CHECKING:
    import pandas as pd

    from ..plugins import Entry
    from ..types import MethodInfo


@dataclass(frozen=True)
class StageContext:
    """What a stage has at hand while it is made.

    `inputs` are the folders of the stages it needs; `truth` reads a dataset's table by its name.
    Only the first process may write, and what it writes before the end goes into the artifact's shards.
    `metrics` takes figures of a training as they come.
    """

    artifact: Artifact
    inputs: Mapping[str, Path]
    context: Context
    truth: Callable[[str], pd.DataFrame]
    processes: Processes = field(default_factory=Processes)
    metrics: MetricLog = field(default_factory=MetricLog)


@dataclass(frozen=True)
class Stage:
    """One step from data to a method that can answer.

    `kind` names what is made, whatever method asks for it. `spec` holds everything that changes
    the content beside the stages it `needs` and where it is made. `make` returns the final files;
    killed and called again it goes on. A stage made `together` is worked at by all processes, whose
    number changes its last digits. One that `searches` is made by all as well, each with a slice of every
    gallery, and is the same for any number of them.
    """

    name: str
    kind: str
    spec: Mapping[str, Any]
    make: Callable[[StageContext], Mapping[str, Content]]
    needs: tuple[str, ...] = ()
    together: bool = False
    searches: bool = False

    def spec_with(self, inputs: Mapping[str, str], context: Context, count: int) -> dict[str, Any]:
        """The whole spec: `made` says where, which changes no more than last digits."""
        made = {
            "device": context.device.partition(":")[0],
            "dtype": context.dtype,
            "processes": count if self.together else 1,
        }
        return {**self.spec, "inputs": {name: inputs[name] for name in self.needs}, "made": made}


class StageMissingError(ArtifactError):
    """A stage that a method answers with is not there; the runner adds the command that trains it."""


@dataclass(frozen=True)
class StageOutput:
    """A stage that is there; `made` says whether this command has made it."""

    stage: str
    folder: Path
    key: str
    made: bool = False


@dataclass(frozen=True)
class TrainRequest:
    """What to train, where, and from what; `stage` stops after that one."""

    method: Entry[MethodInfo]
    params: Any
    context: Context
    root: Path
    truth: Callable[[str], pd.DataFrame]
    stage: str | None = None
    fresh: bool = False
    keep: Collection[str] = ()
    """Keys of stages that `fresh` does not make again: another training has just made them."""
    log: LogRequest = field(default_factory=LogRequest)
    """Where figures of a training are written as they come."""


def train(request: TrainRequest) -> list[StageOutput]:
    """Make the stages that are missing, in order, up to the one asked for.

    A killed stage goes on where it was. `fresh` makes the stage asked for again, or all of them.
    Under torchrun all processes take part in stages made together; of others the first makes all.
    A KeyboardInterrupt carries notes of what was kept.
    """
    request.log.check()
    finished: dict[str, StageOutput] = {}
    with remembered_pictures(), joined_processes(request.context.device) as processes:
        stages = stages_of(request.method, request.params, request.context)
        wanted = _up_to(stages, request.stage, request.method.name)
        for stage in wanted:
            keys = {name: done.key for name, done in finished.items()}
            again = request.fresh and request.stage in (None, stage.name)
            if again and request.keep:
                spec = stage.spec_with(keys, request.context, processes.count)
                again = spec_key(stage.kind, spec) not in request.keep
            found = None if again else _find(stage, request.root, keys, request.context, processes.count)
            processes.wait()  # before anyone begins what another still looks for
            if found is None:
                if processes.first:
                    log.info("stage %d of %d: %s", len(finished) + 1, len(wanted), stage.name)
                inputs = {name: done.folder for name, done in finished.items()}
                try:
                    found = _make(stage, request, keys, inputs, processes, again)
                except KeyboardInterrupt as interrupt:
                    if processes.first:
                        interrupt.add_note(_kept(stage, finished.values()))
                    raise
            finished[stage.name] = found
    return list(finished.values())


def _kept(stage: Stage, finished: Iterable[StageOutput]) -> str:
    """What an interrupt left, in words."""
    names = ", ".join(done.stage for done in finished) or "none"
    return f"stage '{stage.name}' is not finished; stages that are: {names}"


def stages_of(method: Entry[MethodInfo], params: Any, context: Context) -> Sequence[Stage]:
    """The stages a method declares; UsageError for one that declares none."""
    loaded = method.load()
    if not hasattr(loaded, "stages"):
        raise UsageError(
            f"method '{method.name}' has nothing to train",
            fix="`pinpoint methods list` shows them all; those that are trained say so",
        )
    with plugin_code(f"{method.named} does not say its stages"):
        stages: Sequence[Stage] = loaded.stages(params, context)
    return stages


def open_stages(
    stages: Sequence[Stage], root: Path, context: Context, names: Sequence[str] | None = None
) -> dict[str, StageOutput]:
    """The finished stages a method answers with (`names`, default all), by name.

    StageMissingError for a stage that is not there, or was made from something else.
    """
    finished: dict[str, StageOutput] = {}
    for stage in stages:
        if names is not None and stage.name not in with_needs(stages, names):
            continue
        keys = {name: done.key for name, done in finished.items()}
        found = _find(stage, root, keys, context, 1)
        if found is None:
            spec = stage.spec_with(keys, context, 1)
            raise StageMissingError(
                f"the stage '{stage.name}' of this configuration is not there",
                found=_closest(root / stage.kind, spec) or f"none under '{root / stage.kind}'",
            )
        finished[stage.name] = found
    return finished


def with_needs(stages: Sequence[Stage], names: Sequence[str]) -> set[str]:
    """The names of some stages and of all that they are made from."""
    wanted = set(names)
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted |= set(stage.needs)
    return wanted


def _up_to(stages: Sequence[Stage], last: str | None, method: str) -> list[Stage]:
    if last is None:
        return list(stages)
    names = [stage.name for stage in stages]
    if last not in names:
        raise unknown_name(f"method '{method}' has no stage '{last}'", last, names)
    wanted = with_needs(stages, [last])
    return [stage for stage in stages if stage.name in wanted]


def _make(
    stage: Stage,
    request: TrainRequest,
    keys: Mapping[str, str],
    inputs: Mapping[str, Path],
    processes: Processes,
    fresh: bool,
) -> StageOutput:
    spec = stage.spec_with(keys, request.context, processes.count)
    parent = request.root / stage.kind
    key = spec_key(stage.kind, spec)
    if processes.first:
        if stage.together and not fresh:
            _say_begun_otherwise(stage, parent, spec)
        artifact = Artifact.begin(parent, stage.kind, spec, fresh=fresh)
        with Session(artifact.folder, request.context) as session:
            with artifact.work(), request.log.open(artifact.folder) as metrics:
                processes.wait()
                with _failing_as(stage, request):
                    files = _made_files(
                        stage,
                        StageContext(artifact, inputs, request.context, request.truth, processes, metrics),
                    )
                session.phase(stage.name)
            artifact.finish(files)
    else:
        artifact = Artifact(parent / key[:KEY_LENGTH], stage.kind, spec, key, fresh)
        processes.wait()
        if stage.together or stage.searches:
            with _failing_as(stage, request):
                _made_files(stage, StageContext(artifact, inputs, request.context, request.truth, processes))
    processes.wait()
    return StageOutput(stage.name, artifact.folder, key, made=True)


def _failing_as(stage: Stage, request: TrainRequest) -> AbstractContextManager[None]:
    fix = "see to it and give the same command again; what it has kept is gone on from"
    return plugin_code(f"stage '{stage.name}' of {request.method.named} failed", fix)


def _say_begun_otherwise(stage: Stage, parent: Path, spec: Mapping[str, Any]) -> None:
    """Warn of an interrupted training of the same by another number of processes: it stays as it is."""
    for path in sorted(parent.glob("*/started.json")):
        recipe = read_json(path)["recipe"]
        made, now = recipe["made"], spec["made"]
        if {**recipe, "made": None} == {**spec, "made": None} and made["processes"] != now["processes"]:
            words = (
                "stage '%s' begins anew with %d process(es): '%s' was begun with %d, and goes on with as many"
            )
            log.warning(words, stage.name, now["processes"], path.parent, made["processes"])


def _made_files(stage: Stage, stage_context: StageContext) -> Mapping[str, Content]:
    """What a process makes of a stage: all of it alone, its part of one made together, or all with slices."""
    if stage.together:
        return stage.make(stage_context)
    if not stage.searches:
        with working_alone():
            return stage.make(replace(stage_context, processes=Processes()))
    with sliced_galleries(stage_context.processes):
        return stage.make(stage_context)


def _find(
    stage: Stage, root: Path, keys: Mapping[str, str], context: Context, count: int
) -> StageOutput | None:
    """The stage as it would be made here, or one that only another machine would make otherwise."""
    spec = stage.spec_with(keys, context, count)
    wanted = {**spec, "made": None}
    key = spec_key(stage.kind, spec)
    known = {found["key"]: found for found in _manifests(root / stage.kind)}
    if key in known:
        return _checked(StageOutput(stage.name, Path(known[key]["folder"]), key))
    alike = [key for key, found in known.items() if {**found["recipe"], "made": None} == wanted]
    if len(alike) > 1:
        made = ", ".join(f"{known[key]['folder']} ({_words(known[key]['recipe']['made'])})" for key in alike)
        raise UsageError(
            f"there are {len(alike)} stages '{stage.name}' of this configuration, none made as here",
            found=made,
            fix="move all but one away",
        )
    return _checked(StageOutput(stage.name, Path(known[alike[0]]["folder"]), alike[0])) if alike else None


def _checked(found: StageOutput) -> StageOutput:
    """The stage; ArtifactError where its files are not as they were written."""
    check_files(found.folder)
    return found


def _manifests(parent: Path) -> list[dict[str, Any]]:
    paths = sorted(parent.glob("*/manifest.json"))
    return [{**read_json(path), "folder": str(path.parent)} for path in paths]


def _closest(parent: Path, spec: Mapping[str, Any]) -> str:
    """How the finished stage that resembles this recipe most differs from it, in words."""
    wanted = _flat(spec)
    differences = [
        (_difference(_flat(found["recipe"]), wanted), str(found["folder"])) for found in _manifests(parent)
    ]
    if not differences:
        return ""
    words, folder = min(differences, key=lambda pair: len(pair[0]))
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return f"'{folder}', made otherwise: {'; '.join(words[:3])}{more}"


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    names = sorted(name for name in {*found, *wanted} if not name.startswith("made."))
    return [
        f"{name} {_words(found.get(name))} instead of {_words(wanted.get(name))}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name}.{key}" if name else str(key))
    return flat


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def describe(config: Mapping[str, Any], **outcome: Any) -> bytes:
    """`config.json` of a stage: the choices it was made with, and what came out."""
    return canonical_json({"config": dict(config), **outcome})
