"""What an error says, and which exit status it leads to."""

import pytest

from sluice import errors


def test_a_remedy_follows_the_message():
    error = errors.TopicError("topic has 3 partitions, the job declares 6", remedy='run "sluice deploy"')
    assert str(error) == 'topic has 3 partitions, the job declares 6; run "sluice deploy"'


def test_without_a_remedy_the_message_stands_alone():
    assert str(errors.UnreachableError("no answer")) == "no answer"


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.CompileError, errors.SchemaError, errors.BusyError])
def test_what_is_refused_exits_with_two(kind):
    assert kind("refused").exit_status == 2


@pytest.mark.parametrize("kind", [errors.UnreachableError, errors.OperationError, errors.FlinkError])
def test_what_fails_exits_with_one(kind):
    assert kind("failed").exit_status == 1
