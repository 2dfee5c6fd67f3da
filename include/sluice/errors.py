"""Every error that Sluice raises on purpose.

    SluiceError
    ├── RefusedError          refused before any change; exit status 2
    │   ├── ConfigError       a job, a setting or a deployment file is wrong
    │   ├── CompileError      the pipeline does not compile
    │   ├── SchemaError       the built table differs from the job's record
    │   ├── TopicError        a topic on the broker differs from its declaration
    │   └── BusyError         another operation holds the job
    │       └── ChangedError  another operation changed the job after this one was planned
    ├── UnreachableError      a broker or cluster did not answer; the same call may succeed later
    │   └── NotFlinkError     the address answered, but not as Flink does: a proxy, a login page, another server
    ├── FlinkError            the Flink cluster refused the request
    │   ├── JobNotFoundError  the cluster does not know the job
    │   └── TriggerNotFoundError  the cluster does not know the trigger of a savepoint or checkpoint (any more)
    └── OperationError        an operation began and failed; exit status 1
        └── StateError        a checkpoint or savepoint can't be found or read

A message names what was found, what was expected, and the next step.
"""

from __future__ import annotations


class SluiceError(Exception):
    """Base of every error that Sluice raises on purpose.

    Args:
        message: What happened, with the expected and the found value.
        remedy: The next step, as an imperative sentence or a command; None if the message includes it.
    """

    exit_status = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """The message, followed by the remedy."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class RefusedError(SluiceError):
    """Refused before any change to Kafka, Flink or the ledger."""

    exit_status = 2


class ConfigError(RefusedError):
    """A job, a setting or a deployment file is wrong."""


class CompileError(RefusedError):
    """The pipeline does not compile: the planner's message, with the job's file and line where known."""


class SchemaError(RefusedError):
    """The built table's columns differ from the job's record."""


class TopicError(RefusedError):
    """A topic on the broker differs from its declaration, and changing it was not allowed."""


class BusyError(RefusedError):
    """Another operation holds the job."""


class ChangedError(BusyError):
    """Another operation changed the job after this one was planned. Planning it again may succeed."""


class UnreachableError(SluiceError):
    """A broker or a cluster did not answer. The same call may succeed later."""


class NotFlinkError(UnreachableError):
    """The server at the cluster's address answered, but not as Flink does. Nothing follows for any job.

    Args:
        message: The request and the answer.
        status: The HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(
            message,
            remedy="check that the address is that of a Flink cluster, and whether a proxy, a load balancer or a login "
            "page answers in its place",
        )
        self.status = status


class FlinkError(SluiceError):
    """The Flink cluster refused a request.

    Args:
        message: The request and the answer.
        status: The HTTP status, if there was one.
        remedy: The next step.
    """

    def __init__(self, message: str, *, status: int | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


class JobNotFoundError(FlinkError):
    """The Flink cluster answered that it does not know the job.

    Args:
        message: The request and the answer.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404)


class TriggerNotFoundError(FlinkError):
    """The Flink cluster answered that it does not know this trigger: it never got it, or its result has expired.

    Args:
        message: The request and the answer.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, status=404)


class OperationError(SluiceError):
    """An operation began and failed."""


class StateError(OperationError):
    """A checkpoint or savepoint can't be found, or can't be read."""
