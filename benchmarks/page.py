"""The fleet page with 1,000 jobs and seven days of samples, by a real Airflow API server and a real browser.

The ledger, on SQLite, has about a million samples (see seed.py); the server knows the DAGs of all jobs, so that
permissions are checked as usual. The server time is that of a whole request over the loopback, including compression;
its baseline is Airflow's own list of DAGs from the same server. A browser with a warm cache opens the page alone, and
in Airflow's frame: by its address and by Airflow's navigation.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx

from benchmarks.report import Measure, against, report
from benchmarks.seed import seed
from tests.support.api_server import AIRFLOW, api_server, token

JOBS = int(os.environ.get("SLUICE_BENCH_JOBS", "1000"))
DAYS = float(os.environ.get("SLUICE_BENCH_DAYS", "7"))
RUNS = int(os.environ.get("SLUICE_BENCH_RUNS", "21"))
LOOKS = int(os.environ.get("SLUICE_BENCH_LOOKS", "11"))
"""How often the browser opens each page."""
FLEET = "#fleet tbody tr"
DAGS = "[data-testid='dag-id'], a[href*='/dags/deploy']"
OWN = "/ui/dags?limit=50"
T = TypeVar("T")
ENTER = """
import sys
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
with create_session() as session:
    session.add(DagBundleModel(name="dags-folder"))
    session.flush()
    names = [f"{kind}.job_{number:04}" for kind in ("deploy", "backfill") for number in range(int(sys.argv[1]))]
    given = {"bundle_name": "dags-folder", "fileloc": "/dags/a.py", "relative_fileloc": "a.py", "owners": "sluice"}
    for name in [*names, "redeploy_and_verify"]:
        session.add(DagModel(dag_id=name, is_stale=False, is_paused=False, **given))
"""


def prepare(directory: Path, jobs: int, days: float) -> dict[str, str]:
    """Write a seeded project and Airflow's database with its DAGs; the environment variables for both."""
    root, home = directory / "project", directory / "airflow"
    root.mkdir()
    home.mkdir()
    print(f"{seed(root, jobs, days):,} samples", file=sys.stderr)
    variables = {
        "SLUICE_ROOT": str(root),
        "SLUICE_HOME": str(root / ".sluice"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(directory / "no-dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }
    enter = [sys.executable, "-W", "ignore", "-c", ENTER, str(jobs)]
    for command in ([str(AIRFLOW), "db", "migrate"], enter):
        subprocess.run(command, env={**os.environ, **variables}, check=True, stdout=subprocess.DEVNULL)
    return variables


def main() -> None:
    """Measure, print and write the results."""
    with tempfile.TemporaryDirectory() as directory:
        variables = prepare(Path(directory), JOBS, DAYS)
        with api_server(Path(directory) / "server", variables) as url:
            report("page", [*measure_server(url), *measure_browser(url)])


def measure_server(url: str) -> list[Measure]:
    """Milliseconds and bytes of each request."""
    now = datetime.now(UTC)
    week, day = ((now - timedelta(days=days)).isoformat().replace("+00:00", "Z") for days in (7, 1))
    requests = {
        "all jobs": "/sluice/api/fleet",
        "their curves": "/sluice/api/curves",
        "one job": "/sluice/api/job?name=job_0011",
        "its timelines of 24 h": f"/sluice/api/timeline?name=job_0011&since={day}",
        "its timelines of 7 d": f"/sluice/api/timeline?name=job_0011&since={week}",
        "a diff of two releases": "/sluice/api/difference?name=job_0011&old=1&new=2",
    }
    rows: list[Measure] = []
    headers = {"Authorization": f"Bearer {token(url, 'viewer')}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        size = f"{JOBS:,} jobs"
        for name, path in requests.items():
            own, base = in_turn(lambda path=path: get(client, path), lambda: get(client, OWN))
            rows.append(against(f"{name}, {size}", own, "ms", "Airflow's list of 50 DAGs", base))
            rows.append(payload(client, f"{name}, {size}", path))
        known = client.get(requests["all jobs"])
        tag = {"If-None-Match": known.headers["ETag"]}
        again, first = in_turn(
            lambda: get(client, requests["all jobs"], tag, 304), lambda: get(client, requests["all jobs"])
        )
        rows.append(against(f"all jobs, unchanged, {size}", again, "ms", "the whole answer", first))
    return rows


def get(client: httpx.Client, path: str, headers: dict[str, str] | None = None, status: int = 200) -> float:
    began = time.perf_counter()
    answer = client.get(path, headers=headers)
    taken = (time.perf_counter() - began) * 1000
    assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
    return taken


def payload(client: httpx.Client, name: str, path: str) -> Measure:
    """KiB of the response as sent, against those of its JSON."""
    with client.stream("GET", path) as answer:
        sent = sum(len(chunk) for chunk in answer.iter_raw())
    whole = len(client.get(path).content)
    return against(f"payload of {name}", [sent / 1024], "KiB", "not compressed", [whole / 1024])


def in_turn(first: Callable[[], T], second: Callable[[], T], runs: int = RUNS) -> tuple[list[T], list[T]]:
    """Measure both in turn, so that both see the same load; the first call of each is a warm-up."""
    first(), second()
    pairs = [(first(), second()) for _ in range(runs)]
    return [one for one, _ in pairs], [two for _, two in pairs]


def measure_browser(url: str) -> list[Measure]:
    """Milliseconds until Chromium's first paint of the page, and until its first rows are shown."""
    from benchmarks.painting import Rows, by_address, by_entry
    from tests.support.browser import chromium

    alone, framed = Rows(FLEET), Rows(FLEET, framed=True)
    dags, size = Rows(DAGS), f"{JOBS:,} jobs"
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": "_token", "value": token(url, "admin"), "url": url}])

        def own(path: str, rows: Rows) -> Callable[[], tuple[float, float]]:
            return lambda: by_address(context, f"{url}{path}", rows)

        def entry(name: str, rows: Rows) -> Callable[[], tuple[float, float]]:
            return lambda: by_entry(context, url, name, rows)

        return [
            *seen(f"of the page of {size}", own("/sluice/", alone), own("/dags", dags), "Airflow's page of DAGs"),
            *seen(
                f"of it in Airflow's frame, by its address, {size}",
                own("/plugin/fleet", framed),
                own("/dags", dags),
                "Airflow's page of DAGs",
            ),
            *seen(
                f"of it in Airflow's frame, by the navigation, {size}",
                entry("Fleet", framed),
                entry("Dags", dags),
                "first rows of Airflow's page of DAGs, by the navigation",
            ),
        ]


def seen(
    words: str,
    first: Callable[[], tuple[float, float]],
    second: Callable[[], tuple[float, float]],
    baseline: str,
) -> list[Measure]:
    """The first paint of both pages, and the time until their first rows are shown."""
    mine, theirs = in_turn(first, second, LOOKS)
    return [
        against(f"{what} {words}", [each[place] for each in mine], "ms", baseline, [each[place] for each in theirs])
        for place, what in enumerate(("first paint", "first rows"))
    ]


if __name__ == "__main__":
    main()
