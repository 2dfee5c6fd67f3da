"""Refuse pipelines that execute Flink jobs, or add sinks besides the tables that they return.

Compiling must not run anything. `sluice.client.Executions` refuses executions in the JVM, for every environment. While
the call waits in the JVM, its line is read from the Python stack, so that a pipeline that catches the error is refused
as well. Sinks and inserts besides the returned tables would not become part of the job, so they are refused, too.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.data_stream import DataStreamSink
from pyflink.java_gateway import get_gateway
from pyflink.table.statement_set import StatementSet

from sluice.client.protocol import Build
from sluice.errors import CompileError

_INSERTS = ("add", "add_insert", "add_insert_sql")
_READS = frozenset({"collect", "execute_and_collect", "print", "to_pandas"})
"""Calls that fetch rows instead of writing them to a sink."""
_SHOWN = 10
"""How many further line numbers a message lists at most."""
_DEPTH = 4
"""Number of innermost frames in which to look for Py4J: its wait adds frames of Python's socket module."""


@dataclass(frozen=True)
class _Call:
    """A call from the job's code into PyFlink."""

    place: str | None
    """File and line in the job's code; None: the call comes from other code."""
    name: str
    """The called method, e.g. `StatementSet.execute`."""

    @property
    def line(self) -> str:
        """The line number as text; empty without a place."""
        return (self.place or "").rpartition(":")[2]


@dataclass
class Effects:
    """The executions, sinks and inserts of a pipeline so far.

    Args:
        order: The order to build the job.
        env: The environment that the pipeline gets.
    """

    order: Build
    env: StreamExecutionEnvironment
    executions: list[_Call] = field(default_factory=list)
    _sinks: list[tuple[Any, _Call]] = field(default_factory=list)
    _attached: list[_Call] = field(default_factory=list)
    _statements: list[tuple[StatementSet, _Call]] = field(default_factory=list)

    def attempted(self) -> None:
        """Called by the JVM on a separate thread while the caller of an execution waits."""
        frames = [frame for thread, frame in sys._current_frames().items() if thread != threading.get_ident()]
        calls = [self._call(frame) for frame in sorted(frames, key=_waits_for_java, reverse=True)]
        in_job = [call for call in calls if call.place]
        self.executions.append(in_job[0] if in_job else _Call(None, "an execution"))

    class Java:
        """The Java interfaces of this object, for Py4J."""

        implements = ("sluice.client.Executions$Listener",)

    def note_sink(self, sink: DataStreamSink) -> None:
        """Remember a sink that was added to a stream, with its line, for `check_sinks`."""
        self._sinks.append((sink._j_data_stream_sink, self._call(sys._getframe(1))))

    def note_insert(self, statements: StatementSet, method: str) -> None:
        """Remember an insert that was added to a statement set, with its line, for `check_sinks`."""
        call = replace(self._call(sys._getframe(1)), name=f"StatementSet.{method}")
        self._statements.append((statements, call))

    def note_attached(self, _statements: StatementSet) -> None:
        """Remember the line that made the inserts of a statement set sinks of the environment, for `check_sinks`."""
        self._attached.append(replace(self._call(sys._getframe(1)), name="StatementSet.attach_as_datastream"))

    def check_executions(self) -> None:
        """Raise CompileError if the pipeline has tried to execute a job, even if it caught the error."""
        if not self.executions:
            return
        call, *others = self.executions
        reads = call.name.rpartition(".")[2] in _READS or call.name == "Table.execute"
        lines = list(dict.fromkeys(other.line for other in others if other.line and other.line != call.line))
        more = f", also at line {', '.join(lines[:_SHOWN])}" if lines else ""
        place, called = call.place or self.order.job, f"{call.name}{more}"
        raise CompileError(
            f"{place}: the pipeline executes a Flink job itself ({called})",
            remedy="remove the call; to see rows, use sluice.testing.run in a test"
            if reads
            else "return the table or the stream instead: Sluice submits the job and writes it to the topic of writes",
        )

    def check_sinks(self, own: Any) -> None:
        """Raise CompileError if the pipeline has added a sink or an insert besides the tables that it returned.

        Args:
            own: Sluice's statement set, with the inserts of the returned tables.
        """
        for j_sink, call in self._sinks:
            raise self._extra(call, f"the sink {_name(j_sink.getTransformation())!r}")
        for statements, call in self._statements:
            if statements is not own and (operations := list(statements._j_statement_set.getOperations())):
                raise self._extra(call, f"an insert into {_target(operations[0])}")
        for transformation in self.env._j_stream_execution_environment.getTransformations():
            if transformation.getClass().getSimpleName().endswith("SinkTransformation"):
                call = self._attached[0] if self._attached else _Call(None, "in Java")
                raise self._extra(call, f"the sink {_name(transformation)!r}")

    def _extra(self, call: _Call, what: str) -> CompileError:
        place = call.place or self.order.job
        return CompileError(
            f"{place}: the pipeline adds {what} ({call.name}) that it does not return; the job would not include it",
            remedy="declare the topic in writes and return the table or stream for it, or remove the sink",
        )

    def _call(self, innermost: FrameType) -> _Call:
        """The innermost call from the job's code on a stack."""
        prefix = f"{self.order.code}/{self.order.module.partition('.')[0]}/"
        called: FrameType | None = None
        frame: FrameType | None = innermost
        while frame is not None:
            if frame.f_code.co_filename.startswith(prefix):
                return _Call(f"{frame.f_code.co_filename}:{frame.f_lineno}", _called(called))
            called, frame = frame, frame.f_back
        return _Call(None, _called(None))


@contextlib.contextmanager
def refused(order: Build, env: StreamExecutionEnvironment) -> Iterator[Effects]:
    """Refuse executions in this process from now on, and check after the block that none was tried.

    Raises:
        CompileError: the code has tried to execute a job, even if it caught the error.
    """
    effects = Effects(order, env)
    get_gateway().jvm.sluice.client.Executions.refuse(effects)
    with _noted(effects):
        try:
            yield effects
        except Exception as error:
            try:
                effects.check_executions()
            except CompileError as refusal:
                raise refusal from error
            raise
        effects.check_executions()


@contextlib.contextmanager
def _noted(effects: Effects) -> Iterator[None]:
    """Wrap methods of PyFlink's classes to note sinks and inserts, since PyFlink has no hook for that."""
    changed: list[tuple[type, str, Callable[..., Any]]] = []

    def after(owner: type, name: str, note: Callable[[Any], None]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def noting(self: Any, *given: Any, **named: Any) -> Any:
            result = original(self, *given, **named)
            note(self)
            return result

        changed.append((owner, name, original))
        setattr(owner, name, noting)

    after(DataStreamSink, "__init__", effects.note_sink)
    after(StatementSet, "attach_as_datastream", effects.note_attached)
    for name in _INSERTS:
        after(StatementSet, name, functools.partial(effects.note_insert, method=name))
    try:
        yield
    finally:
        for owner, name, original in changed:
            setattr(owner, name, original)


def _waits_for_java(frame: FrameType | None) -> bool:
    """Whether a stack waits in a Py4J call; needed to choose among the stacks of a pipeline with threads."""
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        frame = frame.f_back
    return False


def _called(frame: FrameType | None) -> str:
    """The function that the job's code called, with its class."""
    if frame is None:
        return "an execution"
    owner = frame.f_locals.get("self")
    return f"{type(owner).__name__}.{frame.f_code.co_name}" if owner is not None else frame.f_code.co_name


def _name(transformation: Any) -> str:
    return str(transformation.getName())


def _target(operation: Any) -> str:
    """The table that an insert writes to."""
    if operation.getClass().getSimpleName() == "SinkModifyOperation":
        return str(operation.getContextResolvedTable().getIdentifier().asSummaryString())
    return str(operation.asSummaryString())
