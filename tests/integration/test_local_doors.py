"""Who gets at the local stack: what a web page can do with the cluster's REST API, and who reads the stack's files."""

import stat

import httpx
import pytest

FOREIGN = {"Origin": "https://elsewhere.example"}


@pytest.fixture(scope="module")
def rest(local):
    with httpx.Client(base_url=local.flink_url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("path", ["/overview", "/jobs", "/nowhere"])
def test_a_foreign_origin_is_not_allowed_to_read_answers(rest, path):
    answer = rest.get(path, headers=FOREIGN)
    assert answer.headers.get("Access-Control-Allow-Origin") not in ("*", "null", FOREIGN["Origin"])


def test_the_cluster_takes_no_uploaded_jars(rest):
    upload = {"jarfile": ("job.jar", b"PK", "application/x-java-archive")}
    assert rest.post("/jars/upload", files=upload).is_error
    assert rest.get("/jars").status_code == 404


def test_only_the_user_gets_into_the_stacks_home(local):
    assert stat.S_IMODE(local.home.stat().st_mode) == 0o700
