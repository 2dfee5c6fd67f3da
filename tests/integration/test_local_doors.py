"""Access to the local stack: by web pages to the cluster's REST API, and by other users to the stack's files."""

import stat

import httpx
import pytest

FOREIGN = {"Origin": "https://elsewhere.example"}


@pytest.fixture(scope="module")
def rest(local):
    with httpx.Client(base_url=local.flink_url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("path", ["/overview", "/jobs", "/nowhere"])
def test_foreign_origin_can_not_read_flinks_responses(rest, path):
    answer = rest.get(path, headers=FOREIGN)
    assert answer.headers.get("Access-Control-Allow-Origin") not in ("*", "null", FOREIGN["Origin"])


def test_cluster_accepts_no_uploaded_jars(rest):
    upload = {"jarfile": ("job.jar", b"PK", "application/x-java-archive")}
    assert rest.post("/jars/upload", files=upload).is_error
    assert rest.get("/jars").status_code == 404


OF_A_PAGE = (
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Host": "elsewhere.example"},
    {"Host": "elsewhere.example:8081"},
)


@pytest.mark.parametrize("headers", OF_A_PAGE, ids=str)
def test_web_page_of_another_site_can_not_read_or_submit(rest, headers):
    # A form may send this anywhere without asking first, and the cluster would deserialize it.
    job = {"request": ("request", b'{"jobGraphFileName": "graph"}', "application/json"), "file_0": ("graph", b"x")}
    assert rest.post("/jobs", files=job, headers=headers).status_code == 403
    answer = rest.get("/overview", headers=headers)
    assert (answer.status_code, "errors" in answer.json()) == (403, True)


def test_get_request_of_a_web_page_ends_no_job(rest):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for end in ("yarn-cancel", "yarn-stop", "%79arn-cancel", "yarn%2Dstop?x=1"):
        for headers in (link, {}):
            assert rest.get(f"/jobs/{'a' * 32}/{end}", headers=headers).status_code == 403


def test_flinks_own_pages_links_and_clients_are_allowed(rest):
    own = f"http://127.0.0.1:{rest.base_url.port}"
    for headers in (
        {},
        {"Origin": own, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        # A link in Airflow's UI, which has another port.
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Host": f"localhost:{rest.base_url.port}", "Origin": f"http://localhost:{rest.base_url.port}"},
    ):
        assert rest.get("/overview", headers=headers).status_code == 200, headers


def test_only_the_user_can_enter_the_stacks_home(local):
    assert stat.S_IMODE(local.home.stat().st_mode) == 0o700
