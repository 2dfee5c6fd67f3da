"""Operator descriptions: without the planner's node numbers and without secrets."""

from pydantic import SecretStr

from sluice import Job, JobConfig, Kafka, Record
from sluice.client.descriptions import plain_text, secret_texts


class Row(Record):
    at: int


class Config(JobConfig):
    token: SecretStr
    least: int = 3


JOB = Job(name="copy", config=Config, reads={"rows": Kafka("in", record=Row)}, writes=Kafka("out", record=Row))


def test_operator_description_has_no_planner_node_numbers():
    assert plain_text("[5]:Calc(select=[a[1], b])") == "Calc(select=[a[1], b])"
    assert plain_text("out__sink[7]: Writer") == "out__sink: Writer"
    assert plain_text("Source: orders__topic") == "Source: orders__topic"


def test_operator_description_has_no_secrets():
    secrets = secret_texts(JOB, {"token": "it's me", "least": 3})
    assert plain_text("[2]:Calc(select=[a], where=[(b = _UTF-16LE'it''s me')])", secrets) == (
        "Calc(select=[a], where=[(b = _UTF-16LE'(secret)')])"
    )
    assert plain_text("Calc(where=[(c > 3)])", secrets) == "Calc(where=[(c > 3)])"
