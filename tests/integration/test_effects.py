"""A plan has no effects, and what a pipeline executes or writes itself is part of the job, or refused with its line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice.client.process import ClientProcess
from sluice.client.protocol import Build, Part
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import read_offsets
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.topics import create_topics
from tests.integration import sources
from tests.integration.effects_jobs import CATALOG, ELSEWHERE, EXECUTES, EXTRA, ONE
from tests.support.orders import WINDOWS
from tests.support.running import deploy
from tests.support.topics import create_topic
from tests.support.waiting import wait_for

SLUICE = str(Path(sys.executable).parent / "sluice")


def written(lab, name):
    """What a run would change: the ends of every partition, and what the job's group has committed."""
    servers = lab.local.kafka_servers
    admin = AdminClient({"bootstrap.servers": servers})
    ends = read_offsets(connect(lab.project.kafka), {f"{name}_lines", f"{name}_out", f"{name}_side"}, servers)
    group = lab.project.group(name)
    asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(f"{name}_lines", 0)])]
    committed = admin.list_consumer_group_offsets(asked)[group].result().topic_partitions
    return ends, [partition.offset for partition in committed]


def define(lab, name, body, fields="id: str"):
    """Write the job's file; its path and text."""
    filled = body.replace("<servers>", lab.local.kafka_servers).replace("<name>", name)
    text = sources.source(name, filled, fields)
    lab.job(name, text)
    return lab.root / "flink_jobs" / f"{name}.py", text


def plan(lab, name):
    """Exit status and output of `sluice plan`."""
    done = subprocess.run(
        [SLUICE, "plan", name], env=lab.variables, capture_output=True, text=True, check=False, timeout=170
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def refusal(lab, name):
    """What `sluice plan` says when it refuses a job."""
    status, said = plan(lab, name)
    assert status == 2, said
    return said


def line_of(text, words):
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


@pytest.fixture
def waiting(lab):
    """Records that wait for a job of this name, and the topic beside its own."""

    def produce(name):
        create_topics(lab.project, name)
        admin = AdminClient({"bootstrap.servers": lab.local.kafka_servers})
        create_topic(admin, f"{name}_side")
        now = time.time_ns() // 1_000_000
        records = [Message(b"", json.dumps({"id": str(n), "at": now}).encode(), now, 0) for n in range(100)]
        wire.produce(lab.local.kafka_servers, f"{name}_lines", records)

    return produce


def values(lab, topic):
    """The values of a topic, as text."""
    return sorted(message.value.decode() for message in wire.consume(lab.local.kafka_servers, topic))


JSON = sorted(json.dumps({"id": str(number)}, separators=(",", ":")) for number in range(100))
TEXT = sorted(str(number) for number in range(100))
TO_SINK = "stream.map(lambda row: row[0], Types.STRING()).sink_to(sink)"
PARTS = {
    "execute_sql": (ONE, 't_env.execute_sql("INSERT INTO side SELECT id FROM lines").wait()', JSON),
    "execute_insert": (ONE, 'out.execute_insert("side").wait()', JSON),
    "keyword": (ONE, 'out.execute_insert(table_path_or_descriptor="side")', JSON),
    "table_pipeline": (ONE, 'out.insert_into("side").execute()', JSON),
    "statement_set": (ONE, 'statements.add_insert("side", out).execute()', JSON),
    "sql_set": (
        ONE,
        't_env.execute_sql("EXECUTE STATEMENT SET BEGIN INSERT INTO side SELECT id FROM lines; END")',
        JSON,
    ),
    "unexecuted_set": (ONE, 'statements.add_insert("side", out)', JSON),
    "attached": (ONE, 'statements.add_insert("side", out).attach_as_datastream()', JSON),
    "sink_to": (EXTRA, TO_SINK, TEXT),
    "thread": (EXTRA, f"{TO_SINK}; run = threading.Thread(target=env.execute); run.start(); run.join()", TEXT),
    "env_execute": (EXTRA, f'{TO_SINK}; env.execute("mine")', TEXT),
}
BRIEF = ("execute_sql", "unexecuted_set", "env_execute")
"""`make test` deploys these and compiles the others; `make audit` deploys all."""


@pytest.mark.parametrize("way", PARTS)
def test_what_a_pipeline_executes_or_adds_is_part_of_the_job(lab, waiting, way):
    body, call, expected = PARTS[way]
    name = f"part_{way}"
    file, text = define(lab, name, body.replace("<call>", call))
    waiting(name)
    before = written(lab, name)
    status, said = plan(lab, name)
    assert status == 0, said
    assert written(lab, name) == before
    assert "besides its topics, the job writes to " in said
    assert f"flink_jobs/{file.name}:{line_of(text, call)})" in said
    if way in BRIEF or "SLUICE_AUDIT_CLIENTS" in os.environ:
        deploy(lab.project, name)
        wait_for(lambda: values(lab, f"{name}_side") == expected, "the side topic has not all rows")
        wait_for(lambda: len(values(lab, f"{name}_out")) == 100, "the topic of the returned table has not all rows")


def test_printed_stream_is_part_of_the_job(lab):
    _, text = define(lab, "printing", EXTRA.replace("<call>", 'stream.print().name("look")'))
    status, said = plan(lab, "printing")
    assert status == 0, said
    assert f"writes to look (DataStream.print, flink_jobs/printing.py:{line_of(text, 'look')})" in said


def test_second_execution_and_every_read_are_refused_even_if_the_pipeline_catches_them(lab, waiting):
    file, text = define(lab, "eager", EXECUTES)
    waiting("eager")
    before = written(lab, "eager")
    said = refusal(lab, "eager")
    first, *others = [number for number, line in enumerate(text.splitlines(), 1) if line.startswith("    attempt(")]
    assert f"{file}:{first}: the pipeline executes a second Flink job (Table.execute_insert" in said
    assert f"also at line {', '.join(map(str, others))}); the first is at line {line_of(text, 'INSERT INTO')}" in said
    assert written(lab, "eager") == before


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("out.limit(1).execute().print()", "executes a Flink job to read its rows (Table.execute)"),
        ('t_env.execute_sql("SELECT id FROM lines").print()', "to read its rows (StreamTableEnvironment.execute_sql)"),
        ("out.limit(1).to_pandas()", "to read its rows (Table.to_pandas)"),
        (
            "t_env.execute_sql(\"COMPILE PLAN '<root>/plan.json' FOR INSERT INTO side SELECT id FROM lines\")",
            "changes something by CompilePlan (StreamTableEnvironment.execute_sql) outside of memory",
        ),
    ],
    ids=["execute", "select", "to_pandas", "compile_plan"],
)
def test_read_or_write_of_something_else_is_refused_with_its_line(lab, call, words):
    call = call.replace("<root>", str(lab.root))
    file, text = define(lab, "reads", ONE.replace("<call>", call))
    said = refusal(lab, "reads")
    assert f"{file}:{line_of(text, call)}: the pipeline " in said
    assert words in said
    assert not (lab.root / "plan.json").exists()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            'tables.execute_sql("INSERT INTO seen SELECT n FROM numbers")',
            "executes a Flink job in an environment of its own",
        ),
        (
            "StreamTableEnvironment.create(env).execute_sql(made)",
            "executes a Flink job in an environment of its own (StreamTableEnvironment.execute_sql)",
        ),
        ('statements.add_insert_sql("INSERT INTO seen SELECT n FROM numbers")', "adds an insert into "),
        ('own.from_collection([1]).print().name("look")', "adds the sink 'look' (DataStream.print) in an environment"),
    ],
    ids=["executed", "second_table_environment", "added", "sink"],
)
def test_environment_of_the_pipelines_own_is_refused(lab, call, words):
    file, text = define(lab, "elsewhere", ELSEWHERE.replace("<call>", call))
    said = refusal(lab, "elsewhere")
    assert f"{file}:{line_of(text, call)}: the pipeline " in said
    assert words in said
    assert "use the t_env and env that the pipeline function gets as arguments" in said


def test_branch_without_a_sink_is_not_part_of_the_job(lab):
    define(lab, "branch", EXTRA.replace("<call>", "stream.map(lambda row: row[0], Types.STRING())"))
    status, said = plan(lab, "branch")
    assert status == 0, said
    assert "besides its topics" not in said


@pytest.mark.parametrize(
    ("call", "changed"),
    [
        ("t_env.execute_sql(\"CREATE TABLE outside.db.t (id STRING) WITH ('connector' = 'print')\")", "outside.db.t"),
        (
            "t_env.execute_sql(\"CREATE TABLE outside.db.t WITH ('connector' = 'print') AS SELECT 1 AS n\")",
            "outside.db.t",
        ),
        ('t_env.execute_sql("CREATE VIEW outside.db.v AS SELECT 1 AS n")', "outside.db.v"),
        ('t_env.execute_sql("CREATE DATABASE outside.other")', "outside.other"),
        ('t_env.execute_sql("DROP TABLE IF EXISTS outside.db.t")', "outside.db.t"),
        ('t_env.create_table("outside.db.t", described.build())', "outside.db.t"),
        ('t_env.drop_table(table_path="outside.db.t")', "outside.db.t"),
        ('t_env.get_catalog("outside").drop_database("db", True)', "a catalog by drop_database"),
    ],
    ids=["table", "ctas", "view", "database", "drop", "create_table", "drop_table", "catalog"],
)
def test_change_of_a_catalog_that_is_not_in_memory_is_refused_even_if_the_pipeline_catches_it(lab, call, changed):
    touched = lab.root / "touched"
    file, text = define(lab, "outside", CATALOG.replace("<file>", str(touched)).replace("<call>", call))
    said = refusal(lab, "outside")
    assert f"{file}:{line_of(text, call)}: the pipeline changes {changed} (" in said
    assert "outside of memory, which a plan must not" in said
    assert not touched.exists()


def test_temporary_table_and_catalog_in_memory_are_allowed(lab):
    calls = """
    t_env.execute_sql("CREATE CATALOG more WITH ('type' = 'generic_in_memory')")
    t_env.execute_sql("CREATE DATABASE more.db")
    t_env.execute_sql("CREATE TABLE more.db.t (id STRING) WITH ('connector' = 'print')")
    t_env.execute_sql("CREATE TEMPORARY TABLE side2 (id STRING) WITH ('connector' = 'print')")
    t_env.execute_sql("INSERT INTO more.db.t SELECT id FROM lines")"""
    define(lab, "memory", ONE.replace("<call>", calls.strip()))
    status, said = plan(lab, "memory")
    assert status == 0, said
    assert "besides its topics, the job writes to more.db.t (StreamTableEnvironment.execute_sql" in said


def test_replay_writes_only_to_declared_topics(lab):
    inserts = """
    t_env.execute_sql("CREATE TABLE side (`user` STRING) WITH ('connector' = 'print')")
    t_env.execute_sql("INSERT INTO side SELECT `user` FROM orders")
    t_env.to_data_stream(t_env.sql_query("SELECT `user` FROM orders")).print().name("look")
    return t_env"""
    source = WINDOWS.format(name="replayed", timeout="60s").replace("\n    return t_env", inserts)
    lab.job("replayed", source)
    (lab.root / "flink_jobs" / "__init__.py").touch()
    part = Part(
        name="replayed.replay",
        offsets={"orders": {0: (0, 1), 1: (0, 1)}},
        begins="window_start",
        ends="window_start",
        since_ms=0,
        before_ms=1,
        until_ms=1,
    )
    live, replay = (compiled(lab, "replayed", part) for part in (None, part))
    assert [sink.partition(" (")[0] for sink in live.extra_sinks] == ["side", "look"]
    assert any("look" in vertex.name for vertex in live.vertices)
    assert replay.extra_sinks == ()
    assert not any("look" in vertex.name or "side" in vertex.name for vertex in replay.vertices)


def compiled(lab, job, part):
    """The graph of a job, or of a part of its history."""
    order = Build(
        job=job,
        module=f"flink_jobs.{job}",
        code=str(lab.root),
        environment="test",
        brokers={"bootstrap.servers": lab.local.kafka_servers},
        flink_url=lab.local.flink_url,
        part=part,
    )
    variables = {"FLINK_LIB_DIR": str(lab.local.home / "flink" / "lib")}
    with ClientProcess(lab.client_python, lab.root / "client.log", variables=variables) as client:
        return client.prepare(order, timeout=120).graph


SHARED = """
    mapped = stream.map(lambda row: row[0], Types.STRING()).key_by(lambda text: text)
    mapped = mapped.reduce(lambda one, other: other).uid("red").map(lambda text: Row(text), ROW).uid("last")
    mapped.print().name("look")
    return mapped"""


def test_operators_that_returned_and_printed_streams_share_are_compiled_once(lab):
    body = EXTRA.replace("<call>\n    return out", SHARED.strip()).replace(
        "    from pyflink.common import Types\n",
        '    from pyflink.common import Row, Types\n    ROW = Types.ROW_NAMED(["id"], [Types.STRING()])\n',
    )
    define(lab, "sharing", body, "id: str | None")
    (lab.root / "flink_jobs" / "__init__.py").touch()
    graph = compiled(lab, "sharing", None)
    names = [name for vertex in graph.vertices for name in vertex.name.split(" -> ")]
    assert sum("Reduce" in name for name in names) == 1
    assert [sink.partition(" (")[0] for sink in graph.extra_sinks] == ["look"]


@pytest.mark.parametrize("create", ["CREATE TABLE", "CREATE OR REPLACE TABLE"])
def test_options_of_a_table_that_is_written_are_not_in_the_plan(lab, create):
    options = "'connector' = 'print', 'print-identifier' = 'hunter2'"
    define(
        lab,
        "options",
        ONE.replace("<call>", f't_env.execute_sql("{create} made WITH ({options}) AS SELECT id FROM lines")'),
    )
    status, said = plan(lab, "options")
    assert status == 0, said
    assert "the job writes to made (StreamTableEnvironment.execute_sql" in said
    assert "hunter2" not in said


def test_each_insert_is_named_with_its_own_line(lab):
    calls = """
    t_env.execute_sql("CREATE TABLE side2 (id STRING) WITH ('connector' = 'print')")
    statements.add_insert("side", out)
    statements.add_insert_sql("INSERT INTO side2 SELECT id FROM lines")"""
    _, text = define(lab, "lines_of", ONE.replace("<call>", calls.strip()))
    status, said = plan(lab, "lines_of")
    assert status == 0, said
    assert f"side (StatementSet.add_insert, flink_jobs/lines_of.py:{line_of(text, 'add_insert(')})" in said
    assert f"side2 (StatementSet.add_insert_sql, flink_jobs/lines_of.py:{line_of(text, 'add_insert_sql(')})" in said
