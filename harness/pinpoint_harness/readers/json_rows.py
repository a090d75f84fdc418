"""JSON objects as rows of text, as any other table holds them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .table_form import encoding_of

_SHOWN = 5


def first_few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def is_json(path: Path) -> bool:
    """Judged by the content: a table never begins with a brace or bracket."""
    if not path.is_file():
        raise DataError(f"there is no file '{path}'", fix="give the path of a file of answers")
    with path.open("rb") as stream:
        head = stream.read(64)
    return head.decode(encoding_of(head), "replace").lstrip()[:1] in ("{", "[")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in what its byte order mark says; DataError where it is not that."""
    raw = path.read_bytes()
    encoding = encoding_of(raw)
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        found = f"byte {error.start:,} is not {encoding.removesuffix('-sig').upper()}"
        raise DataError(f"'{path}' is not valid JSON", found=found, fix="save it as UTF-8") from error


def parse_unique(text: str, path: Path) -> Any:
    """JSON from a file; ValueError if it is none, DataError if a key stands twice, of which one would win."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
            raise DataError(
                f"'{path}' has the same key more than once", found=first_few(repeated), fix="keep one of each"
            )
        return found

    return json.loads(text, object_pairs_hook=unique)


def cell_text(value: Any) -> str:
    """A value of JSON as a cell of a table."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
