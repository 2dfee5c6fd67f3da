"""Calls from a job's code into PyFlink, read from Python's stacks."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from types import FrameType

from sluice.client.protocol import Build

WRAPPER = "wrapped"
"""Name of the function that replaces a PyFlink method; its locals `original` and `owner` are method and object."""
_BETWEEN = frozenset({"sluice.client.effects", "sluice.client.interception"})
"""The modules whose other functions are called between the job's code and PyFlink."""
_DEPTH = 4
"""Number of innermost frames in which to look for Py4J: its wait adds frames of Python's socket module."""


@dataclass(frozen=True)
class JobCall:
    """A call from the job's code into PyFlink."""

    place: str | None
    """File and line in the job's code; None: the call comes from other code."""
    name: str
    """The called method, e.g. `StatementSet.execute`."""

    @property
    def method(self) -> str:
        """The method without its class."""
        return self.name.rpartition(".")[2]

    @property
    def line(self) -> str:
        """The line number as text; empty without a place."""
        return (self.place or "").rpartition(":")[2]


def call_of(order: Build, innermost: FrameType) -> JobCall:
    """The innermost call from the job's code on a stack.

    Args:
        order: The order to build the job.
        innermost: The stack's innermost frame.
    """
    prefix = f"{order.code}/{order.module.partition('.')[0]}/"
    called: FrameType | None = None
    frame: FrameType | None = innermost
    while frame is not None:
        if frame.f_code.co_filename.startswith(prefix):
            return JobCall(f"{frame.f_code.co_filename}:{frame.f_lineno}", _called(called))
        if frame.f_globals.get("__name__") not in _BETWEEN or frame.f_code.co_name == WRAPPER:
            called = frame
        frame = frame.f_back
    return JobCall(None, _called(None))


def waiting_call(order: Build) -> JobCall:
    """The call that waits for the JVM, in whichever thread, while this thread answers the JVM."""
    frames = [frame for thread, frame in sys._current_frames().items() if thread != threading.get_ident()]
    calls = [call_of(order, frame) for frame in sorted(frames, key=_waits_for_java, reverse=True)]
    in_job = [call for call in calls if call.place]
    return in_job[0] if in_job else JobCall(None, "an execution")


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
    if frame.f_code.co_name == WRAPPER and "original" in frame.f_locals:
        return f"{type(frame.f_locals['owner']).__name__}.{frame.f_locals['original'].__name__}"
    owner = frame.f_locals.get("self")
    return f"{type(owner).__name__}.{frame.f_code.co_name}" if owner is not None else frame.f_code.co_name
