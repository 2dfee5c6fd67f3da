"""The client's own loop."""

import io

from sluice.client.__main__ import _Session
from sluice.client.protocol import Failed, Reply


def raised():
    try:
        return int("no")
    except ValueError as error:
        return error


def test_a_failure_is_told_in_words_and_its_trace_logged(capsys):
    answers = io.StringIO()
    _Session(answers)._tell_failure(raised(), "checkpoint")
    answer = Reply.model_validate_json(answers.getvalue()).answer
    assert isinstance(answer, Failed)
    assert "ValueError: invalid literal" in answer.message
    logged = capsys.readouterr().err
    assert logged.startswith("Traceback")
    assert 'int("no")' in logged
