"""Which tests run in the same worker, and in which order they are started.

Integration and end-to-end tests may be run together: what waits for Airflow leaves time for what compiles.
"""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

WORKS_ON = {
    "test_main_job.py": "event_metrics",
    "test_page.py": "event_metrics",
    "test_operators.py": "event_metrics",
    "test_assets.py": "event_metrics",
    "test_page_by_hand.py": "processing_metrics",
    "test_approvals.py": "processing_metrics",
    "test_replays.py": "counted",
    "test_kills.py": "performance_metrics",
    "test_job_files.py": "performance_metrics",
    "test_connection.py": "guarded",
    "test_sweeps.py": "all jobs",
    "test_page_look.py": "a ledger of its own",
}
"""What the end-to-end tests of each file change; the files are started in this order."""
_TOGETHER = (
    "test_ledger_postgres.py",
    "test_page_routes.py",
    "test_databases.py",
    "test_access.py",
    "test_client_gateway.py",
    "test_client_start.py",
    "test_other_cluster.py",
    "test_reasons.py",
    "test_schema.py",
)
"""Integration tests whose file has something that takes long to start; the others are spread one by one."""
_BEGIN = ("event_metrics", "processing_metrics")
"""The jobs of the end-to-end tests that two workers begin with."""
_BESIDE = ("test_failing_upgrades.py",)
"""Integration tests for the other workers to begin with: they take as long as the stack takes to start."""
_EXCLUSIVE = "all jobs"
"""The tests that need the stack for themselves: they start once the other end-to-end tests have ended."""
_LONG = (
    *("test_replay_deaths.py", "test_sweep.py", "test_secrets.py", "test_replay.py", "test_audit.py"),
    *("test_main_jobs.py", "test_docs.py"),
)
"""Other integration tests that take long, so that none of them is the last one."""


class ByJobs(LoadScopeScheduling):
    """Sends end-to-end tests that change the same jobs to the same worker, and integration tests to any."""

    def _split_scope(self, nodeid: str) -> str:
        directory, file = _place(nodeid)
        if directory == "e2e":
            return WORKS_ON[file]
        return file if file in _TOGETHER else nodeid

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Assign the next scope. The exclusive one is assigned once it can run: its worker would wait until then."""
        if self._uses_stack():
            if _EXCLUSIVE in self.workqueue:
                self.workqueue.move_to_end(_EXCLUSIVE)
        elif _EXCLUSIVE in self.workqueue:
            self.workqueue.move_to_end(_EXCLUSIVE, last=False)
        super()._assign_work_unit(node)

    def _uses_stack(self) -> bool:
        """Whether end-to-end tests are waiting or running that others may run beside."""
        units = [self.workqueue, *self.assigned_work.values()]
        return any(
            scope in WORKS_ON.values() and scope != _EXCLUSIVE and not all(unit.values())
            for scopes in units
            for scope, unit in scopes.items()
        )


def position(nodeid: str) -> tuple[int, int]:
    """The key by which tests are sorted.

    End-to-end tests come early: the last of them need the stack for themselves, and other workers go on with
    integration tests then.
    """
    directory, file = _place(nodeid)
    if directory == "e2e":
        return (0 if WORKS_ON[file] in _BEGIN else 2), list(WORKS_ON).index(file)
    if file in _BESIDE:
        return 1, _BESIDE.index(file)
    return (3, _LONG.index(file)) if file in _LONG else (4, 0)


def _place(nodeid: str) -> tuple[str, str]:
    """The names of a test's directory and file."""
    *_, directory, file = nodeid.partition("::")[0].split("/")
    return directory, file
