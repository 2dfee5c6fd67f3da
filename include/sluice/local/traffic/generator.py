"""The generator: visitors' sessions as Kafka messages, seeded."""

from __future__ import annotations

import heapq
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from sluice.local.traffic.user_agents import weighted

_PAGES = ("/", "/products", "/products/shoes", "/products/hats", "/cart", "/checkout", "/blog", "/about", "/search")
_NEXT = ("page_view", "page_view", "page_view", "click", "click", "click", "scroll", "add_to_cart", "conversion")
_REFERRERS = (None, "https://www.google.com/", "https://news.ycombinator.com/", "https://duckduckgo.com/")
_GAP_MS = 1_800_000
CLOSING_MS = 4 * 3_600_000
"""Milliseconds from the last event to the closing events of a bounded run: longer than any window or gap."""


@dataclass(frozen=True)
class Message:
    """A Kafka message.

    Attributes:
        key: Its key.
        value: Its value; None: a tombstone.
        at_ms: Its Kafka timestamp, the arrival time: epoch milliseconds.
        partition: Its partition.
    """

    key: bytes
    value: bytes | None
    at_ms: int
    partition: int


@dataclass(frozen=True)
class Shares:
    """The shares of late and malformed messages, 0 to 1."""

    late: float = 0.01
    malformed: float = 0.01


class Traffic:
    """Messages by arrival time.

    Args:
        seed: The same seed gives the same messages, relative to `start_ms`.
        rate: Messages per second of arrival time.
        start_ms: The first arrival time, epoch milliseconds.
        partitions: The topic's partitions; a user's events are in one of them.
        shares: The shares of late and malformed messages.
    """

    def __init__(self, *, seed: int, rate: float, start_ms: int, partitions: int, shares: Shares = Shares()) -> None:
        self._random = Random(seed)  # noqa: S311 - traffic, not secrets
        self._step_ms = 1000 / rate
        self._start_ms = start_ms
        self._partitions = partitions
        self._shares = shares
        self._number = 0
        self._waiting: list[tuple[float, int, _Visit]] = []

    def __iter__(self) -> Iterator[Message]:
        """Yield messages without end."""
        at = float(self._start_ms)
        while True:
            yield self._message(int(at))
            at += self._random.expovariate(1) * self._step_ms

    def bounded(self, count: int) -> list[Message]:
        """`count` messages, and one in each partition long afterwards that closes every window."""
        stream = iter(self)
        messages = [next(stream) for _ in range(count)]
        end = messages[-1].at_ms + CLOSING_MS
        visit = _Visit("closing", "closing", None)
        for partition in range(self._partitions):
            value = _event(self._random, visit, "closing", end, f"closing-{partition}")
            messages.append(Message(b"closing", _bytes(value), end, partition))
        return messages

    def _message(self, at_ms: int) -> Message:
        self._number += 1
        visit = self._visit(at_ms)
        kind = "page_view" if visit.events == 0 else self._random.choice(_NEXT)
        visit.events += 1
        event = _event(self._random, visit, kind, at_ms - self._delay(), f"e{self._number}")
        value: bytes | None = _bytes(event)
        if self._random.random() < self._shares.malformed:
            value = self._random.choice(_FAULTS)(event, at_ms)
        key = visit.user.encode()
        return Message(key, value, at_ms, zlib.crc32(key) % self._partitions)

    def _delay(self) -> int:
        """Milliseconds from the event to its arrival: mostly short, some out of order, few late."""
        drawn = self._random.random()
        if drawn < self._shares.late:
            return self._random.randrange(10_001, 120_000)
        if drawn < self._shares.late + 0.1:
            return self._random.randrange(2_000, 10_000)
        return self._random.randrange(0, 800)

    def _visit(self, at_ms: int) -> _Visit:
        """The visit whose next event is due, or a new one."""
        if self._waiting and self._waiting[0][0] <= at_ms:
            visit = heapq.heappop(self._waiting)[2]
        else:
            agents, cumulative = weighted()
            number = self._random.randrange(1_000_000)
            agent = self._random.choices(agents, cum_weights=cumulative)[0]
            visit = _Visit(f"u{number % 50_000}", f"s{self._number}", agent)
        if self._random.random() < 0.9:
            # Most visits continue within a minute; some continue the session after more than the gap.
            pause = self._random.expovariate(1 / 20_000)
            if self._random.random() < 0.01:
                pause += _GAP_MS + self._random.randrange(0, 600_000)
            heapq.heappush(self._waiting, (at_ms + pause, self._number, visit))
        return visit


class _Visit:
    def __init__(self, user: str, session: str, agent: str | None) -> None:
        self.user = user
        self.session = session
        self.agent = agent
        self.events = 0


def _event(random: Random, visit: _Visit, kind: str, timestamp: int, number: str) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    if kind == "page_view" and random.random() < 0.8:
        # Quarters of milliseconds have exact sums.
        metrics["load_time"] = random.choice((random.randrange(80, 4000), random.randrange(320, 16_000) / 4))
    if kind == "click":
        metrics["interaction_time"] = random.randrange(10, 500)
    context: dict[str, Any] = {
        "url": f"https://shop.example{random.choice(_PAGES)}",
        "session_id": visit.session,
        "referrer": random.choice(_REFERRERS),
    }
    if random.random() < 0.5:
        context["ip_address"] = f"203.0.113.{random.randrange(256)}"
    return {
        "event": {"id": number, "type": kind},
        "device": {"user_agent": visit.agent, "screen_width": 1920, "screen_height": 1080},
        "user": {"id": visit.user},
        "context": context,
        "properties": {"campaign": random.choice(("spring", "été", "none")), "position": random.randrange(9)},
        "metrics": metrics,
        "timestamp": timestamp,
    }


def _bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _without(path: tuple[str, ...]) -> Callable[[dict[str, Any], int], bytes]:
    def fault(event: dict[str, Any], _at: int) -> bytes:
        holder = event
        for name in path[:-1]:
            holder = holder[name]
        del holder[path[-1]]
        return _bytes(event)

    return fault


def _with(path: tuple[str, ...], value: Any) -> Callable[[dict[str, Any], int], bytes]:
    def fault(event: dict[str, Any], _at: int) -> bytes:
        holder = event
        for name in path[:-1]:
            holder = holder[name]
        holder[path[-1]] = value
        return _bytes(event)

    return fault


_FAULTS: tuple[Callable[[dict[str, Any], int], bytes | None], ...] = (
    lambda _event, _at: None,
    lambda _event, _at: b"",
    lambda _event, _at: b"not JSON at all",
    lambda event, _at: _bytes(event)[:-7],
    lambda event, _at: _bytes(event) + b"}",
    lambda event, _at: _bytes([event]),
    lambda _event, _at: b'"a string"',
    lambda _event, _at: b"null",
    lambda event, _at: _bytes(event).replace(b"shop", b"sh\xff\xfep", 1),
    lambda event, _at: json.dumps(event).encode("utf-16"),
    lambda event, at: _bytes({**event, "timestamp": at + 7_200_000}),
    lambda event, at: _bytes({**event, "timestamp": at - 400 * 86_400_000}),
    lambda event, _at: _bytes({**event, "timestamp": 9_223_372_036_854_775_807}),
    lambda event, _at: _bytes({**event, "timestamp": -1}),
    lambda event, _at: _bytes({**event, "timestamp": 10**30}),
    _with(("timestamp",), None),
    _with(("timestamp",), "2026-01-01T00:00:00Z"),
    _with(("timestamp",), 1.5),
    _with(("event", "type"), 7),
    _with(("event",), "page_view"),
    _with(("user", "id"), None),
    _with(("properties",), []),
    _with(("properties", "nested"), {}),
    _with(("metrics", "load_time"), "fast"),
    _without(("timestamp",)),
    _without(("event", "type")),
    _without(("context", "session_id")),
    _without(("user",)),
)
HUGE = 1_000_000
"""Bytes of the value of `huge`."""


def huge(event_time: int) -> bytes:
    """A well-formed event of one million bytes, which is malformed by its length alone."""
    event = _event(Random(0), _Visit("huge", "huge", None), "page_view", event_time, "huge")  # noqa: S311
    event["properties"]["padding"] = ""
    event["properties"]["padding"] = "x" * (HUGE - len(_bytes(event)))
    return _bytes(event)
