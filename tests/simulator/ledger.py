"""A ledger with a function that is called at a chosen write of an operation."""

from contextlib import contextmanager

from sluice.ledger.ledger import Ledger
from sluice.ledger.operation_handle import OperationHandle


class HookedLedger(Ledger):
    """A ledger that calls a function before or after one write of an operation."""

    _hook = None

    @contextmanager
    def at_write(self, when, write, action):
        """Call the action once, `before` or `after` a write.

        Args:
            when: `before` or `after`.
            write: The stage and event of a journal entry; or `savepoint`, `columns` or `end`; or a number: the n-th
                write from now on.
            action: The function, without arguments.
        """
        self._hook = hook = _Hook(when, write, action)
        try:
            yield
        finally:
            if self._hook is hook:
                self._hook = None

    @contextmanager
    def written(self, write):
        hook = self._hook
        is_at = hook is not None and hook.matches(write)
        if is_at and hook.when == "before":
            self._call(hook)
        yield
        if is_at and hook.when == "after":
            self._call(hook)

    def _call(self, hook):
        self._hook = None
        hook.action()

    def _handle(self, operation):
        return _HookedHandle(self, operation)


class _Hook:
    def __init__(self, when, write, action):
        self.when, self.action = when, action
        self._write, self._writes = write, 0

    def matches(self, write):
        self._writes += 1
        return self._write in (write, self._writes)


class _HookedHandle(OperationHandle):
    def __init__(self, ledger, operation):
        super().__init__(ledger._sessions, operation, ledger._clock)
        self._ledger = ledger

    def record(self, stage, event, **more):
        with self._ledger.written(f"{stage} {event}"):
            super().record(stage, event, **more)

    def update(self, **columns):
        with self._ledger.written("columns"):
            super().update(**columns)

    def add_savepoint(self, path, **more):
        with self._ledger.written("savepoint"):
            super().add_savepoint(path, **more)

    def finish(self, *arguments):
        with self._ledger.written("end"):
            super().finish(*arguments)
