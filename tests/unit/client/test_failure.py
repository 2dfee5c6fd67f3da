"""Messages of failures in the client, without stack traces."""

from sluice.client.failure import failed

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
