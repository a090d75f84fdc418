"""A Bokeh document within a page of our own: one file, the same bytes whenever the figures are the same."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any

from .text import escaped, script_json

if TYPE_CHECKING:
    from bokeh.models import CustomJS, Model

_ID = re.compile(r"p\d+")
_FILES = importlib.resources.files(__package__)


def text_file(name: str) -> str:
    """The text of a file beside this module."""
    return (_FILES / name).read_text(encoding="utf-8")


def script(name: str) -> str:
    """The text of one of our callbacks."""
    return text_file(f"scripts/{name}.js")


def callback(name: str, **args: Any) -> CustomJS:
    """The callback `scripts/NAME.js`, which sees `args` by their names."""
    from bokeh.models import CustomJS

    return CustomJS(args=args, code=script(name))


def render_page(title: str, body: str, roots: Mapping[str, Model], ready: Sequence[CustomJS]) -> str:
    """A whole page: each root is drawn in the element of its name; `ready` are called when all are."""
    from bokeh.resources import INLINE

    resources = INLINE.clone(components=["bokeh", "bokeh-widgets"])
    document, items = _serialised(roots, ready)
    scripts = [
        _script("\n".join(resources.js_raw).replace("</script", "<\\/script")),
        _data("document", {"report": document}),
        _data("items", items),
        _script(script("start")),
    ]
    # Bokeh makes functions of the text of callbacks.
    return _page(title, body, scripts, "'unsafe-inline' 'unsafe-eval'")


def render_plain(title: str, body: str) -> str:
    """A whole page of text and tables alone."""
    return _page(title, body, [], "'unsafe-inline'")


def _page(title: str, body: str, scripts: Sequence[str], allowed: str) -> str:
    return Template(text_file("page.html")).substitute(
        title=escaped(title),
        style=text_file("page.css"),
        body=body,
        allowed=allowed,
        scripts="\n".join([*scripts, _script(script("tables"))]),
    )


def _script(code: str) -> str:
    return f"<script>{code}</script>"


def _data(name: str, value: Any) -> str:
    return f'<script type="application/json" id="{name}">{script_json(value)}</script>'


def _serialised(roots: Mapping[str, Model], ready: Sequence[CustomJS]) -> tuple[Any, list[Any]]:
    from bokeh.document import Document
    from bokeh.events import DocumentReady

    document = Document()
    with document.models.freeze():  # else all models are walked again for each root
        for root in roots.values():
            document.add_root(root)
    for one in ready:
        document.js_on_event(DocumentReady, one)
    names: dict[str, str] = {}
    content = _canonical(document.to_json(deferred=False), names)
    places = {names[str(root.id)]: element for element, root in roots.items()}
    return content, [{"docid": "report", "roots": places, "root_ids": list(places)}]


def _canonical(value: Any, names: dict[str, str]) -> Any:
    """The same with ids numbered as they are met and sets in order, which differ from process to process."""
    if isinstance(value, dict):
        found = {key: _canonical(one, names) for key, one in value.items()}
        if isinstance(name := found.get("id"), str) and _ID.fullmatch(name):
            found["id"] = names.setdefault(name, f"n{len(names)}")
        if found.get("type") == "set":
            found["entries"] = sorted(found["entries"])
        return found
    return [_canonical(one, names) for one in value] if isinstance(value, list | tuple) else value
