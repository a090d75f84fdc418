"""Make the pictures of the README anew from the runs of `pinpoint demo`.

    python docs/pictures/make.py [HOME]

HOME is where the demo's runs lie (default: `results`). Needs the extra `test` and a Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from pinpoint_harness import read_run

HERE = Path(__file__).parent
DATASET = "mini-earth/query-clean"
OURS, OTHER = f"pinpoint-plus@{DATASET}", f"nearest-photo@{DATASET}"


def main(home: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        _pinpoint("report", OURS, OTHER, "-o", report, "--home", home)
        _photograph(report, HERE / "report.png")
    answers = read_run(OURS, home=home).predictions().dropna(subset="error_km")
    middle = answers.sort_values(["error_km", "id"]).iloc[len(answers) // 2]["id"]
    sheet = ["--sheet", HERE / "candidates.png", "--dpi", 110, "--overwrite"]
    _pinpoint("runs", "explain", OURS, middle, "-n", 6, *sheet, "--home", home)


def _pinpoint(*words: object) -> None:
    subprocess.run([shutil.which("pinpoint") or "pinpoint", *map(str, words)], check=True)


def _photograph(report: Path, picture: Path) -> None:
    """The report where it is asked on which photos its first run is wrong and its second is right."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.locator("#s0-sentence:not(:empty)").wait_for()
        outcome = page.locator("#s0-outcome select")
        labels = outcome.locator("option").all_inner_texts()
        (label,) = [text for text in labels if text.startswith("A wrong, B right")]
        outcome.select_option(label=label)
        page.locator("#s0-photos button").first.click()
        page.locator("#s0-sentence").scroll_into_view_if_needed()
        page.evaluate("document.querySelector('#s0-a').scrollIntoView()")
        page.wait_for_timeout(1000)  # drawing
        page.screenshot(path=picture)
        browser.close()


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    sys.exit("no Chromium on this machine: apt-get install chromium")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "results")
