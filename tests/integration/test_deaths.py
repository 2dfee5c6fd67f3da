"""An operation whose process dies at a journal write is gone on with by the next attempt.

A few writes are tried with the other tests; `make audit` tries every one of every kind of operation.
"""

import itertools
import os

import pytest

from tests.support.dying import die
from tests.support.running import deploy
from tests.support.windowed import alive, close_windows, start_with_state

EVERY_WRITE = "SLUICE_AUDIT_DEATHS" in os.environ
# About to stop; stopped, with nothing said of it yet; about to submit.
FEW = {"deploy": (2, 3, 6), "rollback": (6,), "suspend": (2,), "resume": (2,)}


@pytest.mark.parametrize("kind", FEW)
def test_what_dies_is_gone_on_with(lab, kind):
    name = f"dies_{kind}"
    start_with_state(lab, name)
    tried = 0
    for at in itertools.count(1) if EVERY_WRITE else FEW[kind]:
        prepare(lab, name, kind, at)
        if not die(lab, name, kind, at):
            assert EVERY_WRITE, f"{kind} writes fewer than {at} times"
            break
        tried += 1
        result = go_on(lab, name, kind, at)
        assert alive(lab, name) == ([] if kind == "suspend" else [result.flink_job_id])
    print(f"{kind}: tried {tried}, survived {tried}")
    if kind == "suspend":
        deploy(lab.project, name, kind="resume")
    assert close_windows(lab, name) == [3]


def prepare(lab, name, kind, at):
    """What the operation needs to find."""
    if kind == "rollback":
        assert deploy(lab.project, name, overrides={"least": at % 2 + 1}).outcome == "healthy"
    if kind == "resume":
        deploy(lab.project, name, kind="suspend")
    if kind == "suspend" and not alive(lab, name):
        deploy(lab.project, name, kind="resume")


def go_on(lab, name, kind, at):
    """The next attempt at the same."""
    operation = lab.project.ledger.operations(name)[0]
    if operation.outcome is not None:
        # It had ended before it died.
        return operation
    overrides = {"least": at % 2 + 1} if kind == "deploy" else {}
    result = deploy(lab.project, name, kind=kind, overrides=overrides)
    assert result.outcome == ("suspended" if kind == "suspend" else result.outcome)
    if kind == "rollback":
        assert result.release == operation.release
    return result
