"""The last notifications, in the ledger."""

from sluice.ledger.ledger import Ledger


def test_notifications_are_replaced_per_notifier_and_subject(url):
    log = Ledger(url, "test").notifications
    log.keep("one", "verdict", {"a": "healthy", "b": "failed"})
    log.keep("one", "report", {"a": "given up"})
    log.keep("two", "verdict", {"a": "idle"})
    Ledger(url, "production").notifications.keep("one", "verdict", {"a": "unknown"})
    log.keep("one", "verdict", {"b": "degraded", "c": "idle"})
    assert log.known("one", "verdict") == {"b": "degraded", "c": "idle"}
    assert (log.known("one", "report"), log.known("two", "verdict")) == ({"a": "given up"}, {"a": "idle"})
    assert log.known("three", "verdict") == {}
