"""The savepoints to keep, and the deletion of the rest."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx

from sluice.flink.client import FlinkClient
from sluice.ledger.tables import Savepoint
from sluice.operation import retention
from sluice.operation.retention import superfluous
from tests.simulator.clock import SimulatedClock
from tests.support.answering import answered_by


def savepoint(number, *, deleted=False):
    return Savepoint(
        id=number, path=f"file:/{number}", release=number, deleted_at=datetime.now(UTC) if deleted else None
    )


def test_newest_savepoints_are_kept():
    assert superfluous([savepoint(3), savepoint(2), savepoint(1)], [], kept=3) == []


def test_older_savepoints_are_deleted_unless_they_are_needed():
    found = superfluous([savepoint(n) for n in (5, 4, 3, 2, 1)], ["file:/2", None], kept=2)
    assert [item.path for item in found] == ["file:/3", "file:/1"]


def test_deleted_savepoints_are_neither_counted_nor_deleted_again():
    found = superfluous(
        [savepoint(4, deleted=True), savepoint(3), savepoint(2), savepoint(1, deleted=True)], [], kept=1
    )
    assert [item.path for item in found] == ["file:/2"]


def thinned(*answers):
    """The recorded deletions and the log, with these answers of the cluster to the requests for a deletion's result."""
    deleted, log, left = [], [], list(answers)
    ledger = SimpleNamespace(
        placement=lambda _job: None,
        releases=lambda _job: [],
        savepoints=lambda _job: [savepoint(number) for number in range(retention.KEPT + 1, 0, -1)],
        savepoint_deleted=deleted.append,
    )

    def answer(request):
        if request.method == "POST":
            assert json.loads(request.content) == {"savepoint-path": "file:/1"}
            return httpx.Response(202, json={"request-id": "t"})
        assert request.url.path == "/savepoint-disposal/t"
        return httpx.Response(200, json=left.pop(0))

    flink = FlinkClient("http://flink", exchange=answered_by(answer), clock=SimulatedClock())
    retention.thin(SimpleNamespace(ledger=ledger), flink, "counts", log.append)
    assert not left
    return deleted, log


def test_savepoint_is_recorded_as_deleted_once_the_cluster_confirms_it():
    waiting, done = ({"status": {"id": status}, "operation": {}} for status in ("IN_PROGRESS", "COMPLETED"))
    assert thinned(waiting, waiting, done) == ([1], ["deleted savepoint file:/1"])


def test_failed_deletion_is_logged_and_left_for_the_next_operation():
    cause = {"class": "java.io.IOException", "stack-trace": "java.io.IOException: no permission"}
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": cause}}
    deleted, log = thinned(failed)
    assert deleted == []
    assert log == ["savepoint file:/1 is not deleted yet: java.io.IOException: no permission"]
