"""The fleet page in a browser, on a ledger with a past: a real Airflow API server, no scheduler and no jobs."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.page import ENTER
from benchmarks.seed import seed
from sluice.ledger.ledger import Ledger
from sluice.ledger.samples import Sample
from tests.support.api_server import AIRFLOW, api_server, token
from tests.support.browser import chromium, needs_browser, open_context, shoot, violations

pytestmark = needs_browser
JOBS = 300
EVIL = "<img src=x onerror=\"document.title='evil'\">"
LIMITS = {"consumer_lag": 10}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("look")


@pytest.fixture(scope="module")
def url(directory):
    root, home = directory / "project", directory / "airflow"
    root.mkdir()
    home.mkdir()
    seed(root, JOBS, 1)
    variables = {
        "SLUICE_ROOT": str(root),
        "SLUICE_HOME": str(root / ".sluice"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(directory / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }
    for command in ([str(AIRFLOW), "db", "migrate"], [sys.executable, "-W", "ignore", "-c", ENTER, str(JOBS)]):
        subprocess.run(command, env={**os.environ, **variables}, check=True, stdout=subprocess.DEVNULL)
    with api_server(directory / "server", variables) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def is_ours(message):
    """A complaint about the page, and not about Airflow's own around it; a refusal is not one."""
    where = message.location.get("url", "")
    return message.type == "error" and "/sluice/" in where and "status of 4" not in message.text


@pytest.fixture
def look(url, browser):
    """Opens one of the page's addresses as a user; what the browser complains of fails the test."""
    contexts, complaints = [], []

    def look(path, user="admin", **more):
        context = open_context(browser, **{"viewport": {"width": 1440, "height": 900}, **more})
        contexts.append(context)
        context.add_cookies([{"name": "_token", "value": token(url, user), "url": url}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if is_ours(message) else None)
        page.goto(f"{url}{path}")
        return page

    yield look
    for context in contexts:
        context.close()
    assert complaints == []


def jobs(page):
    return page.locator("#fleet tbody th a").all_inner_texts()


def test_fleet_is_filtered_and_sorted(look):
    page = look("/sluice/")
    page.wait_for_selector("#fleet tbody tr")
    # What is worst comes first.
    assert page.locator("#fleet tbody .badge").first.inner_text().strip().endswith("failed")
    assert page.locator("#count").inner_text() == f"{JOBS} jobs"
    page.get_by_role("searchbox").fill("job_0007")
    assert jobs(page) == ["job_0007"]
    assert page.url.endswith("?text=job_0007")
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name=re.compile("idle")).click()
    assert len(jobs(page)) == len([number for number in range(JOBS) if number % 40 == 29])
    page.get_by_role("button", name=re.compile("idle")).click()
    heading = page.get_by_role("columnheader", name=re.compile("^Lag"))
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    titles = page.locator("td[data-label=Lag] .with-curve > span").evaluate_all("all => all.map((each) => each.title)")
    figures = [int(title.replace(",", "")) for title in titles]
    assert figures == sorted(figures, reverse=True)
    assert len(figures) >= 60
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    # What was chosen is in the address.
    page.reload()
    page.wait_for_selector("#fleet tbody tr")
    assert page.get_by_role("columnheader", name=re.compile("^Lag")).get_attribute("aria-sort") == "ascending"


def test_scrolling_loads_more_rows(look):
    page = look("/sluice/?sort=job")
    page.wait_for_selector("#fleet tbody tr")
    assert len(jobs(page)) < JOBS
    for _ in range(20):
        page.mouse.wheel(0, 20_000)
        page.wait_for_timeout(50)
    page.wait_for_function(f"document.querySelectorAll('#fleet tbody tr').length === {JOBS}")
    assert jobs(page) == sorted(jobs(page))


def test_fleet_page_works_with_the_keyboard_alone(look):
    page = look("/sluice/?sort=job")
    page.wait_for_selector("#fleet tbody tr")
    page.keyboard.press("/")
    page.keyboard.type("job_0011")
    assert jobs(page) == ["job_0011"]
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.wait_for_url("**/sluice/job?name=job_0011")


def test_job_page_shows_charts_differences_stages_and_time_ranges(look):
    page = look("/sluice/job?name=job_0011&hours=24")
    page.wait_for_selector(".plot canvas")
    assert page.locator("h1").inner_text() == "job_0011"
    assert page.locator(".plot canvas").count() == 4
    assert "Consumer lag over time. lag: last" in page.locator(".plot").first.get_attribute("aria-label")
    page.get_by_role("button", name="Diff to 4").click()
    page.get_by_text("config.window").wait_for()
    page.get_by_role("button", name="Stages").first.click()
    assert page.locator(".stages li:visible .name").all_inner_texts() == ["prepare", "stop", "start"]
    page.get_by_role("button", name="7 d").click()
    page.wait_for_url("**hours=168")
    page.wait_for_load_state("networkidle")
    since = page.locator("#since").input_value()
    page.locator(".u-over").first.scroll_into_view_if_needed()
    canvas = page.locator(".u-over").first.bounding_box()
    page.mouse.move(canvas["x"] + 500, canvas["y"] + 50)
    page.mouse.down()
    page.mouse.move(canvas["x"] + 550, canvas["y"] + 50, steps=5)
    page.mouse.up()
    chosen = page.locator("#since").input_value(), page.locator("#until").input_value()
    assert since < chosen[0] < chosen[1]
    # A chosen range stays when the page updates itself.
    with page.expect_response(lambda response: "api/timeline" in response.url):
        pass
    assert (page.locator("#since").input_value(), page.locator("#until").input_value()) == chosen
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_text("Drag across a chart").wait_for()
    assert page.locator("#since").input_value() == chosen[0]


def test_viewer_sees_no_buttons(look):
    page = look("/sluice/job?name=job_0011", user="viewer")
    page.get_by_text("read only").wait_for()
    for name in ("Redeploy", "Suspend", "Roll back to this", "Backfill this range"):
        assert page.get_by_role("button", name=name).count() == 0


def test_page_uses_airflows_light_or_dark_theme(look):
    for theme in ("dark", "light"):
        page = look("/plugin/fleet")
        page.evaluate(f"localStorage.setItem('theme', '{theme}')")
        page.reload()
        frame = page.frame_locator("iframe")
        frame.locator("#fleet tbody tr").first.wait_for()
        assert frame.locator("html").get_attribute("data-theme") == theme
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        within = page.frames[-1].evaluate("getComputedStyle(document.body).backgroundColor")
        assert within == page.evaluate(ground)
        shoot(page, f"airflow-fleet-{theme}")


def test_job_page_has_its_own_address_within_airflow(look, url):
    page = look("/plugin/fleet")
    frame = page.frame_locator("iframe")
    frame.get_by_role("link", name="job_0007").click()
    page.wait_for_url("**/plugin/fleet/sluice/job?name=job_0007")
    frame.locator("h1", has_text="job_0007").wait_for()
    page.reload()
    frame.locator("h1", has_text="job_0007").wait_for()
    # The frame may not lead its surroundings elsewhere by itself.
    frame.get_by_role("link", name="DAG").click()
    page.wait_for_url("**/dags/deploy.job_0007**")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/sluice/", "/sluice/job?name=job_0007"])
def test_pages_have_no_accessibility_violations(look, path, scheme):
    page = look(path, color_scheme=scheme)
    page.wait_for_selector("#fleet tbody tr" if path.endswith("/") else ".plot canvas")
    page.wait_for_load_state("networkidle")
    if "job" in path:
        page.get_by_role("button", name=re.compile("Diff to")).first.click()
        page.get_by_text("config.window").wait_for()
        page.get_by_role("button", name="Stages").first.click()
    assert page.locator("html").get_attribute("data-theme") == scheme
    shoot(page, f"{'job' if 'job' in path else 'fleet'}-{scheme}", whole="job" in path)
    assert violations(page) == []


@pytest.mark.parametrize("path", ["/sluice/", "/sluice/job?name=job_0007"])
def test_pages_fit_a_narrow_screen(look, path):
    page = look(path, viewport={"width": 390, "height": 844})
    page.wait_for_selector("#fleet tbody tr" if path.endswith("/") else ".plot canvas")
    page.wait_for_load_state("networkidle")
    shoot(page, f"{'job' if 'job' in path else 'fleet'}-narrow", whole="job" in path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == []


def test_page_follows_the_ledger_and_shows_text_without_markup(look, directory):
    page = look("/sluice/")
    page.wait_for_selector("#fleet tbody tr")
    ledger = Ledger(f"sqlite:///{directory / 'project' / '.sluice' / 'ledger.db'}", "local")
    now = datetime.now(UTC)
    usual = {"environment": "local", "at": now + timedelta(minutes=1), "state": "RUNNING", "readings": None}
    names = {"job_0000": "failed", EVIL: "unknown"}
    samples = [
        Sample(job=job, verdict=verdict, reasons=[EVIL], **usual | ({"state": "undeclared"} if job == EVIL else {}))
        for job, verdict in names.items()
    ]
    ledger.samples.add(samples, older_than=now - timedelta(days=30))
    page.get_by_role("link", name=EVIL).wait_for()
    shoot(page, "fleet-evil", whole=False)
    assert page.locator("#fleet img").count() == 0
    page.get_by_role("link", name=EVIL).click()
    page.locator("h1", has_text=EVIL).wait_for()
    page.locator("ul.why li", has_text=EVIL).wait_for()
    assert page.locator("img").count() == 0
    assert page.title() == EVIL


def test_unchanged_fleet_is_answered_with_status_304(look):
    page = look("/sluice/")
    page.wait_for_selector("#fleet tbody tr")
    with page.expect_response(lambda response: response.url.endswith("api/fleet")) as told:
        pass
    assert told.value.status == 304


def test_page_says_that_the_login_has_ended(look):
    page = look("/sluice/")
    page.wait_for_selector("#fleet tbody tr")
    page.context.clear_cookies()
    page.get_by_text("Your login has ended.").wait_for()
    assert json.loads(page.evaluate("fetch('api/fleet').then((answer) => answer.text())"))["detail"]


def test_form_of_a_missing_dag_shows_airflows_error(look):
    page = look("/sluice/job?name=job_0007")
    page.get_by_role("button", name="Redeploy").click()
    # The server knows that there is such a DAG, and nobody has parsed it.
    page.get_by_role("dialog").get_by_text(re.compile("was not found")).wait_for()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
