"""Takes the pictures in docs/images/ of the real stack with its jobs, by a browser.

A stack of its own: free ports, and a copy of the project in a temporary directory. What is seen is what was done: jobs
deployed by Airflow, sweeps, a plan that waits for a person, its approval.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, FloatRect, Page

from sluice.local import airflow as local_airflow
from sluice.local.main_job import run_main_job, traffic_service
from sluice.local.stack import Stack
from sluice.terminal import console
from tests.e2e.running import ended, run_dag
from tests.support.api_server import api_server, token
from tests.support.browser import chromium
from tests.support.by_hand import find_question, open_form, open_job, trigger
from tests.support.stacks import ROOT, stack_on_a_copy, variables_for

IMAGES = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1280, 800
FEW_ROWS, WHOLE_CHARTS, WHOLE_PLAN = 640, 960, 1340
"""Heights of pages that differ from the default, in pixels."""
MOVING = 1000
"""Milliseconds until all animations have ended."""
COLOURS = 256
"""Colours of each picture: without visible difference, and with a third of the bytes."""
JOB = "processing_metrics"
SWEEPS, PACE = 7, 12.0
"""The number of sweeps before and after the change, and the seconds between two of them, for rates."""


def main() -> None:
    """Take all pictures."""
    with tempfile.TemporaryDirectory() as directory:
        local = stack_on_a_copy(Path(directory) / "project", traffic_seed=1)
        os.environ.update(variables_for(local))
        stack = Stack(local)
        try:
            stack.up(extra=(traffic_service(local),))
            run_main_job(stack)
            with (
                api_server(Path(directory) / "server", local_airflow.environment(local)) as url,
                httpx.Client(base_url=f"{local.airflow_url}/api/v2", timeout=30) as airflow,
                chromium() as browser,
            ):
                work(browser, url, airflow)
        finally:
            stack.down()


def work(browser: Browser, url: str, airflow: httpx.Client) -> None:
    """Redeploy a job with a setting that loses state, approve the plan, and take pictures of each step."""
    light, dark = (logged_in(browser, url, theme) for theme in ("light", "dark"))
    page, began = light.new_page(), datetime.now(UTC)
    sweep(airflow)
    dialog = open_form(open_job(page, url, JOB), "Redeploy")
    dialog.get_by_label("Reason").fill("a quarter of an hour is enough")
    dialog.get_by_text("Settings of the job", exact=True).click()
    dialog.get_by_label("metrics_window_minutes", exact=True).fill("15")
    take(page, "redeploy-form")
    run = trigger(page, dialog, f"deploy.{JOB}")

    for context, name in ((light, "fleet"), (dark, "fleet-dark")):
        fleet = context.new_page()
        fleet.goto(f"{url}/plugin/fleet")
        fleet.frame_locator("iframe").get_by_role("link", name="waits for approval").wait_for(timeout=90_000)
        fleet.frame_locator("iframe").locator(".curve").first.wait_for()
        take(fleet, name, height=FEW_ROWS)
    # Airflow's list of required actions doesn't update itself: the action exists only now.
    find_question(page, f"{JOB}: deploy that loses state")
    take(page, "approval", height=WHOLE_PLAN)
    page.get_by_role("button", name="Approve", exact=True).click()
    state = ended(airflow, run)["state"]
    assert state == "success", state

    take_graph(page, url, run)
    sweep(airflow)
    for context, name in ((light, "job"), (dark, "job-dark")):
        job = context.new_page()
        show_since(job, url, began)
        take(job, name, height=WHOLE_CHARTS)


def logged_in(browser: Browser, url: str, theme: str) -> BrowserContext:
    """A page of an administrator, with Airflow's light or dark theme."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=theme)
    context.add_cookies([{"name": "_token", "value": token(url, "admin"), "url": url}])
    context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    return context


def sweep(airflow: httpx.Client) -> None:
    """Run the sweep as often as a curve needs."""
    for _ in range(SWEEPS):
        following = time.monotonic() + PACE
        run, _ = run_dag(airflow, "redeploy_and_verify")
        assert run["state"] == "success", run
        time.sleep(max(0.0, following - time.monotonic()))


def take_graph(page: Page, url: str, run: str) -> None:
    """The tasks of a run of deploy.<job>, without the rest of Airflow's page."""
    _, _, dag, _, name = run.split("/")
    page.goto(f"{url}/dags/{dag}/runs/{name}")
    page.get_by_role("button", name=re.compile("^Show Graph")).click()
    page.get_by_role("button", name="Collapse Details Panel").click()
    page.get_by_text("success").nth(8).wait_for()
    page.wait_for_timeout(MOVING)
    page.locator(".react-flow__controls-fitview").click()
    page.wait_for_timeout(MOVING)
    boxes = [box for node in page.locator(".react-flow__node").all() if (box := node.bounding_box())]
    top = min(box["y"] for box in boxes) - 30
    bottom = max(box["y"] + box["height"] for box in boxes) + 30
    take(page, "deploy-graph", clip={"x": 80, "y": top, "width": WIDTH - 100, "height": bottom - top})


def show_since(page: Page, url: str, since: datetime) -> None:
    """A job's page with the timelines from a moment until now."""
    frame = open_job(page, url, JOB)
    frame.locator("#since").fill(f"{since:%Y-%m-%dT%H:%M}")
    frame.get_by_role("button", name="Show", exact=True).click()


def take(page: Page, name: str, *, height: int = HEIGHT, clip: FloatRect | None = None) -> None:
    """Take a picture of a page of this height, or of a part of it, in few colours."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.mouse.move(0, 0)
    page.wait_for_timeout(MOVING)
    shown = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide", clip=clip))).convert("RGB")
    IMAGES.mkdir(exist_ok=True)
    file = IMAGES / f"{name}.png"
    shown.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(file, optimize=True)
    console.print(f"  {file.relative_to(ROOT)!s:<44} {file.stat().st_size / 1024:6.0f} KiB", highlight=False)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


if __name__ == "__main__":
    main()
