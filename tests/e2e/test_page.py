"""The fleet page of a stack that runs: its logins, its live data, and a redeploy from its form."""

import re
import time

import httpx
import pytest

from tests.e2e.running import ended
from tests.support.api_server import token
from tests.support.browser import chromium, needs_browser, open_context, shoot
from tests.support.by_hand import log_in, open_fleet, open_form, open_job, trigger
from tests.support.sharing import deployment_line
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("main_job", "seen")
PATHS = ("fleet", "curves", "job?name=event_metrics", "desired?name=event_metrics")


def client(url, user=None):
    headers = {"Authorization": f"Bearer {token(url, user)}"} if user else {}
    return httpx.Client(base_url=url, headers=headers, timeout=60)


def test_fleet_page_requires_a_login(url):
    with client(url) as nobody:
        for path in PATHS:
            assert nobody.get(f"/sluice/api/{path}").status_code == 401
        page = nobody.get("/sluice/")
        assert (page.status_code, "/api/v2/auth/login?next=" in page.headers["location"]) == (307, True)
        assert nobody.get(page.headers["location"]).headers["location"].startswith("/auth/login")


def test_viewer_sees_the_fleet_and_can_not_trigger_runs(url):
    with client(url, "viewer") as viewer:
        rows = viewer.get("/sluice/api/fleet").raise_for_status().json()["rows"]
        assert {"event_metrics", "dead_letters"} < {row["job"] for row in rows}
        job = viewer.get("/sluice/api/job?name=event_metrics").raise_for_status().json()
        assert (job["may_trigger"], job["may_replay"]) == (False, False)
        given = {"logical_date": None, "conf": {}}
        assert viewer.post("/api/v2/dags/deploy.event_metrics/dagRuns", json=given).status_code == 403


def test_admin_sees_the_figures_of_the_last_sweep(url):
    with client(url, "admin") as admin:
        rows = admin.get("/sluice/api/fleet").raise_for_status().json()["rows"]
        row = next(row for row in rows if row["job"] == "event_metrics")
        assert row["state"] == "RUNNING"
        assert row["consumer_lag"] is not None
        assert row["last_deploy"]["outcome"] == "healthy"
        answer = admin.get("/sluice/api/job?name=event_metrics").raise_for_status().json()
        assert (answer["may_trigger"], answer["may_replay"]) == (True, True)
        [operation] = answer["job"]["operations"][-1:]
        assert operation["stages"][0]["stage"] == "prepare"


def desired(admin):
    """Asked again while the server says that the files are being read."""
    deadline = time.monotonic() + 60
    while True:
        answer = admin.get("/sluice/api/desired?name=dead_letters")
        if answer.status_code != 503 or time.monotonic() > deadline:
            return answer.raise_for_status().json()
        time.sleep(int(answer.headers["Retry-After"]))


def test_page_shows_differences_once_a_file_has_changed(url, root):
    with client(url, "admin") as admin:
        same = desired(admin)
        assert (same["settings"], same["files"]) == ([], [])
        with deployment_line(root, "dead_letters", "parallelism: 2"):
            # A slow reading is kept for ten seconds.
            shown = wait_for(lambda: desired(admin)["settings"], "no difference is shown")
    assert [each["path"] for each in shown] == ["parallelism"]


@needs_browser
def test_job_is_found_redeployed_by_the_form_and_healthy_again(url, airflow):
    """Log in, find a job, redeploy it with another setting by the form, and see it healthy in its new release."""
    with chromium() as browser, client(url, "admin") as admin:
        page = open_context(browser, viewport={"width": 1440, "height": 900}).new_page()
        log_in(page, url, "admin")
        frame = open_fleet(page)
        frame.get_by_role("searchbox").fill("event_m")
        frame.get_by_role("link", name="event_metrics").click()
        frame.locator(".plot canvas").first.wait_for()
        shoot(page, "e2e-job")

        dialog = open_form(frame, "Redeploy")
        assert dialog.get_by_label("Operation").input_value() == "deploy"
        dialog.get_by_label("Reason").fill("from the fleet page")
        dialog.get_by_text("Settings of the job", exact=True).click()
        dialog.get_by_label("event_types", exact=True).fill("page_view, click, conversion")
        shoot(page, "e2e-form")
        assert ended(airflow, trigger(page, dialog, "deploy.event_metrics"))["state"] == "success"

        open_job(page, url, "event_metrics")
        frame.locator(".given").first.wait_for()
        assert frame.locator(".given").first.inner_text() == 'event_types=["page_view","click","conversion"]'
        newest = admin.get("/sluice/api/job?name=event_metrics").json()["job"]
        assert (newest["row"]["verdict"], newest["operations"][0]["note"]) == ("healthy", "from the fleet page")
        assert newest["operations"][0]["downtime_ms"] is not None
        shoot(page, "e2e-job-redeployed")

        # Back to what it was, by the same page.
        former = newest["releases"][1]["number"]
        frame.get_by_role("row", name=re.compile(rf"^{former}\b")).get_by_role(
            "button", name="Roll back to this"
        ).click()
        assert dialog.get_by_label("Operation").input_value() == "rollback"
        assert dialog.get_by_label("Release to roll back to").input_value() == str(former)
        assert ended(airflow, trigger(page, dialog, "deploy.event_metrics"))["state"] == "success"


@needs_browser
def test_range_is_backfilled_from_the_form(url):
    with chromium() as browser:
        context = open_context(browser)
        context.add_cookies([{"name": "_token", "value": token(url, "admin"), "url": url}])
        page = context.new_page()
        page.goto(f"{url}/sluice/job?name=event_metrics&hours=1")
        page.wait_for_selector(".plot canvas")
        page.get_by_role("button", name="Backfill this range").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("From").wait_for()
        assert dialog.get_by_label("From").input_value()[:16] == page.locator("#since").input_value()[:16]
        assert dialog.get_by_label("To", exact=True).input_value()[:16] == page.locator("#until").input_value()[:16]
        shoot(page, "e2e-backfill")
