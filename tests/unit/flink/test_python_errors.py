"""The one-line summary of a failure."""

import pytest

from sluice.flink.history import ExceptionEntry

HARNESS = """org.apache.flink.runtime.taskmanager.AsynchronousException: Caught exception while processing timer.
\tat org.apache.flink.streaming.runtime.tasks.StreamTask.run(StreamTask.java:1)
Caused by: java.lang.RuntimeException: Error received from SDK harness for 2: Traceback (most recent call last):
  File "sdk_worker.py", line 312, in _execute
    response = task()
  File "job.py", line 34, in place
    import geohash2
{error}

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.onNext(FnApiControlClient.java:1)
\t... 1 more
"""


@pytest.mark.parametrize(
    "error",
    [
        "ModuleNotFoundError: No module named 'geohash2'",
        "KeyError: 'a'",
        "shapes.errors.ShapeError: no",
        "StopIteration",
    ],
)
def test_failure_is_summarised_by_its_python_error(error):
    entry = ExceptionEntry(timestamp=1, stacktrace=HARNESS.format(error=error))
    assert (entry.words, entry.python_error) == (error, error)


def test_java_failure_is_summarised_by_its_innermost_cause():
    trace = "x.Outer: outer\n\tat x\nCaused by: c.Root: the reason\n\tat c\n"
    entry = ExceptionEntry(timestamp=1, stacktrace=trace)
    assert (entry.words, entry.python_error) == ("c.Root: the reason", None)
