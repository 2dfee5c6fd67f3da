"""The next attempt continues an operation whose process died at a journal write.

Two writes of a deploy are tried with the other tests; `make audit` tries every one of every kind of operation, before
and after it.
"""

import itertools
import os

import pytest

from tests.support.dying import die, request_of
from tests.support.running import deploy, operate
from tests.support.windowed import alive, close_windows, source, start_with_state

EVERY_WRITE = "SLUICE_AUDIT_DEATHS" in os.environ
# Stopped, and the journal doesn't say so; submitted, and the journal doesn't say so.
FEW = {"deploy": ((3, "before"), (6, "after"))}
KINDS = ("deploy", "back", "back_stateless", "rollback", "suspend", "resume")
FIRST = {"back": 9, "back_stateless": 9}
"""The write with which going back begins: the deploy before is tried by itself."""
LEAST = (2, 1)
"""Settings that are deployed in turn: the length of the shortest id that counts. The last one counts `a`."""
RUNS = ("healthy", "unchanged")
ENDS = {"deploy": RUNS, "rollback": RUNS, "suspend": ("suspended",), "resume": RUNS}
ENDS |= dict.fromkeys(FIRST, ("rolled_back",))


@pytest.mark.parametrize("kind", KINDS if EVERY_WRITE else FEW)
def test_next_process_continues_after_a_death_at_any_write(lab, kind):
    name = f"dies_{kind}"
    if EVERY_WRITE:
        lab.use_own_clients()
    start_with_state(lab, name)
    tried = survived = 0
    for turn, (at, when) in enumerate(every_write(kind) if EVERY_WRITE else FEW[kind]):
        prepare(lab, name, kind)
        # Another one each time: what is deployed already ends at once.
        least = LEAST[turn % 2] if kind == "deploy" else None
        if not die(lab, name, kind, at, when, least):
            assert EVERY_WRITE, f"{kind} writes fewer than {at} times"
            break
        tried += 1
        outcome, runs = go_on(lab, name, kind, least)
        if is_right := outcome in ENDS[kind] and alive(lab, name) == ([] if kind == "suspend" else [runs]):
            survived += 1
        print(f"{kind}, {when} write {at}: {outcome}, {'as' if is_right else 'NOT as'} it should be")
    print(f"{kind}: tried {tried}, survived {survived}")
    assert survived == tried
    if kind == "back_stateless":
        assert [operation.id for operation in lab.project.ledger.operations(name, 200) if takes_state(operation)] == []
    if kind == "suspend":
        deploy(lab.project, name, kind="resume")
    if kind in ("deploy", "rollback"):
        deploy(lab.project, name, overrides={"least": LEAST[1]})
    assert close_windows(lab, name) == [3]


def every_write(kind):
    return ((at, when) for at in itertools.count(FIRST.get(kind, 1)) for when in ("before", "after"))


def prepare(lab, name, kind):
    """What the operation needs to find."""
    ledger = lab.project.ledger
    if kind == "back":
        # Its state is of another type: it fails at the restore.
        lab.job(name, source(name, count="CAST(CHAR_LENGTH(MAX(id)) AS BIGINT)"))
    if kind == "back_stateless":
        # It fails wherever its state is to be put.
        lab.deployment(f"jobs: {{{name}: {{flink: {{execution.checkpointing.dir: 'file:///proc/nowhere'}}}}}}")
    if kind == "rollback":
        # Another one than what runs, which is what is gone back to.
        runs = ledger.release(name, ledger.placement(name).release).overrides.get("least")
        assert deploy(lab.project, name, overrides={"least": LEAST[runs == LEAST[0]]}).outcome == "healthy"
    if kind == "resume":
        deploy(lab.project, name, kind="suspend")
    if kind == "suspend" and not alive(lab, name):
        deploy(lab.project, name, kind="resume")


def takes_state(operation):
    """Whether a release of windows of another length was to be started from state."""
    starts = [stage["source"] for stage in operation.plan["stages"] if stage["stage"] == "start"]
    return starts in (["stopped"], ["checkpoint"])


def go_on(lab, name, kind, least):
    """The outcome of the next attempt at the same, and the Flink job that it leaves."""
    operation = lab.project.ledger.operations(name)[0]
    if operation.outcome is not None:
        # It had ended before it died.
        return operation.outcome, operation.flink_job_id
    asked, approved = request_of(kind, least)
    result = operate(lab.project, name, approved=approved, **asked)
    print(result.error or "")
    if kind == "rollback":
        assert result.release == operation.release
    return result.outcome, result.flink_job_id
