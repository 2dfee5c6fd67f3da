"""One bounded run of a job's query, in a process of its own: `python -m benchmarks.bounded_run ours|plain JOB ...`.

`ours` reads the topic as Sluice does: strict format, arrival time, late events. `plain` is a table as written by hand:
the JSON format that ignores parse errors, and a watermark on event time. The query and the sink are the same.
Prints the job's seconds from RUNNING to FINISHED.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import time
import uuid
from pathlib import Path

import httpx

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import JobState

BOUNDED = "'scan.startup.mode' = 'earliest-offset',\n  'scan.bounded.mode' = 'latest-offset'"


def main() -> None:
    """Run it and print the seconds."""
    kind, name, servers, url, root = sys.argv[1:]
    os.environ["_python_worker_execution_mode"] = "process"
    os.environ["FLINK_HOME"] = str(Path(str(importlib.util.find_spec("pyflink").origin)).parent)
    from sluice.client import graph, pipeline, tables
    from sluice.client.protocol import Build, Submit

    order = Build(
        job=name,
        module=f"flink_jobs.{name}",
        code=root,
        environment="bench",
        brokers={"bootstrap.servers": servers},
        parallelism=2,
        writes={},
        flink_url=url,
    )
    env, t_env = pipeline.environments(order)
    for statement in tables.functions():
        t_env.execute_sql(statement)
    job = pipeline.load_job(order)
    values = {"config": job.config(), "t_env": t_env, "env": env}
    for read, topic in job.reads.items():
        ours = tables.source_table(read, topic, order.brokers, "bench")
        ours = ours.replace("'scan.startup.mode' = 'earliest-offset'", BOUNDED)
        t_env.execute_sql(ours if kind == "ours" else plain(read, topic, servers))
        t_env.execute_sql(
            tables.source_view(read, topic)
            if kind == "ours"
            else f"CREATE TEMPORARY VIEW `{read}` AS SELECT * FROM `{tables.source_name(read)}`"
        )
        values[read] = t_env.from_path(read)
    wanted = inspect.signature(job.build).parameters
    built = pipeline.as_tables(job, job.build(**{parameter: values[parameter] for parameter in wanted}), t_env)
    statements = t_env.create_statement_set()
    for sink, table in built.items():
        topic = job.sinks[sink].with_settings({"topic": "bench_out", "delivery": "at-least-once"})
        if kind == "ours":
            t_env.execute_sql(tables.sink_table(sink, topic, order.brokers, "bench"))
            inserted, _ = pipeline.fit(table, topic, t_env, f"{name}.{sink}")
        else:
            inserted = table
            t_env.execute_sql(plain_sink(sink, table, topic, servers))
        statements.add_insert(tables.sink_name(sink), inserted)
    prepared = graph.PreparedJob(pipeline.Pipeline(job, t_env, statements, {}), order)
    job_id = prepared.submit(Submit(flink_job_id=uuid.uuid4().hex))
    print(seconds(url, job_id), flush=True)
    os._exit(0)


def plain(read: str, topic: object, servers: str) -> str:
    """The source as plain SQL with the JSON format."""
    from sluice.client import tables
    from sluice.job.record import columns

    fields = ",\n  ".join(
        f"`{name}` {flink.removesuffix(' NOT NULL')}" for name, flink in columns(topic.record).items()
    )
    return f"""CREATE TEMPORARY TABLE `{tables.source_name(read)}` (
  {fields},
  `arrival_time` TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL,
  `event_time` AS TO_TIMESTAMP_LTZ(`timestamp`, 3),
  `watermark` AS `arrival_time` - INTERVAL '11' SECOND,
  WATERMARK FOR `event_time` AS `event_time` - INTERVAL '10' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '{topic.topic}', 'properties.bootstrap.servers' = '{servers}',
  'properties.group.id' = 'plain', {BOUNDED},
  'format' = 'json', 'json.ignore-parse-errors' = 'true')"""


def plain_sink(sink: str, table: object, topic: object, servers: str) -> str:
    """The sink as plain SQL, of the built table's own types."""
    from sluice.client import tables

    columns = table._j_table.getResolvedSchema().getColumns()
    built = [(column.getName(), column.getDataType().getLogicalType()) for column in columns]
    fields = ", ".join(f"`{name}` {flink.asSummaryString()}" for name, flink in built)
    key = f", 'key.format' = 'json', 'key.fields' = '{';'.join(topic.key)}'" if topic.key else ""
    return f"""CREATE TEMPORARY TABLE `{tables.sink_name(sink)}` ({fields}) WITH (
  'connector' = 'kafka', 'topic' = '{topic.topic}', 'properties.bootstrap.servers' = '{servers}',
  'properties.compression.type' = 'lz4', 'value.format' = 'json'{key})"""


def seconds(url: str, job_id: str) -> float:
    """Wait for the end; the seconds from RUNNING to FINISHED by the cluster's clock."""
    with FlinkClient(url) as flink:
        while not (state := flink.send(calls.status(job_id)).status).is_terminal:
            time.sleep(0.2)
        if state is not JobState.FINISHED:
            raise SystemExit(f"{state.value}: {flink.send(calls.exceptions(job_id)).history.entries[0].words}")
    stamps = httpx.get(f"{url}/jobs/{job_id}").raise_for_status().json()["timestamps"]
    return (stamps["FINISHED"] - stamps["RUNNING"]) / 1000


if __name__ == "__main__":
    main()
