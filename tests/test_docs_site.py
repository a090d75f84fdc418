"""The docs as a site: every page in a menu, every link alive, nothing fetched but the script of diagrams."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(ROOT / "mkdocs.yml")]
    result = subprocess.run(
        [sys.executable, *words, "--site-dir", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return folder


def test_every_page_of_the_docs_is_built(site: Path) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*") if path.is_file()]
    pages = [path.with_suffix(".html") for path in sources if path.suffix in (".md", ".ipynb")]
    assert [str(page) for page in pages if not (site / page).is_file()] == []


def test_the_reference_shows_what_the_package_exports(site: Path) -> None:
    shown = (site / "reference" / "api.html").read_text() + (site / "reference" / "plugins.html").read_text()
    named = set(re.findall(r'id="pinpoint_harness\.([\w.]+)"', shown))
    from pinpoint_harness import __all__ as exported

    missing = [name for name in exported if not any(f".{each}".endswith(f".{name}") for each in named)]
    assert missing == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loading = r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(https?:[^"]+)|<link\b[^>]*href="(https?:[^"]+)'
    found = {
        "".join(address)
        for page in site.rglob("*.html")
        for address in re.findall(loading, page.read_text(encoding="utf-8"))
    }
    assert found == set()
