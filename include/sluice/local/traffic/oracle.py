"""The expected output of the jobs for some messages, computed in plain Python, without Flink and the jobs' code."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from sluice.local.traffic.generator import Message
from sluice.local.traffic.user_agents import categories

_MAX_BYTES = 262_144
_DELAY_MS, _SKEW_MS = 10_000, 1_000
_FUTURE_MS, _PAST_MS = 3_600_000, 365 * 86_400_000
_LONG = 2**63
_TYPES = ("page_view", "click", "conversion", "add_to_cart")

# Field: type, required.
_TEXT, _NUMBER, _WHOLE = "text", "number", "whole"
_CONTRACT: dict[str, Any] = {
    "event": ({"id": (_TEXT, True), "type": (_TEXT, True)}, True),
    "device": ({"user_agent": (_TEXT, False), "screen_width": (_WHOLE, False), "screen_height": (_WHOLE, False)}, True),
    "user": ({"id": (_TEXT, True)}, True),
    "context": (
        {"url": (_TEXT, True), "referrer": (_TEXT, False), "ip_address": (_TEXT, False), "session_id": (_TEXT, True)},
        True,
    ),
    "properties": ("scalars", True),
    "metrics": ({"load_time": (_NUMBER, False), "interaction_time": (_NUMBER, False)}, True),
    "timestamp": (_WHOLE, True),
}


@dataclass(frozen=True)
class Expected:
    """The expected rows, as the jobs write them, with times as datetimes in UTC."""

    event_metrics: list[dict[str, Any]]
    session_metrics: list[dict[str, Any]]
    performance_metrics: list[dict[str, Any]]
    processing_metrics: list[dict[str, Any]]
    malformed: list[tuple[Message, str]]
    """Each malformed message with the kind of its fault."""
    late: int


def compute(messages: Iterable[Message]) -> Expected:
    """The expected output of a bounded run, without windows of the closing events."""
    good, malformed, late = _sorted_out(messages)
    return Expected(
        event_metrics=_event_metrics(good),
        session_metrics=_sessions(good),
        performance_metrics=_performance(good),
        processing_metrics=_processing(good),
        malformed=malformed,
        late=late,
    )


def counts(messages: Iterable[Message], window_ms: int) -> Counter[tuple[datetime, str]]:
    """How many events of each type are in each window of that length, by the window's start."""
    good, _, _ = _sorted_out(messages)
    return Counter(
        (_window(event["timestamp"], window_ms)["window_start"], event["event"]["type"]) for event, _ in good
    )


def _sorted_out(
    messages: Iterable[Message],
) -> tuple[list[tuple[dict[str, Any], int]], list[tuple[Message, str]], int]:
    """Events with their arrival times, malformed messages with their faults, and the number of late events."""
    good: list[tuple[dict[str, Any], int]] = []
    malformed: list[tuple[Message, str]] = []
    late = 0
    for message in messages:
        event, fault = _read(message)
        if fault or event is None:
            malformed.append((message, fault or ""))
        elif event["timestamp"] < message.at_ms - _DELAY_MS:
            late += 1
        elif event["event"]["type"] != "closing":
            good.append((event, message.at_ms))
    return good, malformed, late


def _read(message: Message) -> tuple[dict[str, Any] | None, str | None]:
    if not message.value:
        return None, "empty"
    if len(message.value) > _MAX_BYTES:
        return None, "too long"
    event, fault = _parse(message.value)
    if event is None:
        return None, fault
    if fault := _fault(event, _CONTRACT):
        return None, fault
    at = event["timestamp"]
    if not message.at_ms - _PAST_MS <= at <= message.at_ms + _FUTURE_MS:
        return None, "absurd event time"
    return event, None


def _parse(value: bytes) -> tuple[dict[str, Any] | None, str | None]:
    try:
        event = json.loads(value.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError:
        return None, "not UTF-8"
    except ValueError:
        return None, "not JSON"
    return (event, None) if isinstance(event, dict) else (None, "not an object")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _fault(value: dict[str, Any], contract: dict[str, Any]) -> str | None:
    """The fault of a value: `wrong type` before `missing field`, since the format finds missing fields last."""
    missing = None
    for name, (kind, required) in contract.items():
        if name not in value:
            missing = missing or ("missing field" if required else None)
        elif value[name] is None:
            if required:
                return "wrong type"
        elif isinstance(kind, dict):
            if not isinstance(value[name], dict):
                return "wrong type"
            if fault := _fault(value[name], kind):
                return fault
        elif not _fits(value[name], kind):
            return "wrong type"
    return missing


def _fits(value: Any, kind: str) -> bool:
    if kind == "scalars":
        return isinstance(value, dict) and all(isinstance(item, str | int | float) for item in value.values())
    if kind == _TEXT:
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    if kind == _WHOLE:
        return isinstance(value, int) and -_LONG <= value < _LONG
    return isinstance(value, int | float)


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _window(at_ms: int, size_ms: int) -> dict[str, datetime]:
    start = at_ms - at_ms % size_ms
    return {"window_start": _time(start), "window_end": _time(start + size_ms)}


def _event_metrics(events: list[tuple[dict[str, Any], int]]) -> list[dict[str, Any]]:
    users: dict[tuple[int, str], list[str]] = defaultdict(list)
    for event, _ in events:
        if event["event"]["type"] in _TYPES:
            users[event["timestamp"] // 60_000, event["event"]["type"]].append(event["user"]["id"])
    return [
        {**_window(minute * 60_000, 60_000), "event_type": kind, "event_count": len(ids), "user_count": len(set(ids))}
        for (minute, kind), ids in users.items()
    ]


def _sessions(events: list[tuple[dict[str, Any], int]]) -> list[dict[str, Any]]:
    views: dict[tuple[str, str], list[tuple[int, str | None]]] = defaultdict(list)
    for event, _ in events:
        if event["event"]["type"] == "page_view":
            key = (event["context"]["session_id"], event["user"]["id"])
            views[key].append((event["timestamp"], event["device"].get("user_agent")))
    rows = []
    for (session, user), seen in views.items():
        seen.sort(key=lambda view: view[0])
        parts: list[list[tuple[int, str | None]]] = [[]]
        for view in seen:
            if parts[-1] and view[0] - parts[-1][-1][0] > 1_800_000:
                parts.append([])
            parts[-1].append(view)
        for part in parts:
            agents = [agent for _, agent in part if agent is not None]
            rows.append(
                {
                    "session_id": session,
                    "user_id": user,
                    "start_time": _time(part[0][0]),
                    "end_time": _time(part[-1][0]),
                    "duration": part[-1][0] - part[0][0],
                    "page_count": len(part),
                    "device_category": categories()[max(agents) if agents else None],
                }
            )
    return rows


def _performance(events: list[tuple[dict[str, Any], int]]) -> list[dict[str, Any]]:
    loads: dict[tuple[int, str], list[float]] = defaultdict(list)
    for event, _ in events:
        load = event["metrics"].get("load_time")
        if event["event"]["type"] == "page_view" and load is not None:
            category = categories()[event["device"].get("user_agent")]
            loads[event["timestamp"] // 300_000, category].append(load)
    return [
        {
            **_window(window * 300_000, 300_000),
            "device_category": category,
            "avg_load_time": math.fsum(values) / len(values),
            "p95_load_time": _percentile(sorted(values), 0.95),
        }
        for (window, category), values in loads.items()
    ]


def _percentile(values: list[float], fraction: float) -> float:
    """Interpolated between the two nearest values."""
    position = (len(values) - 1) * fraction
    low = math.floor(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (position - low)


def _processing(events: list[tuple[dict[str, Any], int]]) -> list[dict[str, Any]]:
    counts: Counter[tuple[int, str]] = Counter()
    newest: dict[tuple[int, str], int] = {}
    for event, at_ms in events:
        key = (event["timestamp"] // 300_000, event["event"]["type"])
        counts[key] += 1
        newest[key] = max(newest.get(key, 0), at_ms)
    return [
        {
            **_window(window * 300_000, 300_000),
            "event_type": kind,
            "max_watermark": _time(newest[window, kind] - _DELAY_MS - _SKEW_MS),
            "event_count": count,
        }
        for (window, kind), count in counts.items()
    ]
