"""Build a job's pipeline: environments, sources, the job's function, the schema check, sinks."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

from pydantic import ValidationError
from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import EnvironmentSettings, StatementSet, StreamTableEnvironment, Table
from pyflink.table.expressions import call_sql

from sluice.client import tables
from sluice.client.protocol import Build
from sluice.client.window_bounds import window_bounds
from sluice.errors import ConfigError, SchemaError
from sluice.job.config import secret_settings
from sluice.job.definition import Job
from sluice.job.names import consumer_group
from sluice.job.record import columns
from sluice.job.topic import Kafka


@dataclass(frozen=True)
class Pipeline:
    """A job's tables with their inserts, before compilation.

    Attributes:
        job: The job.
        env: Its environment, a capturing one.
        statements: The inserts of its tables, and those that it adds itself.
        columns: See `sluice.client.protocol.Graph`.
        extra_sinks: What the job writes besides its tables.
        streams: The graph includes the sinks of the environment's streams.
    """

    job: Job
    env: StreamExecutionEnvironment
    statements: StatementSet
    columns: dict[str, dict[str, str]]
    extra_sinks: tuple[str, ...] = ()
    streams: bool = False

    def with_own(self, extra_sinks: tuple[str, ...], *, streams: bool) -> Pipeline:
        """The pipeline with the sinks that it adds itself."""
        return replace(self, extra_sinks=extra_sinks, streams=streams)


def load_job(order: Build) -> Job:
    """Import the job's module from the artifact and return the job in it.

    Raises:
        ConfigError: the module defines no job with that name.
    """
    sys.path.insert(0, order.code)
    module = importlib.import_module(order.module)
    for value in vars(module).values():
        if isinstance(value, Job) and value.name == order.job:
            return value
    raise ConfigError(
        f"{order.module} defines no job named {order.job}",
        remedy=f"define Job(name={order.job!r}, ...) at the top level of the file",
    )


def environments(order: Build) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    """Flink's two environments with the order's options; every job runs in UTC."""
    configuration = Configuration()
    for name, value in {**order.options, "parallelism.default": str(order.parallelism)}.items():
        configuration.set_string(name, value)
    configuration.set_string("execution.runtime-mode", "STREAMING")
    configuration.set_string("table.local-time-zone", "UTC")
    configuration.set_string("pipeline.name", order.part.name if order.part else order.job)
    configuration.set_string("execution.target", "remote")
    if not order.options.get("python.executable"):
        # Flink stores it in each operator with Python functions, and doesn't use the cluster's option.
        configuration.set_string("python.executable", sys.executable)
    get_gateway().jvm.sluice.client.CapturingEnvironment.install()
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    settings = EnvironmentSettings.new_instance().in_streaming_mode().build()
    t_env = StreamTableEnvironment.create(env, settings)
    for path in (order.code, *order.python_files):
        t_env.add_python_file(path)
    return env, t_env


def local_environments(name: str) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    """Flink's two environments in this process, for tests: parallelism 1, UTC, streaming mode as in production."""
    configuration = Configuration()
    for option, value in {
        "parallelism.default": "1",
        "execution.runtime-mode": "STREAMING",
        "table.local-time-zone": "UTC",
        "pipeline.name": name,
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "rest.bind-address": "127.0.0.1",
    }.items():
        configuration.set_string(option, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    return env, StreamTableEnvironment.create(env, EnvironmentSettings.new_instance().in_streaming_mode().build())


def collect(table: Table, topic: Kafka) -> list[dict[str, Any]]:
    """Execute a bounded table and return its rows, as the record's Python types."""
    moments = [name for name, flink in columns(topic.record).items() if flink.startswith("TIMESTAMP_LTZ")]
    # PyFlink returns a TIMESTAMP without a zone as a datetime; the values are in UTC.
    names = list(columns(topic.record))
    selected = [f"CAST(`{name}` AS TIMESTAMP(3))" if name in moments else f"`{name}`" for name in names]
    with table.select(*(call_sql(text) for text in selected)).execute().collect() as results:
        rows = [dict(zip(names, row, strict=True)) for row in results]
    return [
        {
            name: value.replace(tzinfo=UTC) if name in moments and value is not None else value
            for name, value in row.items()
        }
        for row in rows
    ]


def build(order: Build, job: Job, env: StreamExecutionEnvironment, t_env: StreamTableEnvironment) -> Pipeline:
    """Declare sources and sinks, call the job's function, and compare its tables with the records.

    Raises:
        ConfigError: a setting is invalid, or the function doesn't return a table for each sink.
        SchemaError: a table differs from its sink's record.
    """
    part = order.part
    names = consumer_group(order.environment, part.name if part else order.job)
    given: dict[str, Any] = {"config": _config(order, job), "t_env": t_env, "env": env}
    for statement in tables.functions():
        t_env.execute_sql(statement)
    for read, declared in job.reads.items():
        topic = _topic(declared, order.reads.get(read, {}), f"{order.job}: reads.{read}")
        offsets = part.offsets[read] if part else None
        t_env.execute_sql(
            tables.source_table(read, topic, order.brokers, names, carry_over=order.carry_over, offsets=offsets)
        )
        t_env.execute_sql(tables.source_view(read, topic))
        given[read] = t_env.from_path(read)
    wanted = inspect.signature(job.build).parameters
    built = as_tables(job, job.build(**{name: given[name] for name in wanted}), t_env)

    statements = t_env.create_statement_set()
    found: dict[str, dict[str, str]] = {}
    for sink, table in built.items():
        topic = _topic(job.sinks[sink], order.writes.get(sink, {}), f"{order.job}: writes.{sink}")
        t_env.execute_sql(tables.sink_table(sink, topic, order.brokers, f"{names}.{sink}"))
        fitted, found[sink] = fit(table, topic, t_env, f"{order.job}.{sink}")
        # The condition is on the fitted columns, where window bounds are TIMESTAMP_LTZ already.
        statements.add_insert(tables.sink_name(sink), fitted.where(call_sql(tables.rows_of(part))) if part else fitted)
    return Pipeline(job, env, statements, found)


def _config(order: Build, job: Job) -> Any:
    try:
        return job.config(**order.config)
    except ValidationError as error:
        raise ConfigError(f"{order.job}: config: {_first(error, secret_settings(job.config))}") from error


def _topic(declared: Kafka, values: Mapping[str, Any], where: str) -> Kafka:
    try:
        return declared.with_settings(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first(error)}") from error


def _first(error: ValidationError, secrets: Collection[str] = ()) -> str:
    first = error.errors()[0]
    got = "a value that is not shown" if {*first["loc"]}.intersection(secrets) else repr(first.get("input"))
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {got}"


def as_tables(job: Job, built: Any, t_env: StreamTableEnvironment) -> dict[str, Table]:
    """The tables that the job's function returned, by sink.

    Raises:
        ConfigError: a sink has no table, or an unknown sink has one.
    """
    by_sink = built if isinstance(built, dict) else {next(iter(job.sinks)): built}
    if set(by_sink) != set(job.sinks):
        raise ConfigError(
            f"{job.place}: the pipeline of {job.name} returns {_names(by_sink)}, the job writes {_names(job.sinks)}",
            remedy="return a dict with a table for each sink",
        )
    result = {}
    for sink, value in by_sink.items():
        table = t_env.from_data_stream(value) if isinstance(value, DataStream) else value
        if not isinstance(table, Table):
            raise ConfigError(
                f"{job.place}: the pipeline of {job.name} returns {type(value).__name__} for {sink}",
                remedy="return a Table or a DataStream",
            )
        result[sink] = table
    return result


def _names(mapping: Mapping[str, Any]) -> str:
    return ", ".join(sorted(mapping)) or "nothing"


def fit(table: Table, topic: Kafka, t_env: StreamTableEnvironment, where: str) -> tuple[Table, dict[str, str]]:
    """Select the record's columns from a table, after comparing names and types.

    Window bounds, which have the type TIMESTAMP(3) in Flink, are cast to TIMESTAMP_LTZ(3) in UTC; nothing else is cast.
    Returns the table, and the Flink type of each column before the cast.

    Raises:
        SchemaError: a column is missing, unknown, or has another type.
    """
    jvm = get_gateway().jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    parse = jvm.org.apache.flink.table.types.logical.utils.LogicalTypeParser.parse
    found = {
        column.getName(): column.getDataType().getLogicalType()
        for column in table._j_table.getResolvedSchema().getColumns()
    }
    declared = {name: parse(text, loader) for name, text in columns(topic.record).items()}
    record = topic.record.__name__
    if missing := [name for name in declared if name not in found]:
        raise SchemaError(
            f"{where}: {record} declares {', '.join(missing)}, the pipeline's table has {', '.join(found)}",
            remedy="select the missing column, or take the field out of the record",
        )
    if extra := [name for name in found if name not in declared]:
        raise SchemaError(
            f"{where}: the pipeline's table has {', '.join(extra)}, which {record} does not declare",
            remedy="add a field to the record, or leave the column out of the select",
        )
    bounds: dict[str, bool] | None = None
    selected = []
    for name, expected in declared.items():
        actual = found[name]
        if _is_moment_without_zone(jvm, actual, expected):
            # Ask the planner once, and only if a column may need this cast.
            bounds = window_bounds(table, t_env) if bounds is None else bounds
        if bounds and bounds.get(name) == expected.isNullable() and _is_moment_without_zone(jvm, actual, expected):
            selected.append(f"CAST(`{name}` AS TIMESTAMP_LTZ(3)) AS `{name}`")
        elif actual.equals(expected):
            selected.append(f"`{name}`")
        else:
            raise SchemaError(
                f"{where}: column {name}: {record} declares {expected.asSummaryString()}, "
                f"the pipeline's table has {actual.asSummaryString()}",
                remedy=_schema_remedy(actual, expected),
            )
    view = f"{where.rsplit('.', 1)[-1]}__built"
    t_env.create_temporary_view(view, table)
    select = tables.dead_letter_columns() if tables.is_dead_letters(topic) else ", ".join(selected)
    fitted = t_env.sql_query(f"SELECT {select} FROM `{view}`")  # noqa: S608 - names are checked above
    return fitted, {name: found[name].asSummaryString() for name in declared}


def _is_moment_without_zone(jvm: Any, actual: Any, expected: Any) -> bool:
    """Whether a column is a TIMESTAMP and the record declares a TIMESTAMP_LTZ of the same precision."""
    root = jvm.org.apache.flink.table.types.logical.LogicalTypeRoot
    return bool(
        actual.getTypeRoot().equals(root.TIMESTAMP_WITHOUT_TIME_ZONE)
        and expected.getTypeRoot().equals(root.TIMESTAMP_WITH_LOCAL_TIME_ZONE)
        and actual.getPrecision() == expected.getPrecision()
    )


def _schema_remedy(actual: Any, expected: Any) -> str:
    if actual.copy(expected.isNullable()).equals(expected):
        if actual.isNullable():
            return "declare the field as `... | None`, or replace null by COALESCE"
        return "the column is never null: declare the field without `| None`"
    return "cast the column to the declared type, or declare the table's type"
