"""Slow readings of the page: shared, bounded in number, and with a limited wait."""

import asyncio
from threading import Event, Thread

import pytest

from sluice.airflow.page.shared import BusyError, SharedReadings


class Slow:
    """A reading that ends once `go_on` is set."""

    def __init__(self, value="read"):
        self.value = value
        self.times = 0
        self.go_on = Event()

    def __call__(self):
        self.times += 1
        assert self.go_on.wait(30)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


async def ended(readings, question, slow):
    """Repeat the request until it is answered."""
    while True:
        try:
            return await readings.get(question, slow)
        except BusyError:
            await asyncio.sleep(0)


def test_concurrent_requests_share_one_reading():
    readings, slow = SharedReadings(patience=30), Slow()

    async def ask():
        many = [asyncio.create_task(readings.get("counts", slow)) for _ in range(60)]
        await asyncio.sleep(0)
        slow.go_on.set()
        return await asyncio.gather(*many)

    assert asyncio.run(ask()) == ["read"] * 60
    assert slow.times == 1


def test_request_is_refused_and_not_pending_if_no_thread_can_start():
    exhausted = [True, True, False]

    class LimitedThread(Thread):
        def start(self):
            if exhausted.pop(0):
                raise RuntimeError("can't start new thread")
            super().start()

    readings = SharedReadings(pending=1, patience=30, thread=LimitedThread)
    for _ in range(2):
        with pytest.raises(BusyError, match="no thread left"):
            asyncio.run(readings.get("counts", lambda: "read"))
    assert asyncio.run(readings.get("counts", lambda: "read")) == "read"


def test_a_request_after_the_end_of_a_reading_starts_a_new_one():
    readings, slow = SharedReadings(patience=30), Slow()
    slow.go_on.set()

    async def ask():
        return [await readings.get("counts", slow) for _ in range(2)]

    assert asyncio.run(ask()) == ["read"] * 2
    assert slow.times == 2


def test_a_slow_reading_refuses_the_request_and_answers_the_next_one():
    readings, slow = SharedReadings(patience=0.01, kept=60, retry_after=3), Slow()

    async def ask():
        with pytest.raises(BusyError, match="still being read; try again in 3 s") as refused:
            await readings.get("counts", slow)
        assert refused.value.retry_after == 3
        slow.go_on.set()
        return await ended(readings, "counts", slow)

    assert asyncio.run(ask()) == "read"
    assert slow.times == 1


def test_a_failed_reading_fails_all_its_requests():
    readings, slow = SharedReadings(patience=30), Slow(ValueError("broken"))

    async def ask():
        many = [asyncio.create_task(readings.get("counts", slow)) for _ in range(3)]
        await asyncio.sleep(0)
        slow.go_on.set()
        return await asyncio.gather(*many, return_exceptions=True)

    assert [str(error) for error in asyncio.run(ask())] == ["broken"] * 3


def test_a_request_beyond_the_pending_ones_is_refused_at_once():
    readings, slow = SharedReadings(at_once=1, pending=2, patience=30), Slow()

    async def ask():
        many = [asyncio.create_task(readings.get(name, slow)) for name in ("a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="reading the files for 2 other requests"):
            await readings.get("c", slow)
        slow.go_on.set()
        await asyncio.gather(*many)
        return await readings.get("c", slow)

    assert asyncio.run(ask()) == "read"


def test_cancelling_a_request_does_not_end_the_shared_reading():
    readings, slow = SharedReadings(patience=30), Slow()

    async def ask():
        first, second = (asyncio.create_task(readings.get("counts", slow)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        slow.go_on.set()
        return await second

    assert asyncio.run(ask()) == "read"
