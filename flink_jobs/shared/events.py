"""The topic of web-analytics events: its contract, and how it is read."""

from __future__ import annotations

from sluice import Kafka, Record, ScalarText


class Event(Record):
    """What happened."""

    id: str
    type: str


class Device(Record):
    """The browser's device."""

    user_agent: str | None
    screen_width: int | None
    screen_height: int | None


class User(Record):
    """The visitor."""

    id: str


class Context(Record):
    """Where it happened."""

    url: str
    referrer: str | None
    ip_address: str | None
    session_id: str


class Metrics(Record):
    """How long it took, in milliseconds."""

    load_time: float | None
    interaction_time: float | None


class AnalyticsEvent(Record):
    """One event of a visitor's session."""

    event: Event
    device: Device
    user: User
    context: Context
    properties: dict[str, ScalarText]
    metrics: Metrics
    timestamp: int
    """Event time, epoch milliseconds."""


EVENTS = Kafka("analytics_events", record=AnalyticsEvent, key=(), event_time="timestamp", partitions=3)
"""Its key is the user's id, a nested field, which `key` can't name."""
