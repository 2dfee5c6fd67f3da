"""The stack as a whole: its requirements, starting it in order, stopping it."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console

from sluice.errors import OperationError, RefusedError
from sluice.local import airflow, flink, kafka
from sluice.local.layout import HOST, Local
from sluice.local.service import Service
from sluice.local.supervise import STARTED, Supervisor
from sluice.local.survivors import stacks_of
from sluice.settings import make_private
from sluice.terminal import console

_MEMORY_GIB = {"with Airflow": 6, "without": 4}
"""Memory in GiB that the stack takes when all jobs run."""
_READY_TIMEOUT = 120.0
"""Seconds until a started service must be ready."""


class Stack:
    """The local stack.

    Args:
        local: Its settings.
        shown: The console for progress.
    """

    def __init__(self, local: Local, shown: Console = console) -> None:
        self.local = local
        self._console = shown
        self.supervisor = Supervisor(local.home, local.logs)

    def up(self, *, with_airflow: bool = True, extra: tuple[Service, ...] = ()) -> None:
        """Start the services that aren't running, in order, and wait until all of them are ready.

        Args:
            with_airflow: False: Kafka and Flink alone.
            extra: Further services to supervise; `start` starts them.

        Raises:
            RefusedError: another program has a port.
            OperationError: a service doesn't become ready, or processes of a former run can't be ended.
        """
        make_private(self.local.home)
        self.local.logs.mkdir(parents=True, exist_ok=True)
        self._report_survivors(self.supervisor.end_survivors())
        _warn_of_little_memory(self._console, with_airflow=with_airflow)
        with self.step("prepare Kafka and Flink"):
            services = [kafka.prepare(self.local), *flink.prepare(self.local)]
        if with_airflow:
            with self.step("prepare Airflow's database"):
                services += airflow.prepare(self.local)
        self._refuse_taken_ports(services)
        self.supervisor.ensure([*services, *extra])
        # A service whose ports have changed was stopped just now: its new ports are checked here.
        self._refuse_taken_ports(services)
        for service in services:
            self.supervisor.start(service.name)
        for service in services:
            if service.is_ready:
                self._await(service)

    def start(self, service: Service) -> None:
        """Start one of the extra services, and wait until it is ready."""
        self.supervisor.start(service.name)
        self._await(service)

    def down(self) -> None:
        """Stop all processes of this stack, and no others.

        Raises:
            OperationError: a process can't be ended.
        """
        with self.step("stop"):
            ended = self.supervisor.shutdown()
        self._report_survivors(ended)

    def refuse_running(self) -> None:
        """Refuse while this stack runs, or another one from this Python environment.

        Raises:
            RefusedError: with the homes of the running stacks.
        """
        homes = stacks_of(Path(sys.prefix)) | ({str(self.local.home)} if self.supervisor.is_running else set())
        if homes:
            raise RefusedError(
                f"the stack in {', '.join(sorted(homes))} runs",
                remedy="run make down first (with the SLUICE_HOME that it was started with)",
            )

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step of starting or stopping the stack on the terminal while it runs, and then how long it took."""
        since = time.monotonic()
        with self._console.status(title):
            yield
        self._console.print(f"  {title:<44} {time.monotonic() - since:6.1f} s", highlight=False)

    def _report_survivors(self, ended: int) -> None:
        if ended:
            self._console.print(f"  ended {ended} processes of this stack that had lost their supervisor")

    def _await(self, service: Service) -> None:
        with self.step(f"{service.name} is ready"):
            wait_until(
                lambda: self._serves(service),
                _READY_TIMEOUT,
                f"{service.name} is not ready",
                f"see {self.local.logs}/{service.name}.log",
            )

    def _serves(self, service: Service) -> bool:
        if self.supervisor.state(service.name) == "FATAL":
            raise OperationError(
                f"{service.name} exits right after its start", remedy=f"see {self.local.logs}/{service.name}.log"
            )
        return service.is_ready is None or service.is_ready()

    def _refuse_taken_ports(self, services: list[Service]) -> None:
        states = self.supervisor.states()
        for service in services:
            ours = states.get(service.name, {}).get("statename") in STARTED
            for variable, port in service.ports.items():
                if not ours and _is_taken(port):
                    raise RefusedError(
                        f"port {port} of {service.name} is in use by another program",
                        remedy=f"end that program, or choose another port: {variable}=... make up",
                    )


def _warn_of_little_memory(shown: Console, *, with_airflow: bool) -> None:
    needed = _MEMORY_GIB["with Airflow" if with_airflow else "without"]
    free = psutil.virtual_memory().available / 2**30
    if free < needed:
        shown.print(
            f"[yellow]low memory:[/yellow] {free:.1f} GiB free, about {needed} GiB needed; close other programs"
        )


def wait_until(condition: Callable[[], bool], timeout: float, message: str, remedy: str) -> None:
    """Poll a condition until it is true.

    Raises:
        OperationError: it is not true within `timeout` seconds; with `message` and `remedy`.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise OperationError(f"{message} within {timeout:.0f} s", remedy=remedy)
        time.sleep(0.3)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
