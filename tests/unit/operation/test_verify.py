"""What the gates of a deploy are told of the job, and waiting at them in the shell."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from sluice.health.gates import Reading
from sluice.operation import verify
from sluice.operation.limits import untimed
from tests.support.simulated import JOB
from tests.support.windowed import source


def test_who_waits_for_long_holds_the_job_for_as_long(simulated, monkeypatch):
    """Longer than a lease lasts without a sign of life."""
    simulated.rewrite(source(JOB, timeout="2h"))
    started = simulated.operate()
    leases = []

    async def looks(order):
        leases.append(simulated.ledger.active(JOB).lease_until)
        yield order.gates[-1], Reading(passed=True, words="fine")

    monkeypatch.setattr(verify, "readings", looks)
    operation = simulated.ledger.resume(started.operation)
    assert asyncio.run(verify.pass_gates(simulated.project, operation, started, print)) is None
    assert leases[0] > datetime.now(UTC) + timedelta(hours=2)


def test_the_gates_know_which_topics_have_no_event_time():
    """Of what the release reads, by what the job declares."""
    timed, plain = SimpleNamespace(has_watermark=True), SimpleNamespace(has_watermark=False)
    catalog = SimpleNamespace(jobs={"copy": SimpleNamespace(reads={"a": timed, "b": plain, "c": plain})})
    reads = {"a": {"topic": "in"}, "b": {"topic": "in"}, "c": {"topic": "lines"}, "gone": {"topic": "old"}}
    release = SimpleNamespace(job="copy", resolved={"reads": reads})
    assert untimed(SimpleNamespace(catalog=catalog), release) == ("lines",)
    assert untimed(SimpleNamespace(catalog=SimpleNamespace(jobs={})), release) == ()
