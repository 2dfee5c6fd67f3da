"""A first deploy, from the start of the command to all tasks running: `sluice deploy` against `flink run -d`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import by_hand
from benchmarks.report import against, report
from benchmarks.stack import measuring_stack
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.layout import Local
from sluice.operation.topics import create_topics
from sluice.operation.verify import last_running
from sluice.project import Project
from sluice.settings import Settings
from tests.support.stacks import ROOT

RUNS = int(os.environ.get("SLUICE_BENCH_RUNS", "5"))
JOB = "event_metrics"


def main() -> None:
    """Measure both in turn, print and write the results."""
    with measuring_stack() as (stack, directory):
        local, project = stack.local, directory / "project"
        for name in ("flink_jobs", "deployments"):
            shutil.copytree(ROOT / name, project / name)
        variables = {**os.environ, **local.variables, "SLUICE_ROOT": str(project), "SLUICE_HOME": str(project / "home")}
        os.environ.update(variables)
        create_topics(Project(Settings(root=project, home=project / "home")), JOB)
        script = directory / "by_hand.py"
        script.write_text(by_hand.script(ROOT, JOB, local.kafka_servers), encoding="utf-8")
        ours, theirs = [], []
        for turn in range(RUNS):
            for kind in ("sluice", "flink") if turn % 2 else ("flink", "sluice"):
                with stack.step(f"{kind}, {turn + 1} of {RUNS}"):
                    shutil.rmtree(project / "home", ignore_errors=True)
                    taken = seconds(local, command(kind, local, script), variables)
                    (ours if kind == "sluice" else theirs).append(taken)
    report("first_deploy", [against("sluice deploy to all tasks running", ours, "s", "flink run -d", theirs)])


def command(kind: str, local: Local, script: Path) -> list[str]:
    """The measured command."""
    if kind == "sluice":
        return [str(Path(sys.executable).parent / "sluice"), "deploy", JOB]
    return by_hand.flink(local, "run", "-d", "-pyclientexec", sys.executable, "-py", str(script))


def seconds(local: Local, words: list[str], variables: dict[str, str]) -> float:
    """Seconds from the start of the command until the last task runs, by the cluster's clock; then cancel the job."""
    begun = time.time()
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**variables, **by_hand.variables(local)}
    )
    if done.returncode:
        raise SystemExit(f"{words}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    with FlinkClient(local.flink_url) as flink:
        job = next(job for job in flink.send(calls.jobs()).jobs if not job.state.is_terminal)
        running = None
        while running is None:
            time.sleep(0.5)
            running = last_running(flink, job.id)
        flink.send(calls.cancel(job.id))
        while not flink.send(calls.status(job.id)).status.is_terminal:
            time.sleep(0.2)
    return running / 1000 - begun


if __name__ == "__main__":
    main()
