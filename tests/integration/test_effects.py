"""A plan has no effects: a pipeline that executes or writes something itself is refused with its line."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from sluice.kafka.brokers import connect
from sluice.kafka.offsets import read_offsets
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.topics import create_topics
from tests.integration import sources
from tests.integration.effects_jobs import EXECUTES, EXTRA, INSERTS

SLUICE = str(Path(sys.executable).parent / "sluice")


def written(lab, name):
    """What a run would change: the ends of every partition, and what the job's group has committed."""
    servers = lab.local.kafka_servers
    admin = AdminClient({"bootstrap.servers": servers})
    ends = read_offsets(connect(lab.project.kafka), {f"{name}_lines", f"{name}_out", "eager_side"}, servers)
    group = lab.project.group(name)
    asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(f"{name}_lines", 0)])]
    committed = admin.list_consumer_group_offsets(asked)[group].result().topic_partitions
    return ends, [partition.offset for partition in committed]


def define(lab, name, body):
    """Write the job's file; its path and text."""
    text = sources.source(name, body.replace("<servers>", lab.local.kafka_servers))
    lab.job(name, text)
    return lab.root / "flink_jobs" / f"{name}.py", text


def refusal(lab, name):
    """What `sluice plan` says when it refuses a job."""
    done = subprocess.run(
        [SLUICE, "plan", name], env=lab.variables, capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def line_of(text, words):
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


@pytest.fixture
def waiting(lab):
    """Records that wait for a job of this name, and the topic beside its own."""

    def produce(name):
        create_topics(lab.project, name)
        admin = AdminClient({"bootstrap.servers": lab.local.kafka_servers})
        if "eager_side" not in admin.list_topics(timeout=10).topics:
            admin.create_topics([NewTopic("eager_side", 1, 1)])["eager_side"].result()
        now = time.time_ns() // 1_000_000
        records = [Message(b"", json.dumps({"id": str(n), "at": now}).encode(), now, 0) for n in range(100)]
        wire.produce(lab.local.kafka_servers, f"{name}_lines", records)

    return produce


def test_plan_refuses_a_pipeline_that_executes_an_insert(lab, waiting):
    lab.use_own_clients()
    file, text = define(lab, "inserting", INSERTS)
    waiting("inserting")
    before = written(lab, "inserting")
    said = refusal(lab, "inserting")
    assert f"{file}:{line_of(text, 'INSERT INTO')}: the pipeline executes a Flink job itself" in said
    assert "StreamTableEnvironment.execute_sql" in said
    assert "return the table or the stream instead" in said
    assert written(lab, "inserting") == before


def test_every_kind_of_execute_is_refused_even_if_the_pipeline_catches_it(lab, waiting):
    lab.use_own_clients()
    file, text = define(lab, "eager", EXECUTES)
    waiting("eager")
    before = written(lab, "eager")
    said = refusal(lab, "eager")
    first, *others = [number for number, line in enumerate(text.splitlines(), 1) if line.startswith("    attempt(")]
    assert f"{file}:{first}: the pipeline executes a Flink job itself" in said
    assert f"also at line {', '.join(map(str, others))})" in said
    assert written(lab, "eager") == before


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ('stream.print().name("look")', "sink 'look' (DataStream.print)"),
        ("stream.map(lambda row: row[0], Types.STRING()).sink_to(sink)", "(DataStream.sink_to)"),
        ('statements.add_insert("side", out)', "insert into default_catalog.default_database.side"),
        ('statements.add_insert("side", out).attach_as_datastream()', "(StatementSet.attach_as_datastream)"),
    ],
    ids=["print", "sink_to", "statement_set", "attached"],
)
def test_sink_that_the_pipeline_does_not_return_is_refused_by_name(lab, extra, named):
    file, text = define(lab, "extra", EXTRA.replace("<extra>", extra))
    said = refusal(lab, "extra")
    assert f"{file}:{line_of(text, extra)}: the pipeline adds" in said
    assert named in said


def test_branch_without_a_sink_is_allowed(lab):
    define(lab, "extra", EXTRA.replace("<extra>", "stream.map(lambda row: row[0], Types.STRING())"))
    subprocess.run([SLUICE, "plan", "extra"], env=lab.variables, capture_output=True, check=True, timeout=170)
