"""The page's routes behind Airflow's own login: who is refused, who sees what, and what the browser is told to load.

In a process of its own, as the DAGs: with Airflow's own auth manager, users and metadata database.
"""

import json
from datetime import timedelta
from urllib.parse import quote_plus

import pytest
from sqlalchemy import create_engine

from tests.support.ledgers import NOW, Past
from tests.support.own_process import run_fresh_script

SCRIPT = """
import asyncio, json, sys, warnings
warnings.simplefilter("ignore")
from airflow import settings
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from airflow.models import import_all_models
import_all_models()
Base.metadata.create_all(settings.engine)
with create_session() as session:
    session.add(DagBundleModel(name="b"))
    session.flush()
    for name in ("deploy.counts", "backfill.counts", "deploy.other", "redeploy_and_verify"):
        session.add(DagModel(dag_id=name, bundle_name="b", is_stale=False))

from airflow.api_fastapi.app import init_auth_manager
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sluice.airflow.plugin import SluicePlugin

class Selective(SimpleAuthManager):
    # One user may read the DAG of one job, and of that not the code.
    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.username == "guest":
            return method == "GET" and access_entity is None and details is not None and details.id == "deploy.counts"
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)

import airflow.api_fastapi.app as app_module
app_module._AuthManagerState.instance = manager = Selective()
manager.init()
outer = FastAPI()
[given] = SluicePlugin.fastapi_apps
outer.mount(given["url_prefix"], given["app"])
client = TestClient(outer, follow_redirects=False, base_url="http://airflow:8080")
tokens = {name: manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role))
          for name, role in (("admin", "admin"), ("viewer", "viewer"), ("guest", "viewer"))}
tokens["forged"] = tokens["admin"][:-6] + "AAAAAA"
"""
ASKING = """
found = []
for user, path, headers in json.loads(sys.argv[1]):
    client.cookies.clear()
    headers = dict(headers)
    if headers.pop("cookie", None):
        client.cookies.set("_token", tokens[user])
    elif user:
        headers["Authorization"] = f"Bearer {tokens[user]}"
    answer = client.get(path, headers=headers)
    if headers.get("If-None-Match") == "known":
        answer = client.get(path, headers={**headers, "If-None-Match": answer.headers["ETag"]})
    found.append([answer.status_code, dict(answer.headers), answer.text])
print(json.dumps(found))
"""
EVIL = "<img src=x onerror=alert(1)>"


class Asked:
    """The answers, by user and path."""

    def __init__(self, root, home, **more):
        self.home = home
        self.variables = {
            "SLUICE_ROOT": str(root),
            "SLUICE_HOME": str(root / ".sluice"),
            "SLUICE_ENVIRONMENT": "test",
            "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64,
            **more,
        }

    def __call__(self, *requests):
        given = json.dumps([(user, path, headers) for user, path, *rest in requests for headers in [dict(*rest)]])
        done = run_fresh_script(SCRIPT + ASKING, self.home, given, **self.variables)
        return [tuple(answer) for answer in json.loads(done.stdout.splitlines()[-1])]


JOB = """
import os
from sluice import Job, JobConfig, Kafka, Record

class Config(JobConfig):
    window: str = " ".join(name for name in os.environ if name.startswith("AIRFLOW__"))

class Line(Record):
    text: str

job = Job(name="counts", config=Config, reads={"lines": Kafka("lines", record=Line)}, writes=Kafka("o", record=Line))

@job.pipeline
def build(lines):
    return lines
"""
SINCE = (NOW - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
API = (
    "/sluice/api/fleet",
    "/sluice/api/curves",
    "/sluice/api/job?name=counts",
    f"/sluice/api/timeline?name=counts&since={SINCE}",
    "/sluice/api/difference?name=counts&new=2&old=1",
    "/sluice/api/desired?name=counts",
)
REQUESTS = [
    *((None, path) for path in API),
    *(("forged", path) for path in API),
    *(("viewer", path) for path in API),
    *(("guest", path) for path in API),
    ("admin", "/sluice/api/job?name=counts"),
    ("admin", "/sluice/api/job?name=other"),
    ("admin", "/sluice/api/job?name=a%20stranger"),
    ("guest", "/sluice/api/job?name=other"),
    ("guest", "/sluice/api/difference?name=other&new=1"),
    ("guest", "/sluice/api/desired?name=other"),
    ("guest", "/sluice/api/job?name=a%20stranger"),
    ("viewer", "/sluice/api/job?name=a%20stranger"),
    ("viewer", "/sluice/api/job?name=nobody"),
    ("viewer", "/sluice/api/desired?name=a%20stranger"),
    ("viewer", "/sluice/api/job?name="),
    ("viewer", "/sluice/api/timeline?name=counts&since=yesterday"),
    ("viewer", "/sluice/api/timeline?name=counts&since=2000-01-01T00:00:00Z"),
    ("viewer", "/sluice/api/difference?name=counts&new=9"),
    ("viewer", "/sluice/api/fleet", {"If-None-Match": "known"}),
    ("viewer", "/sluice/", {"cookie": "yes"}),
    ("viewer", "/sluice/job?name=counts", {"cookie": "yes"}),
    ("viewer", "/sluice/api/fleet", {"cookie": "yes"}),
    (None, "/sluice/"),
    (None, "/sluice/job?name=counts"),
    ("forged", "/sluice/", {"cookie": "yes"}),
    (None, "/sluice/static/js/fleet.js"),
    (None, "/sluice/static/../app.py"),
    (None, "/sluice/openapi.json"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    past = Past(root)
    past.deploy("counts", "a = 1\n", config={"window": "10s"})
    past.deploy("counts", "a = 2\n", config={"window": "30s"})
    past.deploy("other")
    strange = {"state": "undeclared", "verdict": "unknown", "release": None}
    past.sweep(5, counts={"verdict": "failed", "reasons": [EVIL], "release": 2}, other={}, **{"a stranger": strange})
    (root / "flink_jobs" / "counts.py").write_text(JOB)
    (root / "deployments").mkdir()
    (root / "deployments" / "test.yaml").write_text("flink: {url: 'http://nowhere:1'}\n")
    with create_engine(past.url).connect() as writer:
        # Somebody writes all the while: the page waits for nobody.
        writer.exec_driver_sql("BEGIN IMMEDIATE")
        found = Asked(root, tmp_path_factory.mktemp("airflow"))(*REQUESTS)
    return {
        (user, path, *(name for headers in rest for name in headers)): answer
        for (user, path, *rest), answer in zip(REQUESTS, found, strict=True)
    }


def value(answers, user, path):
    status, _, text = answers[user, path]
    assert status == 200, text
    return json.loads(text)


@pytest.mark.parametrize("path", API, ids=lambda path: path.partition("?")[0])
def test_api_requires_a_login(answers, path):
    status, _, text = answers[None, path]
    assert (status, json.loads(text)) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize("path", API, ids=lambda path: path.partition("?")[0])
def test_forged_token_is_refused(answers, path):
    assert answers["forged", path][0] == 403


def test_pages_redirect_to_the_login_and_open_with_its_cookie(answers):
    for path in ("/sluice/", "/sluice/job?name=counts"):
        status, headers, _ = answers[None, path]
        assert status == 307
        assert headers["location"] == f"/api/v2/auth/login?next={quote_plus(f'/plugin/fleet{path}')}"
    assert answers["forged", "/sluice/", "cookie"][0] == 307
    for path in ("/sluice/", "/sluice/job?name=counts"):
        status, headers, text = answers["viewer", path, "cookie"]
        assert (status, "<!doctype html>" in text) == (200, True)


def test_api_accepts_the_login_cookie(answers):
    assert answers["viewer", "/sluice/api/fleet", "cookie"][0] == 200


def test_viewer_sees_the_fleet_and_may_not_trigger(answers):
    rows = value(answers, "viewer", "/sluice/api/fleet")["rows"]
    assert [row["job"] for row in rows] == ["a stranger", "counts", "other"]
    job = value(answers, "viewer", "/sluice/api/job?name=counts")
    assert (job["may_trigger"], job["may_replay"], job["may_see_code"]) == (False, False, True)


def test_admin_may_trigger_and_replay(answers):
    job = value(answers, "admin", "/sluice/api/job?name=counts")
    assert (job["may_trigger"], job["may_replay"], job["may_see_code"]) == (True, True, True)


def test_job_without_a_dag_can_not_be_triggered(answers):
    other, stranger = (value(answers, "admin", f"/sluice/api/job?name={name}") for name in ("other", "a%20stranger"))
    assert (other["may_trigger"], other["may_replay"]) == (True, False)
    assert (stranger["may_trigger"], stranger["may_replay"]) == (False, False)


def test_user_who_may_read_one_dag_sees_only_its_job(answers):
    assert [row["job"] for row in value(answers, "guest", "/sluice/api/fleet")["rows"]] == ["counts"]
    assert list(value(answers, "guest", "/sluice/api/curves")["jobs"]) == ["counts"]
    for path in ("job?name=other", "difference?name=other&new=1", "desired?name=other", "job?name=a%20stranger"):
        status, _, text = answers["guest", f"/sluice/api/{path}"]
        assert status == 403, text
        assert "you may not read the DAG" in text


def test_user_who_may_not_read_code_sees_only_changed_settings(answers):
    found = value(answers, "guest", API[4])
    assert [each["path"] for each in found["settings"]] == ["config.window"]
    assert (found["files"], "you may not read the code" in found["code"]) == ([], True)
    assert len(value(answers, "viewer", API[4])["files"]) == 1


def test_release_is_compared_with_the_current_files(answers):
    found = value(answers, "viewer", API[5])
    assert (found["old"], found["new"]) == ("release 2", "the files")
    # The job's own code runs for this, and sees none of the server's variables.
    assert ("config.window", "30s", "") in [(each["path"], each["old"], each["new"]) for each in found["settings"]]
    assert "flink_jobs/counts.py" in [each["name"] for each in found["files"]]
    found = value(answers, "guest", API[5])
    assert "config.window" in [each["path"] for each in found["settings"]]
    assert (found["files"], "you may not read the code" in found["code"]) == ([], True)


def test_job_that_was_never_deployed_can_not_be_compared(answers):
    status, _, text = answers["viewer", "/sluice/api/desired?name=a%20stranger"]
    assert (status, "was never deployed" in text) == (409, True)


def test_undeclared_job_is_shown_to_users_who_may_read_the_sweep(answers):
    assert value(answers, "viewer", "/sluice/api/job?name=a%20stranger")["job"]["row"]["state"] == "undeclared"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("job?name=nobody", 404, "there is no job named 'nobody'"),
        ("job?name=", 422, "at least 1 character"),
        ("timeline?name=counts&since=yesterday", 422, "datetime"),
        ("timeline?name=counts&since=2000-01-01T00:00:00Z", 422, "a span of at most 31 days"),
        ("difference?name=counts&new=9", 409, "counts: the ledger has no release 9"),
    ],
)
def test_invalid_parameters_are_refused_with_a_reason(answers, path, status, words):
    found, _, text = answers["viewer", f"/sluice/api/{path}"]
    assert (found, words in text) == (status, True), text


def test_unchanged_fleet_is_answered_with_status_304(answers):
    _, headers, _ = answers["viewer", "/sluice/api/fleet"]
    assert headers["cache-control"] == "private, no-cache"
    status, again, text = answers["viewer", "/sluice/api/fleet", "If-None-Match"]
    assert (status, text, again["etag"]) == (304, "", headers["etag"])


def test_content_security_policy_allows_no_foreign_scripts(answers):
    for key, (status, headers, _) in answers.items():
        if status < 400:
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy, key
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"


def test_text_of_a_job_is_sent_as_json(answers):
    _, headers, text = answers["viewer", "/sluice/api/job?name=counts"]
    assert headers["content-type"] == "application/json"
    assert json.loads(text)["job"]["row"]["reasons"] == [EVIL]


def test_only_the_pages_static_files_are_served(answers):
    assert answers[None, "/sluice/static/js/fleet.js"][0] == 200
    assert answers[None, "/sluice/static/../app.py"][0] in (401, 404)
    assert answers[None, "/sluice/openapi.json"][0] == 404


def test_unreachable_ledger_is_reported_without_its_password(tmp_path):
    (tmp_path / "flink_jobs").mkdir()
    gone = "postgresql+psycopg://somebody:secret@127.0.0.1:1/ledger"
    asked = Asked(tmp_path, tmp_path / "airflow", SLUICE_LEDGER=gone)
    [(status, _, text)] = asked(("viewer", "/sluice/api/fleet"))
    assert status == 503
    assert "***@127.0.0.1:1/ledger does not answer" in text
    assert "secret" not in text


def test_request_creates_no_ledger(tmp_path):
    (tmp_path / "flink_jobs").mkdir()
    [(status, _, text)] = Asked(tmp_path, tmp_path / "airflow")(("viewer", "/sluice/api/fleet"))
    assert (status, "there is no ledger yet; trigger redeploy_and_verify" in text) == (503, True)
    assert not (tmp_path / ".sluice").exists()


MANY = """
import os
import httpx
from pathlib import Path
root = Path(sys.argv[1])
headers = {"Authorization": f"Bearer {tokens['viewer']}"}

async def ask():
    given = {"transport": httpx.ASGITransport(app=outer), "base_url": "http://airflow:8080", "timeout": None}
    async with httpx.AsyncClient(headers=headers, **given) as client:
        many = [asyncio.create_task(client.get("/sluice/api/desired?name=counts")) for _ in range(60)]
        while not (root / "read").exists():
            await asyncio.sleep(0.02)
        guest = {"Authorization": f"Bearer {tokens['guest']}"}
        try:
            refused = await asyncio.wait_for(client.get("/sluice/api/desired?name=other", headers=guest), 20)
            paths = ("/sluice/api/fleet", "/sluice/api/job?name=counts")
            others = [await asyncio.wait_for(client.get(path), 20) for path in paths]
        finally:
            (root / "go_on").touch()
        answers = await asyncio.gather(*many)
        busy = [each for each in answers if each.status_code == 503]
        return {
            "refused": refused.status_code, "others": [each.status_code for each in others],
            "answers": sorted({each.status_code for each in answers}),
            "retry_after": sorted({each.headers.get("Retry-After", "-") for each in busy}),
            # A reading first imports the file for a trial, in a process of its own.
            "readings": (root / "read").read_text().splitlines().count(str(os.getpid())),
        }

print(json.dumps(asyncio.run(ask())))
"""
SLOW = """
import os
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
with (ROOT / "read").open("a") as log:
    print(os.getppid(), file=log)
while not (ROOT / "go_on").exists():
    time.sleep(0.05)
"""


def test_slow_job_files_do_not_hold_up_other_requests(tmp_path):
    past = Past(tmp_path / "project")
    past.deploy("counts", JOB)
    past.deploy("other")
    (past.root / "flink_jobs" / "counts.py").write_text(SLOW + JOB)
    (past.root / "deployments").mkdir(exist_ok=True)
    (past.root / "deployments" / "test.yaml").write_text(
        "kafka: {config: {bootstrap.servers: 'nowhere:1'}}\nflink: {url: 'http://nowhere:1'}\n"
    )
    variables = {
        "SLUICE_ROOT": str(past.root),
        "SLUICE_LEDGER": past.url,
        "SLUICE_ENVIRONMENT": "test",
        "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64,
    }
    done = run_fresh_script(SCRIPT + MANY, tmp_path / "airflow", str(past.root), **variables)
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["refused"], found["others"]) == (403, [200, 200]), found
    assert found["readings"] == 1, found
    # On a slow machine some are asked to come again.
    assert found["answers"] in ([200], [200, 503], [503]), found
    assert found["retry_after"] in ([], ["2"]), found
