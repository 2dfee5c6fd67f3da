"""What the sweep does on a real cluster to a release that has gone bad after its gates."""

from sluice.fleet.needs import find_needs
from sluice.fleet.status import sweep_and_record
from sluice.operation.run import run_operation
from sluice.plan.request import Request
from tests.support.running import deploy, wait_for
from tests.support.windowed import alive, base, close_windows, produce, source, start_with_state

JOB = "spoils"
FAILS_ON_BAD = "AND 1 / (CHAR_LENGTH(id) - CHAR_LENGTH('bad')) < 9"
OPTIONS = f"""
jobs:
  {JOB}:
    health: {{restarts: 1}}
    flink: {{restart-strategy.type: fixed-delay, restart-strategy.fixed-delay.attempts: 1000,
             restart-strategy.fixed-delay.delay: 200 ms}}
"""


def run(lab, name):
    """A sweep as of redeploy_and_verify: the job's row, and what it needs."""
    project = lab.project
    rows = [found.status for found in sweep_and_record(project, name)]
    [needed] = find_needs(project, rows, print)
    return rows[0], needed


def test_a_fresh_release_that_fails_by_its_own_code_goes_back_with_its_state(lab):
    lab.deployment(OPTIONS)
    first = start_with_state(lab, JOB)
    lab.job(JOB, source(JOB, where=FAILS_ON_BAD))
    second = deploy(lab.project, JOB)
    assert (first.release, second.release) == (1, 2)
    row, needed = run(lab, "before")
    assert (row.verdict, row.own_fault, needed.decision.need) == ("idle", False, "nothing")

    produce(lab, JOB, ("bad", base() + 4))
    numbers = iter(range(100))
    row, needed = wait_for(lambda: next((seen for seen in [run(lab, f"r{next(numbers)}")] if seen[0].own_fault), None))
    assert row.verdict == "failed"
    assert needed.decision.why.startswith("seen failed for the first time")
    _, needed = run(lab, "again")
    assert needed.decision.need == "roll_back", needed.words
    assert needed.request == Request(kind="rollback", mode="last-state", seen=2)

    result = run_operation(lab.project, JOB, needed.request, "test", print, note=needed.words)
    assert (result.outcome, result.release) == ("healthy", 1)
    assert alive(lab, JOB) == [result.flink_job_id]
    assert close_windows(lab, JOB) == [3]
    # What went bad is what is desired, and is not deployed again by itself.
    row, needed = run(lab, "after")
    assert (row.release, row.drift, needed.decision.need) == (1, True, "nothing")
    assert "which was rolled back: to release 1" in needed.decision.why
