"""The time from a navigation or a click until Chromium paints a page, and until its first rows are shown.

All times are the browser's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import BrowserContext, Frame, Page

PATIENCE = 60_000
_NOW = "() => performance.timeOrigin + performance.now()"
_PAINTED = (
    "() => { const [first] = performance.getEntriesByName('first-contentful-paint');"
    " return first && performance.timeOrigin + first.startTime; }"
)
_CLICKED = (
    "addEventListener('click', (event) => { window.clicked = performance.timeOrigin + event.timeStamp; },"
    " { capture: true, once: true })"
)


@dataclass(frozen=True)
class Rows:
    """The rows of a page.

    Args:
        selector: The selector of one row.
        framed: Whether they are in a frame of Airflow's.
    """

    selector: str
    framed: bool = False

    def first(self, page: Page) -> tuple[Frame, float]:
        """The frame of the rows, and the time at which the first one was shown, in Unix milliseconds."""
        frame = page.main_frame
        if self.framed:
            element = page.wait_for_selector("iframe", timeout=PATIENCE, state="attached")
            frame = element.content_frame()
        frame.wait_for_selector(self.selector, timeout=PATIENCE)
        return frame, frame.evaluate(_NOW)


def by_address(context: BrowserContext, address: str, rows: Rows) -> tuple[float, float]:
    """Milliseconds from opening an address until the page is painted, and until its first rows are shown."""
    page = context.new_page()
    page.goto(address, wait_until="commit")
    began = page.evaluate("() => performance.timeOrigin")
    frame, there = rows.first(page)
    painted = _painted(frame)
    page.close()
    return painted - began, there - began


def by_entry(context: BrowserContext, url: str, entry: str, rows: Rows) -> tuple[float, float]:
    """The same from a click on an entry of Airflow's navigation.

    Chromium reports no paint for a page of Airflow's own then: its first rows count as the paint.
    """
    page = context.new_page()
    page.goto(url)
    link = page.get_by_role("link", name=re.compile(rf"^{entry}$")).first
    link.wait_for()
    page.wait_for_load_state("networkidle")
    page.evaluate(_CLICKED)
    link.click()
    frame, there = rows.first(page)
    began = page.evaluate("() => window.clicked")
    painted = _painted(frame) if rows.framed else there
    page.close()
    return painted - began, there - began


def _painted(frame: Frame) -> float:
    return frame.wait_for_function(_PAINTED, timeout=PATIENCE).json_value()
