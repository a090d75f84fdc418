"""Published weights that are no backbone: where their files lie, and tensors read without running code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from pinpoint_harness.errors import DataError
from pinpoint_harness.features.backbones import WeightsError
from pinpoint_harness.features.backbones.weights import HUB_ID, download_command
from pinpoint_harness.reading import reading

Part = TypeVar("Part")

_OWN_TENSORS = (
    "where the file may be trusted, write the tensors alone, by `torch.save(model.state_dict(), FILE)` or "
    "safetensors, and give that file"
)


def find_release(
    source: str,
    files: Sequence[str],
    owner: str,
    option: str = "--set weights=FOLDER",
    also: Sequence[str] = (),
) -> Path:
    """The folder with all of `files`: a local one, or what the Hugging Face client has cached or fetches.

    `source` is a folder or `owner/name[@revision]`. Raises WeightsError that names what lacks, the
    command that downloads it and the `option` that takes a folder. Patterns of files in `also` are fetched
    with the others.
    """
    folder, on_hub = Path(source).expanduser(), HUB_ID.fullmatch(source) is not None

    def missing(found: str) -> WeightsError:
        command = f"`{download_command(source)}` where there is a network, or " if on_hub else ""
        fix = f"{command}{option}, a folder that holds {', '.join(files)}"
        return WeightsError(f"{owner} needs the files of '{source}'", found=found, fix=fix)

    if not folder.is_dir():
        if not on_hub:
            raise missing("no such folder")
        try:
            folder = _snapshot(source, files, also)
        except Exception as error:
            lines = str(error).strip().splitlines()
            raise missing(f"{type(error).__name__}: {lines[0] if lines else ''}") from error
    absent = [name for name in files if not (folder / name).is_file()]
    if absent:
        raise missing(f"'{folder}' without {', '.join(absent)}")
    return folder


def _snapshot(source: str, files: Sequence[str], also: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = source.partition("@")
    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": [*files, *also]}
    with suppress(LocalEntryNotFoundError):  # not in the cache: fetched below
        here = Path(snapshot_download(repository, local_files_only=True, **wanted))
        if all((here / name).is_file() for name in files):
            return here
    return Path(snapshot_download(repository, local_files_only=False, **wanted))


def load_tensors(path: Path, fix: str = _OWN_TENSORS) -> Any:
    """What a file of weights holds: tensors by name, of a file of torch also plain containers of them.

    `weights_only` reads torch's files with torch's own reader, which builds tensors and plain containers
    and refuses anything else: no code of the file is run. DataError with the `fix` where it refuses.
    """
    with reading(path, what="tensors from", fix=fix), warnings.catch_warnings():
        if path.suffix == ".safetensors":
            return load_file(path)
        # Its remark about a pickle by another program than torch, which it then refuses or reads.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            first_line = str(error).partition("\n")[0]
            raise DataError(
                f"cannot read tensors from '{path}' without running code that stands in it",
                found=f"{type(error).__name__}: {first_line}",
                fix=fix,
            ) from error


def build_from(
    path: Path, build: Callable[[Any], Part], what: str, fix: str, *, untrusted: str = _OWN_TENSORS
) -> Part:
    """What `build` makes of the tensors in a file that should hold `what`; DataError with the `fix` if not.

    `untrusted` is the fix for a file of torch that holds more than tensors.
    """
    stored = load_tensors(path, untrusted)
    with reading(path, what=f"{what} from", fix=fix):
        return build(stored)


def below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names; KeyError if there are none."""
    found = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if not found:
        raise KeyError(f"{prefix}*")
    return found
