"""What went wrong in the client, in words that hold no stack trace."""

from sluice.client.failure import failed

TRACE = """org.apache.flink.table.api.TableException: Failed to execute sql
\tat org.apache.flink.table.api.internal.TableEnvironmentImpl.executeInternal(TableEnvironmentImpl.java:1270)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.lang.IllegalStateException: No ExecutorFactory found
\tat org.apache.flink.core.execution.DefaultExecutorServiceLoader.getExecutorFactory(Default.java:90)
\t... 18 more
"""


class TableException(Exception):  # noqa: N818 - its name in PyFlink
    """As PyFlink's: unit tests don't import that."""

    def __init__(self, stack_trace):
        super().__init__(stack_trace)
        self.stack_trace = stack_trace


def message(error):
    return failed(error, step="build", job="j", job_file=None)


def test_the_words_of_pyflinks_own_exceptions_hold_no_stack_trace():
    failure = message(TableException(TRACE))
    assert failure.message == "j: Failed to execute sql: No ExecutorFactory found"


def test_a_stack_trace_that_was_raised_again_as_text_is_left_out():
    failure = message(RuntimeError(TRACE))
    assert "\tat " not in failure.message
    assert "more" not in failure.message
    assert "Failed to execute sql" in failure.message


def test_a_long_message_is_cut_after_some_lines():
    failure = message(ValueError("\n".join(f"LogicalNode{number}" for number in range(40))))
    assert failure.message.splitlines()[-1] == "(the log has the rest)"
    assert len(failure.message.splitlines()) == 6
    assert "LogicalNode39" in failure.detail
