"""The arguments of a deploy's gates, and the lock while the shell waits for them."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from sluice.health.gates import Reading
from sluice.operation import verify
from sluice.operation.limits import untimed
from tests.simulator.simulated import JOB
from tests.support.windowed import source


def test_lease_lasts_as_long_as_the_start_timeout(simulated):
    """The start timeout is longer than a lease that isn't renewed."""
    simulated.rewrite(source(JOB, timeout="2h"))
    started = simulated.operate()
    leases = []

    async def passing(_project, order):
        leases.append(simulated.ledger.active(JOB).lease_until)
        yield order.gates[-1], Reading(passed=True, words="fine")

    simulated.gates = passing
    operation = simulated.ledger.resume(started.operation)
    assert asyncio.run(verify.pass_gates(simulated.project, operation, started, print)) is None
    assert leases[0] > datetime.now(UTC) + timedelta(hours=2)


def test_untimed_topics_are_those_read_without_a_watermark():
    """Of the topics that the release reads, as the job declares its reads now."""
    timed, plain = SimpleNamespace(has_watermark=True), SimpleNamespace(has_watermark=False)
    catalog = SimpleNamespace(jobs={"copy": SimpleNamespace(reads={"a": timed, "b": plain, "c": plain})})
    reads = {"a": {"topic": "in"}, "b": {"topic": "in"}, "c": {"topic": "lines"}, "removed": {"topic": "old"}}
    release = SimpleNamespace(job="copy", resolved={"reads": reads})
    assert untimed(SimpleNamespace(catalog=catalog), release) == ("lines",)
    assert untimed(SimpleNamespace(catalog=SimpleNamespace(jobs={})), release) == ()
