"""Wrap methods of PyFlink's classes while a pipeline is built, to note what it executes and adds.

PyFlink has no hook for that. Executions are captured in the JVM, where only graphs are seen; here the inserts of an
execution are seen, which can be translated together with those of the returned tables.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from py4j.protocol import Py4JJavaError
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.data_stream import DataStreamSink
from pyflink.java_gateway import get_gateway
from pyflink.table import StatementSet, Table, TableEnvironment, TablePipeline
from pyflink.table.catalog import Catalog
from pyflink.util.java_utils import is_instance_of

_INSERTS = ("add", "add_insert", "add_insert_sql")
_CATALOG_CHANGES = ("create_", "drop_", "alter_", "rename_")
_MAY_INSERT = re.compile(r"\b(INSERT|EXECUTE|COMPILE|CALL|AS\s*\(?\s*(SELECT|WITH|VALUES))\b", re.IGNORECASE)
"""Found in statements that insert something; others are parsed only once, by their execution."""
_PATHS = (
    *("create_table", "drop_table", "create_view", "drop_view", "create_model", "drop_model"),
    *("create_java_function", "drop_function"),
)
"""Methods of a table environment that change the object of a path."""

Add = Callable[[Any], None]
"""Adds an insert to a Java statement set."""


class Observer(Protocol):
    """Receives the calls of PyFlink methods while a pipeline is built."""

    def note_sink(self, sink: DataStreamSink) -> None:
        """A sink was added to a stream."""

    def note_insert(self, statements: StatementSet, method: str) -> None:
        """An insert was added to a statement set."""

    def note_attached(self, statements: StatementSet) -> None:
        """The inserts of a statement set were made sinks of the environment."""

    def executing(
        self, owner: TableEnvironment | StreamExecutionEnvironment, inserts: Iterable[Add]
    ) -> contextlib.AbstractContextManager[None]:
        """The block executes inserts, or an environment's streams."""

    def before_catalog_call(self, catalog: Catalog, method: str) -> None:
        """A catalog is about to be changed by one of its own methods."""

    def before_operation(self, t_env: TableEnvironment, operation: Any) -> None:
        """A statement of SQL was parsed to an operation, and is about to be executed."""

    def before_change(self, t_env: TableEnvironment, path: str) -> None:
        """The object of a path is about to be changed."""


@contextlib.contextmanager
def intercepted(observer: Observer) -> Iterator[None]:
    """Tell an observer of the calls in the block."""
    wrappers = _Wrappers(observer)
    changed: list[tuple[type, str, Callable[..., Any]]] = []
    for owner, name, around in wrappers.all():
        original = getattr(owner, name)
        changed.append((owner, name, original))
        setattr(owner, name, _method(original, around))
    try:
        yield
    finally:
        for owner, name, original in changed:
            setattr(owner, name, original)


class _Wrappers:
    """Functions that call a method's original, and tell the observer before or after it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def all(self) -> Iterator[tuple[type, str, Callable[..., Any]]]:
        """Class, method, and the function that is called instead, with the original as its first argument."""
        yield DataStreamSink, "__init__", self._after(self._observer.note_sink)
        yield StatementSet, "attach_as_datastream", self._after(self._observer.note_attached)
        for name in _INSERTS:
            yield StatementSet, name, self._after(functools.partial(self._observer.note_insert, method=name))
        yield TableEnvironment, "execute_sql", self._sql
        yield StatementSet, "execute", self._set
        yield Table, "execute_insert", self._insert
        yield TablePipeline, "execute", self._pipeline
        for name in ("execute", "execute_async"):
            yield StreamExecutionEnvironment, name, self._streams
        for name in _PATHS:
            if hasattr(TableEnvironment, name):
                yield TableEnvironment, name, self._change
        for name in dir(Catalog):
            if name.startswith(_CATALOG_CHANGES):
                yield Catalog, name, self._catalog

    def _after(self, note: Callable[[Any], None]) -> Callable[..., Any]:
        def around(original: Callable[..., Any], owner: Any, *given: Any, **named: Any) -> Any:
            result = original(owner, *given, **named)
            note(owner)
            return result

        return around

    def _sql(self, original: Callable[..., Any], t_env: TableEnvironment, *given: Any, **named: Any) -> Any:
        inserts = []
        for operation in _parsed(t_env, str(_first(given, named))):
            self._observer.before_operation(t_env, operation)
            inserts += _inserts(t_env, operation)
        if not inserts:
            return original(t_env, *given, **named)
        with self._observer.executing(t_env, inserts):
            return original(t_env, *given, **named)

    def _set(self, original: Callable[..., Any], statements: StatementSet) -> Any:
        operations = list(statements._j_statement_set.getOperations())
        with self._observer.executing(statements._t_env, [_adding(each) for each in operations]):
            return original(statements)

    def _insert(self, original: Callable[..., Any], table: Table, *given: Any, **named: Any) -> Any:
        overwrite = given[1] if len(given) > 1 else named.get("overwrite", False)
        pipeline = table.insert_into(_first(given, named), overwrite)
        with self._observer.executing(table._t_env, [_adding_pipeline(pipeline)]):
            return original(table, *given, **named)

    def _pipeline(self, original: Callable[..., Any], pipeline: TablePipeline) -> Any:
        with self._observer.executing(pipeline._t_env, [_adding_pipeline(pipeline)]):
            return original(pipeline)

    def _streams(self, original: Callable[..., Any], env: StreamExecutionEnvironment, *given: Any, **named: Any) -> Any:
        with self._observer.executing(env, ()):
            return original(env, *given, **named)

    def _change(self, original: Callable[..., Any], t_env: TableEnvironment, *given: Any, **named: Any) -> Any:
        self._observer.before_change(t_env, str(_first(given, named)))
        return original(t_env, *given, **named)

    def _catalog(self, original: Callable[..., Any], catalog: Catalog, *given: Any, **named: Any) -> Any:
        self._observer.before_catalog_call(catalog, original.__name__)
        return original(catalog, *given, **named)


def _first(given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """A method's first argument, which has another name in each of them; None: it is missing."""
    return given[0] if given else next(iter(named.values()), None)


def _method(original: Callable[..., Any], around: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapped(owner: Any, *given: Any, **named: Any) -> Any:
        return around(original, owner, *given, **named)

    return wrapped


def _parsed(t_env: TableEnvironment, statement: str) -> list[Any]:
    """The operations of a statement that may insert something or change a catalog other than the default one."""
    j_tenv = t_env._j_tenv
    if not _MAY_INSERT.search(statement) and len(list(j_tenv.listCatalogs())) == 1:
        return []
    try:
        return list(j_tenv.getParser().parse(statement))
    except Py4JJavaError:
        # Its execution raises the same error, with PyFlink's own handling.
        return []


def _inserts(t_env: TableEnvironment, operation: Any) -> list[Add]:
    """The inserts of a parsed statement."""
    kind = str(operation.getClass().getSimpleName())
    if kind == "StatementSetOperation":
        return [_adding(each) for each in operation.getOperations()]
    if kind == "CreateTableASOperation":
        # The table exists only after the statement was executed.
        catalogs = t_env._j_tenv.getCatalogManager()
        return [lambda j_set: j_set.getOperations().add(operation.toSinkModifyOperation(catalogs))]
    if is_instance_of(operation, get_gateway().jvm.org.apache.flink.table.operations.ModifyOperation):
        return [_adding(operation)]
    return []


def _adding(operation: Any) -> Add:
    return lambda j_set: j_set.getOperations().add(operation)


def _adding_pipeline(pipeline: TablePipeline) -> Add:
    return lambda j_set: j_set.add(pipeline._j_table_pipeline)
