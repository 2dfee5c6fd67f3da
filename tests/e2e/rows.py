"""Compares the rows of the main job with the right ones for the traffic that was produced."""

from collections import Counter

from sluice.local.traffic import oracle, wire
from sluice.local.traffic.generator import Message
from tests.support.waiting import wait_for


def assert_right_rows(local, after=None):
    """Every window that is closed, and some one after that moment, has its rows, each once; so have the dead letters.

    The types of events that other tests leave out for a while are left out here.
    """
    servers, types = local.kafka_servers, ("page_view", "click")

    def closed():
        rows = [row for row in wire.rows(servers, "event_metrics") if row["event_type"] in types]
        return rows if after is None or any(row["window_start"] > after for row in rows) else None

    found, letters = wait_for(closed), wire.consume(servers, "analytics_events_dead_letters")
    read = wire.consume(servers, "analytics_events")
    messages = [Message(each.key, each.value, each.at_ms, each.partition) for each in read]
    expected = oracle.compute(messages)
    newest = max(row["window_start"] for row in found)
    want = [row for row in expected.event_metrics if row["event_type"] in types and row["window_start"] <= newest]

    written, right = (Counter(str(sorted(row.items())) for row in rows) for rows in (found, want))
    assert written == right, f"only written: {written - right}\nonly right: {right - written}"

    places = {id(message): (each.partition, each.offset) for message, each in zip(messages, read, strict=True)}
    malformed = {places[id(message)]: message.at_ms for message, _ in expected.malformed}
    lettered = [(int(letter.headers["partition"]), int(letter.headers["offset"])) for letter in letters]
    assert len(set(lettered)) == len(lettered)
    assert set(lettered) <= malformed.keys()
    # The newest wait for a checkpoint.
    ripe = max(message.at_ms for message in messages) - 40_000
    assert {place for place, at_ms in malformed.items() if at_ms < ripe} <= set(lettered)
