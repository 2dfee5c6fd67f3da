"""The main loop of the client process."""

import io

from sluice.client.__main__ import _Session
from sluice.client.protocol import Failed, Reply


def raised():
    try:
        return int("no")
    except ValueError as error:
        return error


def test_client_sends_the_failure_message_and_logs_the_traceback(capsys):
    answers = io.StringIO()
    _Session(answers)._send_failure(raised(), "checkpoint")
    answer = Reply.model_validate_json(answers.getvalue()).answer
    assert isinstance(answer, Failed)
    assert "ValueError: invalid literal" in answer.message
    logged = capsys.readouterr().err
    assert logged.startswith("Traceback")
    assert 'int("no")' in logged
