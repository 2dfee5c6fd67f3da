"""The ledger: releases are numbered, one operation per job, a stale holder can't write."""

import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, false, inspect, select, text, update

from sluice.errors import BusyError, ConfigError, OperationError
from sluice.ledger.ledger import Ledger
from sluice.ledger.tables import Base, Operation, Release
from tests.support.ledgers import somebody_writes
from tests.support.placing import Columns


@pytest.fixture
def ledger(url):
    return Ledger(url, "test")


def release(ledger, fingerprint="f1", job="counts"):
    return ledger.add_release(job, fingerprint=fingerprint, artifact="a", module="m", resolved={"x": 1})


def begin(ledger, holder="me", number=1, **more):
    return ledger.begin("counts", kind="deploy", holder=holder, release=number, **more)


def test_releases_are_numbered_per_job_without_duplicates(ledger):
    numbers = [release(ledger, f).number for f in ("f1", "f1", "f2", "f1")]
    assert numbers == [1, 1, 2, 3]
    assert release(ledger, job="other").number == 1
    assert ledger.release("counts", 2).fingerprint == "f2"
    with pytest.raises(OperationError, match="no release 9"):
        ledger.release("counts", 9)


class EarlierReading(Ledger):
    """A ledger that has read the releases before there were any."""

    def _releases(self, _job):
        return select(Release).where(false())


def test_concurrent_release_entry_is_refused(ledger, url):
    release(ledger)
    with pytest.raises(BusyError, match="counts: another operation has just begun"):
        release(EarlierReading(url, "test"), "f2")


def test_second_operation_is_refused_and_names_the_holder(ledger):
    begin(ledger)
    with pytest.raises(BusyError, match="deploy by me has been in progress since"):
        begin(ledger, holder="you")
    ledger.begin("other", kind="deploy", holder="you", release=1)


def test_same_holder_continues_and_its_former_token_is_refused(ledger):
    former = begin(ledger)
    former.record("prepare", "begin", pid=7)
    now = begin(ledger)
    assert now.id == former.id
    assert now.entry("prepare", "begin") == {"pid": 7}
    with pytest.raises(BusyError, match="was taken over by another process"):
        former.record("submit", "submitted")
    now.record("submit", "submitted")


def test_operation_with_expired_lease_or_ended_holder_is_abandoned(ledger, url):
    first = begin(ledger)
    second = begin(ledger, holder="you", is_gone=lambda holder: holder == "me")
    with pytest.raises(BusyError):
        first.record("x", "y")
    with create_engine(url).begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(Operation).where(Operation.id == second.id).values(lease_until=past))
    begin(ledger, holder="they")
    assert [row.outcome for row in ledger.operations("counts")] == [None, "abandoned", "abandoned"]


def touch(operation):
    operation.record("stop", "stop", transition=Columns({"phase": "stopping", "release": 1, "flink_job_id": "a" * 32}))


def test_holder_can_not_begin_a_second_operation_on_the_job(ledger):
    release(ledger)
    release(ledger, "f2")
    first = begin(ledger)
    with pytest.raises(
        BusyError, match="counts: me has had another operation in progress since .*: deploy of release 1; continue"
    ):
        ledger.begin("counts", kind="savepoint", holder="me", release=1)
    # The operation had no effect yet, and the files have changed.
    second = begin(ledger, number=2)
    with pytest.raises(BusyError):
        touch(first)
    touch(second)
    with pytest.raises(BusyError, match="me has had another operation in progress since .*: deploy of release 2"):
        begin(ledger, number=1)
    second.record("stop", "stopped")
    # An operation that has had effects is continued.
    assert begin(ledger, number=2).id == second.id


def test_approval_is_used_by_its_operation_and_by_any_later_one(ledger):
    release(ledger)
    long_ago, at = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)
    begin(ledger).finish("healthy")
    assert ledger.has_used("counts", "me", long_ago)
    assert not ledger.has_used("counts", "you", long_ago)
    later = datetime.now(UTC) + timedelta(hours=1)
    operation = begin(ledger, details={"approved_by": "ann", "approved_at": later})
    assert not ledger.has_used("counts", "me", later)
    operation.finish("failed")
    assert ledger.has_used("counts", "me", later)
    # An abandoned operation uses the approval only if it was given for it.
    other = begin(ledger, holder="you", details={"approved_by": "ann", "approved_at": later})
    begin(ledger, holder="they", is_gone=lambda holder: holder == "you")
    assert ledger.operation(other.id).outcome == "abandoned"
    assert (ledger.has_used("counts", "you", later), ledger.has_used("counts", "you", at)) == (True, False)


def test_holders_own_operation_with_expired_lease_is_abandoned(ledger, url):
    first = begin(ledger)
    touch(first)
    with create_engine(url).begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(Operation).where(Operation.id == first.id).values(lease_until=past))
    ledger.begin("counts", kind="rollback", holder="me", release=2)
    assert [row.outcome for row in ledger.operations("counts")] == [None, "abandoned"]


def test_placement_is_recorded_with_the_journal_entry(ledger):
    operation = begin(ledger)
    place = {"phase": "running", "release": 1, "flink_job_id": "a" * 32, "restored_from": None}
    operation.record("start", "submit", transition=Columns(place), flink_job_id="a" * 32)
    found = ledger.placement("counts")
    assert (found.phase, found.flink_job_id, found.release, found.had_checkpoint) == ("running", "a" * 32, 1, False)
    assert operation.entry("start", "submit") == {"flink_job_id": "a" * 32}
    ledger.saw_checkpoint("counts", "b" * 32)
    assert not ledger.placement("counts").had_checkpoint
    ledger.saw_checkpoint("counts", "a" * 32)
    assert ledger.placement("counts").had_checkpoint


def test_overtaken_holder_can_not_change_the_placement(ledger):
    first = begin(ledger)
    first.record("start", "submit", transition=Columns({"phase": "running", "release": 1, "flink_job_id": "a" * 32}))
    begin(ledger)
    with pytest.raises(BusyError):
        first.record("stop", "stop", transition=Columns({"phase": "stopping"}))
    assert ledger.placement("counts").phase == "running"


def test_keep_until_extends_the_lease(ledger):
    operation = begin(ledger)
    until = datetime.now(UTC) + timedelta(hours=2)
    operation.keep_until(until)
    assert ledger.active("counts").lease_until == until


def test_savepoint_is_recorded_once(ledger):
    operation = begin(ledger)
    for _ in range(2):
        operation.add_savepoint("file:/s", release=1, flink_job_id="a" * 32)
    [savepoint] = ledger.savepoints("counts")
    assert (savepoint.path, savepoint.deleted_at) == ("file:/s", None)
    ledger.savepoint_deleted(savepoint.id)
    assert ledger.savepoints("counts")[0].deleted_at is not None


def test_ended_operation_refuses_writes(ledger):
    release(ledger)
    operation = begin(ledger)
    operation.finish("healthy")
    assert ledger.release("counts", 1).healthy_at is not None
    with pytest.raises(BusyError):
        operation.record("x", "y")
    with pytest.raises(BusyError, match=r"has ended \(healthy\)"):
        ledger.resume(operation.id)


def test_ledger_environments_are_separate(ledger, url):
    release(ledger)
    begin(ledger)
    other = Ledger(url, "production")
    assert release(other, "f9").number == 1
    other.begin("counts", kind="deploy", holder="you", release=1)


def test_of_concurrent_operations_one_begins(url):
    Ledger(url, "test")

    def attempt(number):
        try:
            return begin(Ledger(url, "test"), holder=f"h{number}")
        except BusyError:
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, range(8)))
    assert sum(result is not None for result in results) == 1


def test_migrations_create_the_declared_tables(url, ledger):
    found = inspect(create_engine(url))
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}


def test_newer_ledger_schema_is_refused(url, ledger):
    with create_engine(url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="schema 9999, which this Sluice does not know"):
        Ledger(url, "test")


def test_reader_neither_creates_nor_migrates_a_ledger(absent_url, tmp_path):
    with pytest.raises(ConfigError, match="there is no ledger yet"):
        Ledger(absent_url, "test", migrates=False)
    assert list(tmp_path.iterdir()) == []
    release(Ledger(absent_url, "test"))
    with Ledger(absent_url, "test", migrates=False).reading() as session:
        assert session.scalars(select(Release.number)).all() == [1]
    with create_engine(absent_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0008'"))
    with pytest.raises(ConfigError, match="the ledger has schema 0008, and this Sluice needs 0"):
        Ledger(absent_url, "test", migrates=False)


def test_opening_a_ledger_does_not_wait_for_a_writer(url, ledger):
    with somebody_writes(url):
        began = time.monotonic()
        for migrates in (True, False):
            Ledger(url, "test", migrates=migrates)
        # A process that waits for the lock would wait for 30 seconds.
        assert time.monotonic() - began < 25


def test_invalid_ledger_url_is_refused():
    with pytest.raises(ConfigError, match="can't be used"):
        Ledger("nonsense", "test")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://sluice:s3cret@db/ledger",
        "postgresql+psycopg://sluice:s3cret@db:5432/ledger",
        "postgresql://sluice:s3cret@db:port/ledger",
        "postgresql://sluice:s3c/ret@db/ledger",
        "postgresql://sluice:s3c:ret@db/ledger",
        "nosuch://sluice:s3cret@db/ledger",
        "nonsense:s3cret@db",
        "postgresql:///ledger?host=db&password=s3cret",
    ],
)
def test_password_in_the_ledger_url_is_never_shown(url, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError) as caught:
        Ledger(url, "test")
    shown = "".join(traceback.format_exception(caught.value, limit=0))
    assert "s3c" not in shown
    assert "ret@" not in shown


def test_missing_database_driver_is_named_with_its_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError) as caught:
        Ledger("postgresql://sluice@db/ledger", "test")
    assert "psycopg, the driver for that database, is not installed" in caught.value.message
    assert "pip install 'psycopg[binary]'" in caught.value.remedy


def test_value_of_another_version_is_refused_by_name(ledger, url):
    release(ledger)
    begin(ledger).finish("failed")
    with create_engine(url).begin() as connection:
        connection.execute(text("UPDATE operations SET outcome = 'improved'"))
    with pytest.raises(ConfigError, match="holds the outcome 'improved', which this Sluice does not know"):
        ledger.operations("counts")
