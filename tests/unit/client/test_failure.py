"""Messages of failures in the client, without stack traces."""

from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JJavaError

from sluice.client.failure import failed, repeat_for_reason

TRACE = """org.apache.flink.table.api.TableException: Failed to execute sql
\tat org.apache.flink.table.api.internal.TableEnvironmentImpl.executeInternal(TableEnvironmentImpl.java:1270)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.lang.IllegalStateException: No ExecutorFactory found
\tat org.apache.flink.core.execution.DefaultExecutorServiceLoader.getExecutorFactory(Default.java:90)
\t... 18 more
"""


class TableException(Exception):  # noqa: N818 - its name in PyFlink
    """Like PyFlink's class, which unit tests don't import."""

    def __init__(self, stack_trace):
        super().__init__(stack_trace)
        self.stack_trace = stack_trace


def message(error):
    return failed(error, step="build", job="j", job_file=None)


def test_message_of_a_pyflink_exception_has_no_stack_trace():
    failure = message(TableException(TRACE))
    assert failure.message == "j: Failed to execute sql: No ExecutorFactory found"


def test_message_leaves_out_a_stack_trace_in_the_exception_text():
    failure = message(RuntimeError(TRACE))
    assert "\tat " not in failure.message
    assert "more" not in failure.message
    assert "Failed to execute sql" in failure.message


def test_long_client_message_is_cut_to_its_first_lines():
    failure = message(ValueError("\n".join(f"LogicalNode{number}" for number in range(40))))
    assert failure.message.splitlines()[-1] == "(the log has the rest)"
    assert len(failure.message.splitlines()) == 6
    assert "LogicalNode39" in failure.detail


class JavaError(Py4JJavaError):
    """A Java exception with its cause, without a JVM."""

    def __init__(self, *messages):
        first, *rest = messages
        cause = JavaError(*rest).java_exception if rest else None
        self.java_exception = SimpleNamespace(getMessage=lambda: first, getCause=lambda: cause)


def test_request_whose_error_hides_the_reason_is_repeated():
    hidden = JavaError("Could not write request.", "Netty pipeline was not properly initialized.")
    reason = JavaError("unable to find valid certification path")
    errors = [hidden, hidden, reason]

    def request():
        raise errors.pop(0)

    with pytest.raises(JavaError) as caught:
        repeat_for_reason(request)
    assert caught.value is reason
    assert errors == []


def test_request_whose_error_always_hides_the_reason_is_given_up():
    hidden = JavaError("Netty pipeline was not properly initialized.")
    requests = []

    def request():
        requests.append(1)
        raise hidden

    with pytest.raises(JavaError):
        repeat_for_reason(request)
    assert len(requests) == 10
