"""What a pipeline does beside returning its tables: executions and sinks of its own. Both are refused.

Compiling touches nothing, so nothing may run. Executions are refused in the JVM by `sluice.client.Executions`, which
all of them pass, whatever environment they come from; the line is read from the Python stack while the call waits in
it, so that a pipeline that swallows the error is refused as well. Sinks and inserts that the pipeline adds beside
what it returns would not be part of the job: they are refused instead of dropped.
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
"""Calls that look at rows instead of writing them."""
_SHOWN = 10
"""How many further lines a message names."""
_DEPTH = 4
"""Frames of Python's socket module in which Py4J waits, and one more."""


@dataclass(frozen=True)
class _Call:
    """A call of the job's code into PyFlink."""

    place: str | None
    """File and line of the job's code; None: the call comes from elsewhere."""
    name: str
    """As Python calls it, e.g. `StatementSet.execute`."""

    @property
    def line(self) -> str:
        """The line alone, or nothing."""
        return (self.place or "").rpartition(":")[2]


@dataclass
class Effects:
    """What a pipeline has done so far beside returning its tables.

    Args:
        order: Whose code it is.
        env: The environment that the pipeline gets.
    """

    order: Build
    env: StreamExecutionEnvironment
    executions: list[_Call] = field(default_factory=list)
    _sinks: list[tuple[Any, _Call]] = field(default_factory=list)
    _attached: list[_Call] = field(default_factory=list)
    _statements: list[tuple[StatementSet, _Call]] = field(default_factory=list)

    def attempted(self) -> None:
        """Called from the JVM, on a thread of its own, while the caller of an execution waits."""
        frames = [frame for thread, frame in sys._current_frames().items() if thread != threading.get_ident()]
        calls = [self._call(frame) for frame in sorted(frames, key=_waits_for_java, reverse=True)]
        in_job = [call for call in calls if call.place]
        self.executions.append(in_job[0] if in_job else _Call(None, "an execution"))

    class Java:
        """For Py4J: what this object is in the JVM."""

        implements = ("sluice.client.Executions$Listener",)

    def note_sink(self, sink: DataStreamSink) -> None:
        """A stream was given a sink."""
        self._sinks.append((sink._j_data_stream_sink, self._call(sys._getframe(1))))

    def note_insert(self, statements: StatementSet, method: str) -> None:
        """A statement set was given an insert."""
        call = replace(self._call(sys._getframe(1)), name=f"StatementSet.{method}")
        self._statements.append((statements, call))

    def note_attached(self, _statements: StatementSet) -> None:
        """The inserts of a statement set became sinks of the environment."""
        self._attached.append(replace(self._call(sys._getframe(1)), name="StatementSet.attach_as_datastream"))

    def check_executions(self) -> None:
        """Raise CompileError if the pipeline has tried to execute something, and whether or not it went on after it."""
        if not self.executions:
            return
        call, *others = self.executions
        reads = call.name.rpartition(".")[2] in _READS or call.name == "Table.execute"
        lines = list(dict.fromkeys(other.line for other in others if other.line and other.line != call.line))
        more = f", also at line {', '.join(lines[:_SHOWN])}" if lines else ""
        place, called = call.place or self.order.job, f"{call.name}{more}"
        raise CompileError(
            f"{place}: the pipeline executes a Flink job itself ({called}), and a plan runs nothing",
            remedy="take the call out; look at rows in a test with sluice.testing.run"
            if reads
            else "return the table or the stream instead: Sluice submits the job, and writes it to the topic of writes",
        )

    def check_sinks(self, own: Any) -> None:
        """Raise CompileError if the pipeline has added a sink or an insert that is not part of what it returned.

        Args:
            own: The statement set with what it returned.
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
            f"{place}: the pipeline adds {what} ({call.name}) beside what it returns: the job would not run it",
            remedy="declare the topic in writes and return the table or stream for it, or take the sink out",
        )

    def _call(self, innermost: FrameType) -> _Call:
        """The job's call that a stack leads through."""
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
    """Refuse executions while the job's code runs, and for the rest of the process.

    Raises:
        CompileError: the code has tried to execute something, even if it has caught the error.
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
    """Have PyFlink's classes note sinks and inserts: they have no hook for it."""
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
    """Whether a stack ends in a call of Py4J: a pipeline with threads of its own has several stacks."""
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        frame = frame.f_back
    return False


def _called(frame: FrameType | None) -> str:
    """The function that the job has called, with its class."""
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
