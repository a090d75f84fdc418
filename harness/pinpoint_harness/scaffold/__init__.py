"""Starting points for plugins: what `pinpoint methods new` and `pinpoint datasets new` write."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
import re
import shutil
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

from ..errors import ArtifactError, UsageError
from ..plugins import NAME_PATTERN, Registry
from ..version import __version__

Kind = Literal["method", "dataset"]
MethodKind = Literal["none", "image", "features", "retrieval", "trained"]
"""What a new method looks at, whether it searches a gallery, and whether it is trained."""

FILES = {
    "method": {
        "project.txt": "pyproject.toml",
        "readme.txt": "README.md",
        "{method_kind}.txt": "{module}.py",
        "test.txt": "tests/test_{module}.py",
    },
    "dataset": {
        "project.txt": "pyproject.toml",
        "readme.txt": "README.md",
        "package.txt": "{module}/__init__.py",
        "dataset.txt": "{module}/dataset.py",
        "truth.txt": "{module}/truth.csv",
        "test.txt": "tests/test_{module}.py",
    },
}
"""Template -> file in the new folder."""

COMMANDS: dict[MethodKind, str] = {
    "none": "pinpoint run $name capitals",
    "image": "pinpoint run $name photos --data FOLDER_OF_PHOTOS",
    "features": "pinpoint run $name photos --data FOLDER_OF_PHOTOS",
    "retrieval": (
        "pinpoint run $name photos --data FOLDER_OF_PHOTOS --set gallery=mini-earth/gallery-photos"
    ),
    "trained": "pinpoint train $name\npinpoint run $name photos --data FOLDER_OF_PHOTOS",
}
"""What the README of a new method runs."""

_IMPORTED = frozenset(
    (
        *("Any", "ClassVar", "Context", "FeatureStore", "Mapping", "MethodInfo", "Path", "PhotoGallery"),
        *("Predictions", "Queries", "Register", "Stage", "StageContext", "TableDataset", "TruthSpec"),
    )
)
"""Names the templates use themselves."""


@dataclass(frozen=True)
class Names:
    """What a plugin's things are called; derived from the one name its user types."""

    name: str
    slug: str
    distribution: str
    module: str
    class_name: str

    @classmethod
    def of(cls, kind: Kind, name: str) -> Names:
        """`north-pole` is the class `NorthPole` in the module `pinpoint_north_pole`."""
        if not NAME_PATTERN.fullmatch(name):
            raise UsageError(
                f"'{name}' cannot be the name of a {kind}",
                fix="use lower-case letters, digits, '.', '_' and '-', with at most one '/' inside",
            )
        slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
        class_name = "".join(part.capitalize() for part in slug.split("-"))
        usable = class_name.isidentifier() and not keyword.iskeyword(class_name)
        if not usable or class_name in _IMPORTED:
            class_name = kind.capitalize() + class_name
        distribution = f"pinpoint-{slug}"
        return cls(name, slug, distribution, distribution.replace("-", "_"), class_name)


def new_plugin(
    kind: Kind, name: str, parent: Path, registry: Registry, method_kind: MethodKind = "none"
) -> Path:
    """Write an installable plugin to a new folder under `parent`; its own test passes as it is.

    Refuses a name that is registered or installed already and a folder that exists. The folder
    is written whole or not at all.
    """
    names = Names.of(kind, name)
    _refuse_taken(kind, names, registry)
    folder = parent / names.distribution
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise UsageError(
            f"'{folder}' exists already", fix="choose another name, or another place with --out"
        ) from error
    except OSError as error:
        raise ArtifactError(f"cannot make the folder '{folder}'", found=str(error)) from error
    try:
        for template, target in FILES[kind].items():
            path = folder / target.format(module=names.module)
            path.parent.mkdir(exist_ok=True)
            path.write_text(_filled(kind, template, names, method_kind), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ArtifactError(f"cannot write the plugin to '{folder}'", found=str(error)) from error
    return folder


def _refuse_taken(kind: Kind, names: Names, registry: Registry) -> None:
    entries = registry.methods if kind == "method" else registry.datasets
    if names.name in entries:
        raise UsageError(
            f"there is a {kind} '{names.name}' already",
            found=f"registered by {entries[names.name].origin.name}",
            fix="choose another name",
        )
    # A second package of that name, such as `pinpoint-geo` itself, would replace the first.
    if _is_installed(names.distribution) or importlib.util.find_spec(names.module):
        raise UsageError(
            f"a {kind} '{names.name}' would be the package {names.distribution}, which is installed already",
            fix="choose another name",
        )


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _filled(kind: Kind, template: str, names: Names, method_kind: MethodKind) -> str:
    file = template.format(method_kind=method_kind)
    text = (files(__package__) / "templates" / kind / file).read_text(encoding="utf-8")
    commands = Template(COMMANDS[method_kind]).substitute(name=names.name)
    return Template(text).substitute(asdict(names), version=__version__, commands=commands)
