"""The deploy of one job: topics, package, submit, checks. Each stage may be done by another process than the last."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from confluent_kafka.admin import AdminClient

from sluice.client.process import ClientProcess
from sluice.client.protocol import Build, Submit
from sluice.errors import FlinkError, OperationError, SluiceError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka import topics
from sluice.kafka.brokers import connect, java_properties
from sluice.operation.checkpoints import newest_state
from sluice.operation.compiler import start_client
from sluice.operation.holder import is_gone
from sluice.operation.start import Attach, Recover, Unchanged, decide
from sluice.project import Project
from sluice.release.artifact import package, verify
from sluice.release.fingerprint import fingerprint
from sluice.release.ledger import OperationHandle
from sluice.release.sdk import package_sdk
from sluice.release.tables import Release

Tell = Callable[[str], None]
"""Where progress goes, a line at a time."""

_SUBMIT_TIMEOUT = 60.0


@dataclass(frozen=True)
class Started:
    """A job that runs, or is about to.

    Attributes:
        unchanged: It ran before; nothing was done.
        restored_from: The savepoint or checkpoint that it started from.
    """

    operation: str
    release: int
    flink_job_id: str
    restored_from: str | None
    unchanged: bool


class Deploy:
    """The stages of a deploy.

    Args:
        project: The project.
        job: The job's name.
        holder: Who deploys; the same holder goes on with its own operation after a crash.
        tell: Where progress goes.
        is_gone: Whether another holder is known to have ended.
        client: A client process that was started ahead; the caller closes it. None: one is started when needed.
    """

    def __init__(
        self,
        project: Project,
        job: str,
        holder: str,
        tell: Tell = lambda _line: None,
        *,
        is_gone: Callable[[str], bool] = is_gone,
        client: ClientProcess | None = None,
    ) -> None:
        self._project = project
        self._name = job
        self._holder = holder
        self._tell = tell
        self._is_gone = is_gone
        self._client = client

    def create_topics(
        self, admin: AdminClient | None = None, *, grow_partitions: bool = False, change_settings: bool = False
    ) -> list[topics.Step]:
        """Bring the broker's topics to what the job declares, as far as that is allowed.

        Args:
            admin: The brokers; None: by the project's own configuration.
            grow_partitions: Partitions may be added.
            change_settings: Settings may be changed.

        Raises:
            ConfigError: the job or a setting is wrong.
            TopicError: a topic differs; nothing was changed.
            UnreachableError: the broker doesn't answer.
        """
        desired, servers = self._project.desired(self._name), self._project.kafka_servers
        admin = admin or connect(self._project.kafka)
        declared = topics.declare(desired.topics.values())
        actual = topics.describe(admin, [topic.name for topic in declared], servers)
        steps = [
            step
            for topic in declared
            for step in topics.compare(
                self._name,
                topic,
                actual.get(topic.name),
                grow_partitions=grow_partitions,
                change_settings=change_settings,
            )
        ]
        topics.apply(admin, steps, servers)
        for step in steps:
            self._tell(step.words)
        return steps

    def package(self) -> Release:
        """Store the job's code and enter the release in the ledger, unless its newest one is the same."""
        desired = self._project.desired(self._name)
        settings = self._project.settings
        artifact = package(settings.root, desired.job.module, settings.artifacts)
        release = self._project.ledger.add_release(
            self._name,
            fingerprint=fingerprint(settings.root, desired),
            artifact=artifact.digest,
            module=desired.job.module,
            resolved=desired.values(),
        )
        self._tell(f"release {release.number}: artifact {artifact.digest[:12]}")
        return release

    def submit(self, number: int) -> Started:
        """Compile the release, and submit it under a Flink job id that the journal has first.

        Does nothing when the release runs already, and goes on where a former attempt of the same holder stopped.

        Raises:
            RefusedError: the pipeline doesn't compile, or the job may not be started; nothing was touched.
            BusyError: another operation holds the job.
            OperationError: it was submitted, and does not come up.
        """
        release = self._project.ledger.release(self._name, number)
        operation = self._project.ledger.begin(
            self._name, kind="deploy", holder=self._holder, release=number, is_gone=self._is_gone
        )
        try:
            return self._submit(release, operation)
        except UnreachableError:
            # A later attempt goes on; the journal says from where.
            raise
        except SluiceError as error:
            operation.finish("failed", str(error))
            raise

    def finish(self, operation: str, outcome: Literal["healthy", "unchanged", "failed"], reason: str | None) -> None:
        """End the operation."""
        handle = self._project.ledger.resume(operation)
        if outcome != "failed":
            handle.saw_checkpoint()
        handle.finish(outcome, reason)

    def _submit(self, release: Release, operation: OperationHandle) -> Started:
        with FlinkClient(self._project.flink_url) as flink:
            entry = operation.entry("submit", "submit")
            decision = decide(
                self._name,
                release.number,
                self._project.ledger.running(self._name),
                entry["flink_job_id"] if entry else None,
                flink.send(calls.jobs()).jobs,
            )
            if isinstance(decision, Unchanged | Attach):
                running = self._project.ledger.running(self._name)
                restored_from = running.restored_from if running else None
                unchanged = isinstance(decision, Unchanged)
                self._tell(
                    f"Flink job {decision.flink_job_id} {'runs unchanged' if unchanged else 'was submitted before'}"
                )
                return Started(operation.id, release.number, decision.flink_job_id, restored_from, unchanged)
            state, flink_job_id = None, uuid.uuid4().hex
            if isinstance(decision, Recover):
                state = newest_state(flink, decision)
                if not decision.known and state in (None, decision.lost.restored_from):
                    # Perhaps it was never submitted, or its submission is still on its way: under the same id the
                    # cluster takes one of the two.
                    flink_job_id = decision.lost.flink_job_id
            self._tell(f"start from {state}" if state else "start without state")
            self._start(release, operation, flink_job_id, state)
            self._await_known(flink, flink_job_id)
            return Started(operation.id, release.number, flink_job_id, state, unchanged=False)

    def _start(self, release: Release, operation: OperationHandle, flink_job_id: str, state: str | None) -> None:
        with contextlib.ExitStack() as stack:
            client = self._client or stack.enter_context(start_client(self._project, self._name, self._tell))
            operation.record("prepare", "begin", pid=client.pid)
            ready = client.prepare(self._order(release), timeout=self._project.settings.prepare_timeout)
            self._tell(f"compiled: {len(ready.graph.vertices)} vertices, {ready.graph.slots} slots")
            operation.start("submit", flink_job_id=flink_job_id, restored_from=state)
            client.submit(Submit(flink_job_id=flink_job_id, savepoint=state), timeout=_SUBMIT_TIMEOUT)
        operation.record("submit", "submitted", flink_job_id=flink_job_id)
        self._tell(f"submitted as Flink job {flink_job_id}")

    def _order(self, release: Release) -> Build:
        settings, resolved = self._project.settings, release.resolved
        return Build(
            job=self._name,
            module=release.module,
            code=str(verify(settings.artifacts, release.artifact)),
            environment=self._project.environment,
            config=resolved["config"],
            reads=resolved["reads"],
            writes=resolved["writes"],
            brokers=java_properties(self._project.kafka),
            parallelism=resolved["parallelism"],
            options=resolved["options"],
            jars=_jars(self._project.content.flink.jars, settings.root),
            python_files=(str(package_sdk(settings.artifacts)),),
            flink_url=self._project.flink_url,
        )

    @staticmethod
    def _await_known(flink: FlinkClient, flink_job_id: str) -> None:
        """Wait until the cluster shows the job that it has accepted."""
        deadline = time.monotonic() + _SUBMIT_TIMEOUT
        while True:
            try:
                flink.send(calls.status(flink_job_id))
            except FlinkError as error:
                if error.status != 404 or time.monotonic() > deadline:
                    raise OperationError(f"the cluster does not show Flink job {flink_job_id}: {error}") from error
                time.sleep(0.2)
            else:
                return


def _jars(jars: tuple[str, ...], root: Path) -> tuple[str, ...]:
    return tuple(jar if ":" in jar else (root / jar).as_uri() for jar in jars)


def started_values(started: Started) -> dict[str, Any]:
    """As plain values, for XCom."""
    return {
        "operation": started.operation,
        "release": started.release,
        "flink_job_id": started.flink_job_id,
        "restored_from": started.restored_from,
        "unchanged": started.unchanged,
    }
