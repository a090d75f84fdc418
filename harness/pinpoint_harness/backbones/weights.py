"""Weights on this machine: a local folder, or what the Hugging Face client has cached or fetches."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import platformdirs

from ..artifacts import canonical_json, file_sha256, read_json, write_atomic
from ..errors import ArtifactError, HarnessError

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
    owner_name, _, revision = source.partition("@")
    command = f"hf download {owner_name}" + (f" --revision {revision}" if revision else "")
    return WeightsError(
        f"the weights '{source}' are not on this machine",
        found=found,
        fix=f"run `{command}` where there is a network (gated models: `hf auth login` first), or give a "
        "local folder that holds config.json, preprocessor_config.json and model.safetensors with --weights",
    )


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
    return [_remembered_sha256(path) for path in files]


def _remembered_sha256(path: Path) -> str:
    memory = Path(platformdirs.user_cache_dir("pinpoint")) / "sha256.json"
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
