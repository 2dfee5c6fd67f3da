"""Operations in a process of their own that dies, as by SIGKILL, at a journal write."""

import os
import subprocess
import sys
from pathlib import Path

from sluice.operation.run import run_operation
from sluice.plan.request import Request
from sluice.project import Project
from sluice.release.handle import OperationHandle
from sluice.settings import Settings
from tests.support.stacks import ROOT

_DIED = 9


def die(lab, job, kind, at):
    """Run an operation until right after its n-th journal write; whether it came that far."""
    lib = lab.local.home / "flink" / "lib"
    command = [sys.executable, "-m", "tests.support.dying", str(lab.root), str(lib), job, kind, str(at)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode in (0, 1, _DIED), done.stderr
    return done.returncode == _DIED


def main(root, lib, job, kind, at):
    seen = 0

    def dying(write):
        def writes_and_dies(self, *args, **kwargs):
            nonlocal seen
            seen += 1
            write(self, *args, **kwargs)
            if seen == int(at):
                os._exit(_DIED)

        return writes_and_dies

    for name in ("record", "update", "add_savepoint", "finish"):
        setattr(OperationHandle, name, dying(getattr(OperationHandle, name)))
    settings = Settings(
        root=Path(root),
        home=Path(root) / ".sluice",
        environment="test",
        flink_lib=Path(lib),
        client_cache=ROOT / ".sluice" / "client",
    )
    overrides = {"least": int(at) % 2 + 1} if kind == "deploy" else {}
    result = run_operation(Project(settings), job, Request(kind=kind, overrides=overrides), "test", print)
    return 0 if result.error is None else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
