"""Operations in a process of their own that dies, as by SIGKILL, at a journal write."""

import os
import subprocess
import sys
from pathlib import Path

from sluice.operation.holder import shell_holder
from sluice.operation.run import run_operation
from sluice.plan.request import DeployRequest
from sluice.project import Project
from sluice.settings import Settings
from tests.simulator.ledger import HookedLedger
from tests.support.stacks import ROOT

_DIED = 9


def die(lab, job, kind, at, when, least=None):
    """Run an operation until its n-th journal write; whether it came that far.

    Args:
        lab: Whose project.
        job: The job's name.
        kind: What is done; `back`: a deploy of a release that does not hold; `back_stateless`: likewise, of one that
            abandons the state.
        at: The number of the write.
        when: `before` it, so after the effect that it records, or `after` it.
        least: The setting that is given with it; None: none.
    """
    lib = lab.local.home / "flink" / "lib"
    command = [sys.executable, "-m", "tests.support.dying", str(lab.root), str(lib), job, kind, str(at), when]
    command += [] if least is None else [str(least)]
    variables = {**os.environ, "SLUICE_CLIENT_PYTHON": str(lab.client_python)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=variables)
    assert done.returncode in (0, 1, _DIED), done.stderr
    return done.returncode == _DIED


def request_of(kind, least=None):
    """The fields of the request of an operation of this kind, and whether it is approved."""
    if kind == "back_stateless":
        return {"overrides": {"hours": 2}}, True
    asked = {"kind": "deploy" if kind == "back" else kind, "overrides": {} if least is None else {"least": least}}
    # What is gone back from computes something else.
    return asked, kind == "back"


def main(root, lib, job, kind, at, when, least=None):
    settings = Settings(
        root=Path(root),
        home=Path(root) / ".sluice",
        environment="test",
        flink_lib=Path(lib),
        client_cache=ROOT / ".sluice" / "client",
    )
    project = Project(settings)
    project.ledger = HookedLedger(settings.ledger, settings.environment)
    asked, approved = request_of(kind, None if least is None else int(least))
    # The next attempt is the same holder's, or takes over from one that is gone.
    holder = "test" if int(at) % 2 else shell_holder()
    with project.ledger.at_write(when, int(at), lambda: os._exit(_DIED)):
        result = run_operation(project, job, DeployRequest(**asked, allow_state_loss=approved), holder, print)
    return 0 if result.error is None else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
