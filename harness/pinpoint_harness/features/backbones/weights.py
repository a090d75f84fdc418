"""Weights on this machine: a local folder, or what the Hugging Face client has cached or fetches."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...artifacts import canonical_json, file_sha256, read_json, write_atomic
from ...errors import ArtifactError, DataError, HarnessError
from ...home import checksums_file

log = logging.getLogger(__name__)

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
"""`owner/name`, or `owner/name@revision` for a branch, tag or commit."""

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")
_WANTED = (*_CONFIGS, _SINGLE, "model-*.safetensors", _INDEX)


class WeightsError(HarnessError):
    """Weights that are neither on this machine nor to be had."""


def local_weights(source: str) -> Path | None:
    """The folder of a checkpoint that is here already: a path, or what the client has cached."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(source):
        return None
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot = _snapshot(source, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    # Other programs cache single files of a repository, such as its configuration.
    return snapshot if (snapshot / "config.json").is_file() and weight_files(snapshot) else None


def fetch_weights(source: str) -> Path:
    """The folder of a checkpoint, downloaded from the Hugging Face hub if it is not here."""
    folder = local_weights(source)
    if folder is not None:
        return folder
    if not HUB_ID.fullmatch(source):
        raise missing_weights(source, "no such folder")
    log.info("fetching %s from the Hugging Face hub", source)
    try:
        return _snapshot(source, local_files_only=False)
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise missing_weights(source, f"{type(error).__name__}: {lines[0] if lines else ''}") from error


def missing_weights(source: str, found: str) -> WeightsError:
    return WeightsError(
        f"the weights '{source}' are not on this machine",
        found=found,
        fix=f"run `{download_command(source)}` where there is a network (gated models: `hf auth login` "
        "first), or give a local folder that holds config.json, preprocessor_config.json and "
        "model.safetensors with --weights",
    )


def download_command(source: str) -> str:
    """What puts a hub id's files on this machine."""
    owner_name, _, revision = source.partition("@")
    return f"hf download {owner_name}" + (f" --revision {revision}" if revision else "")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, in the order of their names; nothing else is ever loaded."""
    index = folder / _INDEX
    if index.is_file():
        try:
            names = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise WeightsError(f"cannot read '{index}'", found=f"{type(error).__name__}: {error}") from error
        return [folder / name for name in sorted(names)]
    single = folder / _SINGLE
    return [single] if single.is_file() else []


def weights_sha256(folder: Path) -> list[str]:
    """The sha256 of each weight file, remembered by path, size and time of the last change."""
    files = weight_files(folder)
    absent = [path.name for path in files if not path.is_file()]
    if not files or absent:
        present = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder"
        raise WeightsError(
            f"'{folder}' lacks {', '.join(absent) or _SINGLE}",
            found=present,
            fix="give a checkpoint in safetensors: pickled weights (pytorch_model.bin) can run code and are "
            "never loaded; `save_pretrained` writes safetensors",
        )
    return [remembered_sha256(path) for path in files]


def load_tower(model_class: Any, folder: Path, config: Any, dtype: Any, part: str) -> Any:
    """One part of a checkpoint by the class of `transformers` that holds it alone, frozen.

    DataError where the checkpoint lacks some of its weights: they would be drawn at random.
    """
    with _quiet():
        network, report = model_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    wrong = sorted(map(str, {*report["missing_keys"], *report["mismatched_keys"]}))
    if wrong:
        found = f"{len(wrong)} missing or of another shape, the first is {wrong[0]}"
        raise incomplete_checkpoint(folder, part, found)
    return network.eval().requires_grad_(False)


def incomplete_checkpoint(folder: Path, part: str, found: str) -> DataError:
    return DataError(
        f"'{folder}' lacks weights of its {part}",
        found=found,
        fix="give the whole checkpoint; weights drawn at random would look like features",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """No list of the other towers' weights, which are left out on purpose, and no second progress bar."""
    from transformers.utils import logging as transformers_logging

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def remembered_sha256(path: Path) -> str:
    """The sha256 of a file, remembered by path, size and time of the last change."""
    memory = checksums_file()
    real = path.resolve()
    stat = real.stat()
    fingerprint = [stat.st_size, stat.st_mtime_ns]
    known: dict[str, Any] = read_json(memory) if memory.is_file() else {}
    entry = known.get(str(real))
    if isinstance(entry, dict) and entry.get("fingerprint") == fingerprint:
        return str(entry["sha256"])
    digest = file_sha256(real)
    known[str(real)] = {"fingerprint": fingerprint, "sha256": digest}
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(memory, canonical_json(known))
    except (OSError, ArtifactError) as error:
        log.info("the checksum of %s is not remembered: %s", real, error)
    return digest


def _snapshot(source: str, *, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = source.partition("@")
    return Path(
        snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=list(_WANTED),
            local_files_only=local_files_only,
        )
    )
