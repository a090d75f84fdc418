"""Names and ids of other people as text of a page: they can neither be markup nor hide or turn letters."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from typing import Any

LONGEST = 160
"""Characters of a name or id that a page shows."""

_NOT_ASCII = re.compile(r"[^\x20-\x7e]")


def visible(text: str, longest: int = LONGEST) -> str:
    """One line in which signs that have no shape, or turn the order of others, stand as `\\u{202e}`.

    What is longer than `longest` is cut, and says how long it is.
    """
    cut = text if len(text) <= longest else text[:longest]
    shown = _NOT_ASCII.sub(lambda found: _named(found[0]), cut)
    return shown if cut is text else f"{shown}… ({len(text):,} characters)"


def escaped(text: str, longest: int = LONGEST) -> str:
    """`visible`, for a place in HTML, in an attribute as well."""
    return html.escape(visible(text, longest))


def script_json(value: Any) -> str:
    """JSON that may stand in a `<script>`: no sign of it ends the element or begins another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate({ord("<"): "\\u003c", ord(">"): "\\u003e", 0x2028: "\\u2028", 0x2029: "\\u2029"})


def _named(sign: str) -> str:
    hidden = unicodedata.category(sign)[0] in "CZ"
    return f"\\u{{{ord(sign):x}}}" if hidden and sign != " " else sign
