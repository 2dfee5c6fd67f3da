"""The texts and exit statuses of errors."""

import pytest

from sluice import errors


def test_error_text_is_message_and_remedy():
    error = errors.TopicError("topic has 3 partitions, the job declares 6", remedy='run "sluice deploy"')
    assert str(error) == 'topic has 3 partitions, the job declares 6; run "sluice deploy"'


def test_error_text_without_remedy_is_the_message():
    assert str(errors.UnreachableError("no answer")) == "no answer"


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.CompileError, errors.SchemaError, errors.BusyError])
def test_refused_errors_exit_with_status_2(kind):
    assert kind("refused").exit_status == 2


@pytest.mark.parametrize("kind", [errors.UnreachableError, errors.OperationError, errors.FlinkError])
def test_other_errors_exit_with_status_1(kind):
    assert kind("failed").exit_status == 1
