"""A deploy that can't succeed is refused with its reason, and starts nothing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from sluice.errors import CompileError, RefusedError, SchemaError, TopicError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka.topic_steps import Declared, Step
from sluice.project import Project
from sluice.settings import Settings
from tests.integration import sources
from tests.support.running import deploy
from tests.support.topics import create_topic


def jobs_named(lab, name):
    with FlinkClient(lab.local.flink_url) as flink:
        return [job for job in flink.send(calls.jobs()).jobs if job.name == name and not job.state.is_terminal]


def test_compile_error_has_the_planners_message_and_the_line(lab):
    body = '\n@job.pipeline\ndef build(t_env):\n    return t_env.sql_query("SELECT nosuch FROM lines")\n'
    lab.job("wrong", sources.source("wrong", body))
    with pytest.raises(CompileError) as caught:
        deploy(lab.project, "wrong")
    line = (
        sources.source("wrong", body).splitlines().index('    return t_env.sql_query("SELECT nosuch FROM lines")') + 1
    )
    file = lab.project.settings.root / "flink_jobs" / "wrong.py"
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert "Column 'nosuch' not found" in str(caught.value)
    assert not jobs_named(lab, "wrong")
    assert lab.project.ledger.placement("wrong") is None
    assert not lab.project.ledger.operations("wrong")


def test_table_that_differs_from_the_record_is_refused_with_both_types(lab):
    lab.job("schema", sources.source("schema", sources.SQL, "id: int"))
    with pytest.raises(
        SchemaError, match="column id: Out declares BIGINT NOT NULL, the pipeline's table has STRING NOT NULL"
    ):
        deploy(lab.project, "schema")


def test_topic_with_another_number_of_partitions_is_refused_and_unchanged(lab):
    lab.job("parts", sources.source("parts", sources.SQL))
    admin = AdminClient({"bootstrap.servers": lab.local.kafka_servers})
    create_topic(admin, "parts_lines", 4)
    with pytest.raises(TopicError, match="topic parts_lines has 4 partitions, the job declares 1"):
        deploy(lab.project, "parts")
    assert "parts_out" not in admin.list_topics(timeout=10).topics


def test_steps_for_topics_can_be_taken_twice_but_not_on_another_topic(lab):
    lab.job("again", sources.source("again", sources.SQL))
    brokers = lab.project.brokers
    two, four = Declared("again_out", 2, 1, {"retention.ms": "3600000"}), Declared("again_out", 4, 1)
    # A task that is retried takes all steps of its plan again, and several jobs create a topic that they share.
    with ThreadPoolExecutor(5) as pool:
        for _ in range(2):
            list(pool.map(lambda _: lab.project.brokers.apply([Step(two, "create")]), range(5)))
    with pytest.raises(
        TopicError,
        match="create again_out: 4 partitions, replication 1: the topic was changed after the plan was made: "
        "it has 2 p",
    ):
        brokers.apply([Step(four, "create")])
    other = replace(two, settings={"retention.ms": "60000"})
    with pytest.raises(TopicError, match="it has 2 partitions and replication 1; deploy again"):
        brokers.apply([Step(other, "create")])
    for _ in range(2):
        brokers.apply([Step(four, "grow", {"partitions": ("2", "4")})])
    with pytest.raises(TopicError, match="the topic was changed after the plan was made: it has 4 partitions"):
        brokers.apply([Step(two, "grow", {"partitions": ("1", "2")})])
    assert brokers.describe(["again_out"])["again_out"].partitions == 4


def test_flink_job_unknown_to_the_ledger_is_refused_with_its_id(lab):
    lab.job("twice", sources.source("twice", sources.SQL))
    started = deploy(lab.project, "twice")
    (lab.root / ".sluice" / "ledger.db").unlink()
    with pytest.raises(RefusedError, match=f"a job of this name that the ledger does not know: {started.flink_job_id}"):
        deploy(lab.project, "twice")
    assert len(jobs_named(lab, "twice")) == 1


@pytest.mark.parametrize("what", ["kafka", "flink"])
def test_error_names_the_service_that_does_not_answer(lab, what):
    lab.job("far", sources.source("far", sources.SQL))
    file = lab.root / "deployments" / "test.yaml"
    gone = {"kafka": lab.local.kafka_servers, "flink": lab.local.flink_url}[what]
    file.write_text(file.read_text().replace(gone, gone.rpartition(":")[0] + ":1"))
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        deploy(lab.project, "far")


def test_missing_home_directory_is_created(lab):
    settings = Settings(root=lab.root, home=lab.root / "deep" / "er", environment="test")
    assert Project(settings).ledger.placement("x") is None
