"""What was told, in the ledger."""

from sluice.ledger.ledger import Ledger


def test_what_is_kept_replaces_what_was_known_of_that_subject_by_that_listener(url):
    told = Ledger(url, "test").told
    told.keep("one", "verdict", {"a": "healthy", "b": "failed"})
    told.keep("one", "report", {"a": "given up"})
    told.keep("two", "verdict", {"a": "idle"})
    Ledger(url, "production").told.keep("one", "verdict", {"a": "unknown"})
    told.keep("one", "verdict", {"b": "degraded", "c": "idle"})
    assert told.known("one", "verdict") == {"b": "degraded", "c": "idle"}
    assert (told.known("one", "report"), told.known("two", "verdict")) == ({"a": "given up"}, {"a": "idle"})
    assert told.known("three", "verdict") == {}
