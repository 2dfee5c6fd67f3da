"""The ports: everything through which a project reaches other processes. Tests pass others than the defaults."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.clock import Clock

if TYPE_CHECKING:
    from sluice.deployment.catalog import FileCheck
    from sluice.flink.access import Access
    from sluice.flink.client import FlinkClient
    from sluice.health.gates import Gate, Reading
    from sluice.kafka.client import Brokers
    from sluice.release.compiler import Compiler


@dataclass(frozen=True)
class Ports:
    """The ports of a project; None: the default.

    Attributes:
        flink: Returns a client of the cluster that it is given; by default over HTTP.
        brokers: The brokers; by default those in the deployment file.
        compiler: Returns a compiler of a job; called with the arguments of `sluice.release.compiler.Compiler`, which
            is the default: a client process.
        gates: Yields the readings of a started job's gates; by default `sluice.operation.gate.readings`, which reads
            the cluster and the brokers.
        file_check: Decides which job files are imported; by default each is imported in a child process first, see
            `sluice.deployment.import_check.ImportCheck`.
        clock: The clock.
    """

    flink: Callable[[Access], FlinkClient] | None = None
    brokers: Brokers | None = None
    compiler: Callable[..., Compiler] | None = None
    gates: Callable[..., AsyncGenerator[tuple[Gate, Reading]]] | None = None
    file_check: FileCheck | None = None
    clock: Clock = field(default_factory=Clock)
