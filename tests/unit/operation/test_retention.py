"""Which savepoints are kept."""

from datetime import UTC, datetime

from sluice.operation.retention import superfluous
from sluice.release.tables import Savepoint


def savepoint(number, *, deleted=False):
    return Savepoint(
        id=number, path=f"file:/{number}", release=number, deleted_at=datetime.now(UTC) if deleted else None
    )


def test_the_newest_stay():
    assert superfluous([savepoint(3), savepoint(2), savepoint(1)], [], kept=3) == []


def test_older_ones_go_unless_something_needs_them():
    found = superfluous([savepoint(n) for n in (5, 4, 3, 2, 1)], ["file:/2", None], kept=2)
    assert [item.path for item in found] == ["file:/3", "file:/1"]


def test_what_was_deleted_neither_counts_nor_goes_again():
    found = superfluous(
        [savepoint(4, deleted=True), savepoint(3), savepoint(2), savepoint(1, deleted=True)], [], kept=1
    )
    assert [item.path for item in found] == ["file:/2"]
