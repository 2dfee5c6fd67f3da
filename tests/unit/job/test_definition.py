"""What a job's definition accepts and refuses."""

import pytest

from sluice import Job, Kafka, Record
from sluice.errors import ConfigError


class Row(Record):
    id: str
    at: int


TOPIC = Kafka("rows", record=Row, key=("id",), event_time="at")


def job(**given):
    return Job(**{"name": "rows_job", "reads": {"rows": TOPIC}, "writes": Kafka("out", record=Row), **given})


@pytest.mark.parametrize("name", ["", "Rows", "1st", "a-b", "x" * 64, "a.b"])
def test_invalid_job_name_is_refused(name):
    with pytest.raises(ConfigError, match="can't be used"):
        job(name=name)


def test_single_sink_has_the_name_of_the_job():
    assert list(job().sinks) == ["rows_job"]


def test_job_has_its_file_and_description():
    defined = job()
    assert defined.file.name == "test_definition.py"
    assert defined.description.startswith("What a job's definition accepts")


def test_pipeline_parameters_are_reads_settings_and_environments():
    defined = job()

    @defined.pipeline
    def build(rows, config, t_env, env):
        return rows

    assert defined.build is build


def test_unknown_pipeline_parameter_is_refused_with_file_and_line():
    with pytest.raises(
        ConfigError, match=r"test_definition\.py:\d+: the pipeline of rows_job has an unknown parameter events"
    ):

        @job().pipeline
        def build(events):
            return events


def test_unused_read_is_refused_with_file_and_line():
    def build(config, env):
        return None

    with pytest.raises(ConfigError, match=r"test_definition\.py:\d+: read rows of rows_job is not used"):
        job().pipeline(build)


def test_pipeline_with_t_env_may_name_its_reads_in_sql():
    defined = job()
    assert defined.pipeline(lambda t_env: t_env) is defined.build


def test_second_pipeline_is_refused():
    defined = job()
    defined.pipeline(lambda rows: rows)
    with pytest.raises(ConfigError, match="has a pipeline already"):
        defined.pipeline(lambda rows: rows)


def test_job_without_pipeline_is_an_error():
    with pytest.raises(ConfigError, match="has no pipeline"):
        _ = job().build


@pytest.mark.parametrize("name", ["config", "t_env", "env", "not an identifier"])
def test_read_name_must_be_a_valid_parameter_name(name):
    with pytest.raises(ConfigError, match="which can't be a parameter name"):
        job(reads={name: TOPIC})


def test_job_without_writes_is_refused():
    with pytest.raises(ConfigError, match="writes nothing"):
        job(writes={})
