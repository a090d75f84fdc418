"""The Chromium of this machine, driven by Playwright; its own browsers are never fetched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = "PINPOINT_BROWSER_REQUIRED"
"""Set where a machine must have a Chromium: its absence is then a failure and no skip."""


def chromium() -> str:
    """The path of a Chromium; a skip that says how to get one where there is none."""
    found = [
        path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))
    ]
    if not found:
        reason = "no Chromium on this machine: apt-get install chromium"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    return found[0]


class Watch:
    """What a page asked for and complained of."""

    def __init__(self, page: Any) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self._asked(request.url))
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def _asked(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.requests.append(url)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


SLOWEST_MS = 180_000
"""For a page to be there: only one that never comes is wrong, beside whatever else the machine does."""

REPORT_READY = "[id$=-sentence]:not(:empty)"
"""What is there once a report is ready: its first sentence."""


def wait_for(page: Any, selector: str) -> None:
    """Until something that `selector` finds is there: not a function, which a page may forbid to be made."""
    page.locator(selector).first.wait_for(state="attached")


@contextmanager
def opened(place: Path | str, ready: str = REPORT_READY, **context: Any) -> Iterator[tuple[Any, Watch]]:
    """A file or an address in a browser, when what `ready` selects is there, such as a report's sentence."""
    from playwright.sync_api import sync_playwright

    executable = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            page = browser.new_context(**context).new_page()
            page.set_default_timeout(SLOWEST_MS)
            watch = Watch(page)
            page.goto(place if isinstance(place, str) else place.resolve().as_uri())
            wait_for(page, ready)
            yield page, watch
        finally:
            browser.close()
