"""What a pipeline executes, writes and changes besides the tables that it returns.

Compiling must not run anything. In the JVM, `sluice.client.CapturingEnvironment` captures an execution instead of
running it. The inserts of one execution, other statement sets, and the sinks of streams become part of the job, in one
graph with the returned tables. What can't be part of one streaming job is refused with its line, even if the pipeline
catches the error: a second execution, a read of rows, an execution in another environment, a change of a catalog that
isn't in memory. While a call waits in the JVM, its line is read from the Python stack.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from py4j.protocol import Py4JError
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.data_stream import DataStreamSink
from pyflink.java_gateway import get_gateway
from pyflink.table import StatementSet, StreamTableEnvironment, TableEnvironment
from pyflink.table.catalog import Catalog

from sluice.client.interception import Add, intercepted
from sluice.client.job_calls import JobCall, call_of, waiting_call
from sluice.client.protocol import Build
from sluice.errors import CompileError

_SELECTS = frozenset({"Table.execute", "StreamTableEnvironment.execute_sql", "TableEnvironment.execute_sql"})
"""Calls that read rows unless they execute inserts."""
_TABLES_AS = ("CreateTableASOperation", "ReplaceTableAsOperation")
_WITH_EFFECTS = ("CompilePlan", "CompileAndExecutePlan", "ExecutePlan", "CallProcedure")
"""Operations that write a file, run what a file says, or run a catalog's procedure, wherever."""
_CHANGES = ("Create", "Alter", "Drop", "Add", "Replace", "Truncate")
"""How the class names of Flink's operations begin that change a catalog."""
_OBJECTS = ("getTableIdentifier", "getViewIdentifier", "getFunctionIdentifier", "getModelIdentifier")
"""The methods with which an operation names the object that it changes."""
_DEFAULT_DATABASE = "default_catalog.default_database."
_READS = frozenset({"collect", "execute_and_collect", "print", "to_pandas"})
"""Calls that fetch rows instead of writing them to a sink."""
_SHOWN = 10
"""How many further line numbers a message lists at most."""


class _Why(StrEnum):
    """Why an execution or a statement is refused."""

    READS = "reads rows"
    SECOND = "second execution"
    ELSEWHERE = "another environment"
    CATALOG = "catalog"


@dataclass(frozen=True)
class _Execution:
    """An execution in progress: its inserts, whether it is of streams, and whether in the pipeline's environment."""

    inserts: tuple[Add, ...]
    streams: bool
    own: bool


@dataclass
class Effects:
    """The executions, sinks and inserts of a pipeline so far.

    Args:
        order: The order to build the job.
        env: The environment that the pipeline gets.
        t_env: The table environment that the pipeline gets.

    Attributes:
        executed: The execution that was accepted; None: there was none.
    """

    order: Build
    env: StreamExecutionEnvironment
    t_env: StreamTableEnvironment
    executed: JobCall | None = None
    _refused: list[tuple[_Why, JobCall, str]] = field(default_factory=list)
    _running: _Execution | None = None
    executed_streams: bool = False
    _inserts: list[Add] = field(default_factory=list)
    _sinks: list[tuple[Any, JobCall]] = field(default_factory=list)
    _attached: dict[int, JobCall] = field(default_factory=dict)
    _statements: list[tuple[StatementSet, JobCall]] = field(default_factory=list)
    _lines: dict[str, JobCall] = field(default_factory=dict)

    def accepts(self, own: bool) -> bool:  # noqa: FBT001 - Java calls it
        """Called by the JVM on a separate thread while the caller of an execution waits.

        Args:
            own: It is an execution of the environment that the pipeline gets.
        """
        call = waiting_call(self.order)
        why = self._why_refused(call, own=own)
        if why is not None:
            self._refused.append((why, call, ""))
            return False
        self.executed = call
        if self._running:
            self._inserts += self._running.inserts
            self.executed_streams = self._running.streams
        return True

    class Java:
        """The Java interfaces of this object, for Py4J."""

        implements = ("sluice.client.Executions$Listener",)

    def _why_refused(self, call: JobCall, *, own: bool) -> _Why | None:
        running = self._running
        if running is None and (call.method in _READS or call.name in _SELECTS):
            return _Why.READS
        if not own or running is None or not running.own:
            return _Why.ELSEWHERE
        return _Why.SECOND if self.executed else None

    @contextlib.contextmanager
    def executing(self, owner: TableEnvironment | StreamExecutionEnvironment, inserts: Iterable[Add]) -> Iterator[None]:
        """The block executes inserts, or streams; they become part of the job if the execution is accepted."""
        streams = isinstance(owner, StreamExecutionEnvironment)
        # Java reports whether streams are executed in the pipeline's environment.
        own = streams or self._is_own(owner)
        self._running = _Execution(tuple(inserts), streams=streams, own=own)
        try:
            yield
        finally:
            self._running = None

    def before_operation(self, t_env: TableEnvironment, operation: Any) -> None:
        """Raise CompileError if a statement would change something outside, e.g. a catalog that isn't in memory."""
        kind = str(operation.getClass().getSimpleName())
        if kind in _TABLES_AS:
            operation = operation.getCreateTableOperation()
        if any(part in kind for part in _WITH_EFFECTS):
            raise self._refused_change(f"something by {kind.removesuffix('Operation')}")
        if not kind.startswith(_CHANGES) or "Temp" in kind or _ask(operation, "isTemporary"):
            return
        for method in _OBJECTS:
            if (identifier := _ask(operation, method)) is not None:
                self._refuse_unless_in_memory(t_env, identifier.getCatalogName(), identifier.asSummaryString())
                return
        if "Database" in kind:
            catalog = str(operation.getCatalogName())
            self._refuse_unless_in_memory(t_env, catalog, f"{catalog}.{operation.getDatabaseName()}")

    def before_change(self, t_env: TableEnvironment, path: str) -> None:
        """Raise CompileError if the object of a path would be in a catalog that isn't in memory."""
        j_tenv = t_env._j_tenv
        identifier = j_tenv.getCatalogManager().qualifyIdentifier(j_tenv.getParser().parseIdentifier(path))
        self._refuse_unless_in_memory(t_env, identifier.getCatalogName(), identifier.asSummaryString())

    def _refuse_unless_in_memory(self, t_env: TableEnvironment, catalog: str, changed: str) -> None:
        found = t_env._j_tenv.getCatalog(catalog)
        if found.isPresent() and not _is_in_memory(found.get()):
            raise self._refused_change(changed)

    def before_catalog_call(self, catalog: Catalog, method: str) -> None:
        """Raise CompileError if a method would change a catalog that isn't in memory."""
        if not _is_in_memory(catalog._j_catalog):
            raise self._refused_change(f"a catalog by {method}")

    def _refused_change(self, changed: str) -> CompileError:
        self._refused.append((_Why.CATALOG, call_of(self.order, sys._getframe(1)), changed))
        return self._refusal()

    def note_sink(self, sink: DataStreamSink) -> None:
        """Remember a sink that was added to a stream, with its line."""
        self._sinks.append((sink._j_data_stream_sink, call_of(self.order, sys._getframe(1))))

    def note_insert(self, statements: StatementSet, method: str) -> None:
        """Remember a statement set with inserts, with the line."""
        call = replace(call_of(self.order, sys._getframe(1)), name=f"StatementSet.{method}")
        self._statements.append((statements, call))
        self._lines[str(list(statements._j_statement_set.getOperations())[-1].hashCode())] = call

    def note_attached(self, _statements: StatementSet) -> None:
        """Remember the line that made the inserts of a statement set sinks of the environment."""
        call = replace(call_of(self.order, sys._getframe(1)), name="StatementSet.attach_as_datastream")
        for number in self._sink_transformations():
            self._attached.setdefault(number, call)

    def check(self) -> None:
        """Raise CompileError if the pipeline has tried something that is refused, even if it caught the error."""
        if self._refused:
            raise self._refusal()

    def _refusal(self) -> CompileError:
        (why, call, changed), *others = self._refused
        lines = list(dict.fromkeys(other.line for _, other, _ in others if other.line and other.line != call.line))
        more = f", also at line {', '.join(lines[:_SHOWN])}" if lines else ""
        place, called = call.place or self.order.job, f"{call.name}{more}"
        if why is _Why.CATALOG:
            return CompileError(
                f"{place}: the pipeline changes {changed} ({called}) outside of memory, which a plan must not",
                remedy="change it once outside of the job, or create a temporary object",
            )
        if why is _Why.SECOND and self.executed:
            return CompileError(
                f"{place}: the pipeline executes a second Flink job ({called}); the first is at line "
                f"{self.executed.line}",
                remedy="add all inserts to one statement set, and execute that or nothing: a job has one graph",
            )
        if why is _Why.READS:
            return CompileError(
                f"{place}: the pipeline executes a Flink job to read its rows ({called})",
                remedy="remove the call; to see rows, use sluice.testing.run in a test",
            )
        return CompileError(
            f"{place}: the pipeline executes a Flink job in an environment of its own ({called})",
            remedy="use the t_env and env that the pipeline function gets as arguments",
        )

    def include(self, statements: StatementSet) -> tuple[str, ...]:
        """Add the pipeline's own inserts to Sluice's statement set; name all that the job writes besides its tables.

        Raises:
            CompileError: a sink or an insert is in an environment of the pipeline's own.
        """
        found: list[str] = []
        j_set = statements._j_statement_set
        before = len(list(j_set.getOperations()))
        for add in self._inserts:
            add(j_set)
        if self.executed:
            found += [self._named(each, self.executed) for each in list(j_set.getOperations())[before:]]
        included = {id(statements)}
        for other, call in self._statements:
            if id(other) in included:
                continue
            included.add(id(other))
            operations = list(other._j_statement_set.getOperations())
            if operations and not self._is_own(other._t_env):
                raise self._foreign(call, f"an insert into {_target(operations[0])}")
            for operation in operations:
                j_set.getOperations().add(operation)
                found.append(self._named(operation, self._lines.get(str(operation.hashCode()), call)))
        return (*found, *self._stream_sinks())

    @property
    def has_streams(self) -> bool:
        """Whether the job has the sinks of the environment's streams."""
        return self.executed_streams or bool(self._attached) or bool(self._sink_transformations())

    def _stream_sinks(self) -> Iterator[str]:
        transformations = self._sink_transformations()
        calls = {}
        for j_sink, call in self._sinks:
            number = j_sink.getTransformation().getId()
            if number not in transformations:
                raise self._foreign(call, f"the sink {_name(j_sink.getTransformation())!r}")
            calls[number] = call
        in_java = JobCall(None, "in Java")
        for number, transformation in transformations.items():
            # The planner numbers its operators.
            name = re.sub(r"\[\d+\]", "", _name(transformation))
            yield self._at(name, calls.get(number) or self._attached.get(number, in_java))

    def _sink_transformations(self) -> dict[int, Any]:
        return {
            int(transformation.getId()): transformation
            for transformation in self.env._j_stream_execution_environment.getTransformations()
            if transformation.getClass().getSimpleName().endswith("SinkTransformation")
        }

    def _named(self, operation: Any, call: JobCall) -> str:
        return self._at(_target(operation).removeprefix(_DEFAULT_DATABASE), call)

    def _at(self, name: str, call: JobCall) -> str:
        place = (call.place or "").removeprefix(f"{self.order.code}/")
        return f"{name} ({call.name}{f', {place}' if place else ''})"

    def _foreign(self, call: JobCall, what: str) -> CompileError:
        return CompileError(
            f"{call.place or self.order.job}: the pipeline adds {what} ({call.name}) in an environment of its own",
            remedy="use the t_env and env that the pipeline function gets as arguments",
        )

    def _is_own(self, t_env: TableEnvironment) -> bool:
        return bool(t_env._j_tenv.equals(self.t_env._j_tenv))


@contextlib.contextmanager
def captured(order: Build, env: StreamExecutionEnvironment, t_env: StreamTableEnvironment) -> Iterator[Effects]:
    """Capture executions in this process from now on, and check after the block that none was refused.

    Raises:
        CompileError: the code has tried something that is refused, even if it caught the error.
    """
    effects = Effects(order, env, t_env)
    get_gateway().jvm.sluice.client.Executions.listen(effects)
    with intercepted(effects):
        try:
            yield effects
        except Exception as error:
            try:
                effects.check()
            except CompileError as refusal:
                if refusal is not error:
                    raise refusal from error
            raise
        effects.check()


def _ask(operation: Any, method: str) -> Any:
    """What a method of a Java object returns; None: the object has no such method."""
    try:
        return getattr(operation, method)()
    except Py4JError:
        return None


def _is_in_memory(j_catalog: Any) -> bool:
    """Whether a catalog ends with the process."""
    return bool(j_catalog.getClass().getSimpleName() == "GenericInMemoryCatalog")


def _name(transformation: Any) -> str:
    return str(transformation.getName())


def _target(operation: Any) -> str:
    """The table that an insert writes to. A summary of Flink's could contain the table's options, with secrets."""
    kind = str(operation.getClass().getSimpleName())
    if kind == "SinkModifyOperation":
        return str(operation.getContextResolvedTable().getIdentifier().asSummaryString())
    if kind in _TABLES_AS:
        return str(operation.getCreateTableOperation().getTableIdentifier().asSummaryString())
    return kind.removesuffix("Operation")
