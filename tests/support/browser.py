"""Headless Chromium, and what tests look at through it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.stacks import ROOT
from tests.support.waiting import STUCK

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Where CI runs it must be there: a test that is left out shows nothing.
needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium on PATH: run scripts/ensure-package chromium"
)
SCREENSHOTS = Path(os.environ.get("SLUICE_SCREENSHOTS", ROOT / ".sluice" / "screenshots"))
AXE = Path(__file__).parent / "axe" / "axe.min.js"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        # As root it refuses its sandbox, and it opens what the test itself serves.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def open_context(browser: Browser, **options: Any) -> BrowserContext:
    """A browser context in which nothing is too slow: what doesn't come up keeps a test until it counts as stuck."""
    context = browser.new_context(**options)
    context.set_default_timeout(STUCK * 1000)
    return context


def shoot(page: Page, name: str, *, whole: bool = True) -> None:
    """A screenshot for people to look at, of the whole page or of what a screen shows of it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)


def violations(page: Page) -> list[str]:
    """What axe-core finds serious or worse on a page, each with where."""
    # By the debugger, which the page's own policy does not bind.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run({ resultTypes: ['violations'] })).violations")
    return [
        f"{each['impact']} {each['id']}: {node['html'][:200]} ({node.get('failureSummary', '')[:300]})"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]
