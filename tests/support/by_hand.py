"""What a person does in Airflow and on its fleet page, in a browser."""

import re
from urllib.parse import unquote

from playwright.sync_api import FrameLocator, Locator, Page

from tests.support.api_server import PASSWORDS


def log_in(page: Page, url: str, user: str) -> None:
    """By Airflow's own form."""
    page.goto(url)
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(PASSWORDS[user])
    page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    # Whoever goes on before it is answered is sent here again.
    page.wait_for_url(lambda address: "/auth/login" not in address)


def open_fleet(page: Page) -> FrameLocator:
    """By Airflow's navigation; the page within Airflow's frame."""
    page.get_by_role("link", name="Fleet").first.click()
    return page.frame_locator("iframe")


def open_job(page: Page, url: str, job: str) -> FrameLocator:
    """By its address; the page within Airflow's frame, once its timelines are drawn."""
    page.goto(f"{url}/plugin/fleet/sluice/job?name={job}")
    frame = page.frame_locator("iframe")
    frame.locator(".plot canvas").first.wait_for()
    return frame


def open_form(frame: FrameLocator, button: str) -> Locator:
    """By one of the buttons of a job's page; the form, once it has its fields."""
    frame.get_by_role("button", name=button, exact=True).click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_label("Reason").wait_for()
    return dialog


def trigger(page: Page, dialog: Locator, dag: str) -> str:
    """Send the form, and be led to its run; the run's path in Airflow's API."""
    dialog.get_by_role("button", name="Trigger").click()
    page.wait_for_url(f"**/dags/{dag}/runs/**")
    return f"/dags/{dag}/dagRuns/{unquote(re.search(r'/runs/([^/?#]+)', page.url)[1])}"


def find_question(page: Page, subject: str) -> None:
    """In Airflow's list of required actions, from wherever in Airflow; its page, once it can be answered.

    The list has those as well that were answered before.
    """
    page.get_by_role("button", name="Browse").first.click()
    page.get_by_role("menuitem", name="Required Actions").click()
    waiting = page.get_by_role("row").filter(has_text="Approval Required")
    waiting.get_by_role("link", name=subject).first.click()
    page.get_by_role("button", name="Approve", exact=True).wait_for()
