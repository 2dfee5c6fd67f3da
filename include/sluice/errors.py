"""Every error that Sluice raises on purpose.

    SluiceError
    ├── RefusedError          nothing was touched; exit status 2
    │   ├── ConfigError       a job, a setting or a deployment file is wrong
    │   ├── CompileError      the pipeline does not compile
    │   ├── SchemaError       the built table differs from the job's record
    │   ├── TopicError        a topic on the broker differs from its declaration
    │   └── BusyError         another operation holds the job
    │       └── ChangedError  another one has come and gone since this one was planned
    ├── UnreachableError      a broker or cluster did not answer; the same call may succeed later
    │   └── NotFlinkError     something else than Flink answered: a proxy, a login page, another server
    ├── FlinkError            the cluster answered, and said no
    │   ├── JobNotFoundError  it does not know the job
    │   └── TriggerNotFoundError  it does not know the savepoint or checkpoint that was triggered, or has forgotten it
    └── OperationError        an operation began and failed; exit status 1
        └── StateError        what a job has left can't be found or read

A message says what was found, what was expected, and the next step.
"""

from __future__ import annotations


class SluiceError(Exception):
    """Base of every error that Sluice raises on purpose.

    Args:
        message: What happened, with the expected and the found value.
        remedy: The next step, as an imperative sentence or a command; None when the message holds it.
    """

    exit_status = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """The message, and the remedy behind it."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class RefusedError(SluiceError):
    """Refused before anything was touched."""

    exit_status = 2


class ConfigError(RefusedError):
    """A job, a setting or a deployment file is wrong."""


class CompileError(RefusedError):
    """The pipeline does not compile: the planner's words, with the job's file and line where known."""


class SchemaError(RefusedError):
    """The built table's columns differ from the job's record."""


class TopicError(RefusedError):
    """A topic on the broker differs from its declaration and may not be changed."""


class BusyError(RefusedError):
    """Another operation holds the job."""


class ChangedError(BusyError):
    """Another operation has come and gone since this one was planned; one that is planned anew may be done."""


class UnreachableError(SluiceError):
    """A broker or a cluster did not answer. The same call may succeed later."""


class NotFlinkError(UnreachableError):
    """Something else than Flink answered at its address. It says nothing about any job.

    Args:
        message: What was asked and what came back.
        status: The HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(
            message,
            remedy="check that the address is a Flink cluster, and what answers before it: a proxy, a load balancer, "
            "a login page",
        )
        self.status = status


class FlinkError(SluiceError):
    """The Flink cluster answered, and said no.

    Args:
        message: What was asked and what came back.
        status: The HTTP status, when there was one.
        remedy: The next step.
    """

    def __init__(self, message: str, *, status: int | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


class JobNotFoundError(FlinkError):
    """The Flink cluster answered that it does not know the job.

    Args:
        message: What was asked and what came back.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404)


class TriggerNotFoundError(FlinkError):
    """The Flink cluster answered that it does not know this trigger: it never got it, or has forgotten its result.

    Args:
        message: What was asked and what came back.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404)


class OperationError(SluiceError):
    """An operation began and failed."""


class StateError(OperationError):
    """The state that a job has left can't be found, or can't be read."""
