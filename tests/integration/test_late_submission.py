"""A submission that a proxy delays until after its timeout does not make a job run twice, on a real cluster."""

import threading

import pytest

from sluice.flink import calls
from sluice.flink.access import Access, Tls
from sluice.flink.client import FlinkClient
from sluice.operation.run import run_operation
from sluice.plan.request import DeployRequest
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.state.locate import running_release
from tests.integration import sources
from tests.support.proxy import proxy_before
from tests.support.repeating import Repeating
from tests.support.running import deploy
from tests.support.waiting import wait_for

NAME = "submitted_late"
FILTERED = sources.SQL.replace("FROM lines", "FROM lines WHERE id <> 'x'")


class Watch(Repeating):
    """Whether two jobs of the name run at any moment."""

    def __init__(self, url):
        super().__init__(0.05)
        self.flink, self.twice = FlinkClient(url), []

    def __exit__(self, *_):
        super().__exit__()
        self.flink.close()

    def step(self):
        alive = alive_of(self.flink)
        self.twice += [alive] if len(alive) > 1 else []


def alive_of(flink):
    return [job.id for job in flink.send(calls.jobs()).jobs if job.name == NAME and not job.state.is_terminal]


class Holding:
    """Holds the first submission back that comes through a proxy."""

    def __init__(self, proxy, *, until_the_second):
        self.proxy, self.until_the_second = proxy, until_the_second
        self.submissions, self.let_go = 0, threading.Event()
        proxy.before = self

    def __call__(self, method, path):
        if method != "POST" or not path.endswith("/jobs"):
            return
        self.submissions += 1
        if self.submissions == 1:
            self.let_go.wait(120)
        elif self.submissions == 2 and self.until_the_second:
            self.release()

    def release(self):
        """Let the first one through, and wait until Flink has answered it."""
        before = len(self.answers())
        self.let_go.set()
        wait_for(lambda: len(self.answers()) > before)

    def answers(self):
        return [each for each in self.proxy.answered if each[0] == "POST" and each[1].endswith("/jobs")]


@pytest.mark.parametrize("until_the_second", [True, False], ids=["before-the-former-release", "after-it"])
def test_submission_that_arrives_during_a_rollback_starts_no_second_job(lab, tmp_path, until_the_second):
    lab.job(NAME, sources.source(NAME, sources.SQL))
    deploy(lab.project, NAME)
    lab.use_own_clients()
    lab.job(NAME, sources.source(NAME, FILTERED))
    with proxy_before(tmp_path / "proxy", lab.local.flink_url) as proxy, Watch(lab.local.flink_url) as watch:
        access = Access(f"https://127.0.0.1:{proxy.port}", tls=Tls(ca_bundle=str(proxy.ca)))
        project = Project(lab.project.settings, flink=access)
        holding = Holding(proxy, until_the_second=until_the_second)
        compiler = Compiler(project, NAME, print, submit_timeout=5)
        result = run_operation(project, NAME, DeployRequest(), "test", print, compiler=compiler)
        assert result.outcome == "rolled_back", result.error
        if not until_the_second:
            holding.release()
            [(*_, status, body)] = holding.answers()[1:]
            assert (status, b"already been submitted" in body) == (500, True)
        with FlinkClient(lab.local.flink_url) as flink:
            assert alive_of(flink) == [result.flink_job_id]
            assert running_release(flink, result.flink_job_id) == project.ledger.placement(NAME).release == 1
    assert watch.twice == []
