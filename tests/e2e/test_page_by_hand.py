"""The fleet page in a browser: a plan that loses state is approved and followed; a job is suspended and resumed."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.running import ended, status
from tests.support.browser import chromium, needs_browser, open_context, shoot
from tests.support.by_hand import find_question, log_in, open_fleet, open_form, open_job, trigger

pytestmark = [pytest.mark.usefixtures("main_job", "seen"), needs_browser]
ASKED, RESTS = "processing_metrics", "session_metrics"


@pytest.fixture
def context():
    with chromium() as browser:
        yield open_context(browser, viewport={"width": 1440, "height": 900})


def look(root, job):
    """How the job stands on its cluster; in a thread without the browser's event loop."""
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(status, root, job).result()[0]


def test_setting_that_loses_state_is_approved_in_airflow_and_shown_on_the_page(context, url, airflow, root, ledger):
    before = look(root, ASKED)
    watching = context.new_page()
    log_in(watching, url, "admin")
    fleet = open_fleet(watching)
    row = fleet.get_by_role("row", name=ASKED)
    row.locator(".badge.healthy").wait_for()
    assert re.fullmatch(r"[\d,.K]+", row.locator("td[data-label=Lag] .with-curve > span").inner_text())
    assert row.locator("td[data-label=Release]").inner_text() == str(before.release)
    watching.frames[-1].evaluate("window.isTheSame = true")

    # In another tab: what is to change is said on the job's page.
    page = context.new_page()
    dialog = open_form(open_job(page, url, ASKED), "Redeploy")
    dialog.get_by_label("Reason").fill("a quarter of an hour is enough")
    dialog.get_by_text("Settings of the job", exact=True).click()
    dialog.get_by_label("metrics_window_minutes", exact=True).fill("15")
    shoot(page, "by-hand-form")
    run = trigger(page, dialog, f"deploy.{ASKED}")
    row.get_by_role("link", name="waits for approval").wait_for()
    shoot(watching, "by-hand-fleet-waits")

    # Airflow's own pages: the question, the plan in it, the answer.
    find_question(page, f"{ASKED}: deploy that loses state")
    assert page.get_by_text("This loses state").is_visible()
    change = page.get_by_role("row", name="config.metrics_window_minutes").get_by_role("cell").all_inner_texts()
    assert change[2] == "15"
    assert change[3].startswith("state_breaking: alters what the state means")
    fates = page.get_by_role("row", name=re.compile("GlobalWindowAggregate")).get_by_role("cell").all_inner_texts()
    assert fates[-1] == "lost"
    assert page.get_by_text("start without state, from where the old job stopped").count() == 1
    assert page.get_by_text("Reason given: a quarter of an hour is enough").count() == 1
    assert look(root, ASKED).flink_job_id == before.flink_job_id
    shoot(page, "by-hand-question")
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text(re.compile(r"Response received at .* admin")).wait_for()

    # The first tab tells the rest by itself.
    row.locator("td[data-label=Release]", has_text=re.compile(rf"^{before.release + 1}$")).wait_for()
    row.locator(".badge.healthy").wait_for()
    assert row.get_by_text("waits for approval").count() == 0
    assert watching.frames[-1].evaluate("window.isTheSame")
    shoot(watching, "by-hand-fleet-healthy")
    assert ended(airflow, run)["state"] == "success"
    after = look(root, ASKED)
    assert (after.state, after.release) == ("RUNNING", before.release + 1)
    newest, asked = ledger.operations(ASKED)[0], ledger.approvals.of(ASKED)[0]
    assert (newest.outcome, newest.mode, newest.approved_by) == ("healthy", "stateless", "admin")
    assert (asked.answer, asked.answered_by) == ("approved", "admin")

    frame = open_job(page, url, ASKED)
    operation = frame.get_by_role("row", name=re.compile("a quarter of an hour is enough"))
    assert "approved by admin" in operation.inner_text()
    shoot(page, "by-hand-approved")


def test_job_page_links_to_the_waiting_approval(context, url, airflow, root, ledger):
    before = look(root, ASKED)
    page = context.new_page()
    log_in(page, url, "admin")
    frame = open_job(page, url, ASKED)
    dialog = open_form(frame, "Redeploy")
    dialog.get_by_text("Settings of the job", exact=True).click()
    dialog.get_by_label("metrics_window_minutes", exact=True).fill("35")
    run = trigger(page, dialog, f"deploy.{ASKED}")
    open_job(page, url, ASKED)
    frame.get_by_text("A deploy waits for an approval").wait_for()
    shoot(page, "by-hand-job-waits")
    frame.get_by_role("link", name="Read the plan and answer").click()
    page.get_by_role("button", name="Reject", exact=True).click()
    assert ended(airflow, run)["state"] == "failed"
    assert ledger.approvals.of(ASKED)[0].answer == "rejected"
    assert look(root, ASKED).flink_job_id == before.flink_job_id


def test_job_is_suspended_and_resumed_by_the_pages_buttons(context, url, airflow, root, ledger):
    before = look(root, RESTS)
    page = context.new_page()
    log_in(page, url, "admin")
    frame = open_job(page, url, RESTS)
    # Of a job that is younger than a day, no day is shown that it has not seen.
    age = datetime.now(UTC) - ledger.releases(RESTS)[-1].created_at
    usual = next(hours for hours in (1, 6, 24) if age < timedelta(hours=hours))
    assert frame.get_by_role("button", name=f"{usual} h", exact=True).get_attribute("aria-pressed") == "true"
    dialog = open_form(frame, "Suspend")
    assert dialog.get_by_label("Operation").input_value() == "suspend"
    dialog.get_by_label("Reason").fill("rests over the weekend")
    shoot(page, "by-hand-suspend")
    assert ended(airflow, trigger(page, dialog, f"deploy.{RESTS}"))["state"] == "success"
    assert look(root, RESTS).state == "suspended"

    open_job(page, url, RESTS)
    frame.get_by_role("button", name="Resume").wait_for()
    assert frame.get_by_role("button", name="Suspend").count() == 0
    shoot(page, "by-hand-suspended")
    # The frame shows a job; Airflow's navigation leads back to all of them.
    row = open_fleet(page).get_by_role("row", name=RESTS)
    row.locator(".badge.suspended").wait_for()
    row.get_by_role("link", name=RESTS).click()
    dialog = open_form(frame, "Resume")
    assert dialog.get_by_label("Operation").input_value() == "resume"
    assert ended(airflow, trigger(page, dialog, f"deploy.{RESTS}"))["state"] == "success"

    open_job(page, url, RESTS)
    frame.get_by_role("button", name="Suspend").wait_for()
    assert frame.locator("#head .badge.healthy").is_visible()
    shoot(page, "by-hand-resumed")
    after = look(root, RESTS)
    assert (after.state, after.release) == ("RUNNING", before.release)
    resumed, suspended = ledger.operations(RESTS)[:2]
    assert (resumed.kind, suspended.kind, suspended.note) == ("resume", "suspend", "rests over the weekend")
    assert resumed.restored_from == suspended.savepoint is not None
