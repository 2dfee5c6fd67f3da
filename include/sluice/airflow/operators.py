"""The stages of a deploy as operators. They take plain values, and read the project when they run.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url
from sluice.errors import BusyError, RefusedError, SluiceError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.operation.deploy import Deploy
    from sluice.project import Project

_BACKSTOP = timedelta(minutes=2)
"""How long after the trigger's own deadline Airflow gives up on the trigger."""


class _SluiceOperator(BaseOperator):
    """Base of the operators.

    Args:
        job: The job's name.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
    """

    ui_color = "#e8f4f8"

    def __init__(self, *, job: str, root: str | None = None, environment: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.root = root
        self.environment = environment

    def project(self) -> Project:
        """The project, with the brokers of the Airflow connection that the deployment file names."""
        from sluice.project import Project  # noqa: PLC0415
        from sluice.settings import Settings  # noqa: PLC0415

        given = {"root": Path(self.root) if self.root else None, "environment": self.environment}
        settings = Settings.model_validate({name: value for name, value in given.items() if value})
        connection = BaseHook.get_connection(Project(settings).content.kafka.connection)
        return Project(settings, kafka={name: str(value) for name, value in connection.extra_dejson.items()})

    def deploy(self, project: Project, context: Context) -> Deploy:
        """The stages, held by this DAG run: a retry goes on with its own operation."""
        from sluice.operation.deploy import Deploy  # noqa: PLC0415

        prefix = f"airflow:{context['dag'].dag_id}/"
        holder = f"{prefix}{context['run_id']}"
        return Deploy(
            project,
            self.job,
            holder,
            self.log.info,
            # Runs of one DAG do not overlap (max_active_runs=1): another run of ours has ended.
            is_gone=lambda other: other.startswith(prefix) and other != holder,
        )


@contextmanager
def _airflow_errors() -> Iterator[None]:
    """What a retry can't mend fails at once; the rest is left to the task's retries."""
    try:
        yield
    except RefusedError as error:
        raise AirflowFailException(str(error)) from error
    except SluiceError as error:
        raise AirflowException(str(error)) from error


class CreateTopicsOperator(_SluiceOperator):
    """Create the job's missing topics and report differences; nothing is ever deleted.

    Args:
        grow_partitions: Add partitions where a topic has too few (templated).
        change_settings: Change a topic's settings to the declared ones (templated).
    """

    template_fields = ("grow_partitions", "change_settings")

    def __init__(
        self, *, grow_partitions: bool | str = False, change_settings: bool | str = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.grow_partitions = grow_partitions
        self.change_settings = change_settings

    def execute(self, context: Context) -> list[str]:
        """What was done, a line per topic."""
        from airflow.providers.apache.kafka.hooks.client import KafkaAdminClientHook  # noqa: PLC0415

        with _airflow_errors():
            project = self.project()
            admin = KafkaAdminClientHook(kafka_config_id=project.content.kafka.connection).get_conn
            steps = self.deploy(project, context).create_topics(
                admin, grow_partitions=_truth(self.grow_partitions), change_settings=_truth(self.change_settings)
            )
        return [step.words for step in steps]


class PackageOperator(_SluiceOperator):
    """Store the job's code as an artifact, and enter the release in the ledger."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Number, fingerprint and artifact of the release."""
        with _airflow_errors():
            release = self.deploy(self.project(), context).package()
        return {"number": release.number, "fingerprint": release.fingerprint, "artifact": release.artifact}


class SubmitOperator(_SluiceOperator):
    """Compile a release and submit it under a Flink job id that the journal has first; a retry re-attaches.

    Args:
        release: The release's number, e.g. the package task's output (templated).
    """

    template_fields = ("release",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, release: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.release = release

    def execute(self, context: Context) -> dict[str, Any]:
        """The job that runs: operation, release, Flink job id, what it was restored from."""
        from sluice.operation.deploy import started_values  # noqa: PLC0415

        with _airflow_errors():
            project = self.project()
            started = self.deploy(project, context).submit(int(self.release["number"]))
        context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, started.flink_job_id))
        return started_values(started)


class GateOperator(_SluiceOperator):
    """Wait, in the triggerer, until the job has passed a gate of its `Health`.

    Args:
        gate: `running`, `consumer_lag` or `watermark`.
        started: The submit task's output (templated).
        settles: The last gate: passing it makes the deploy healthy.
    """

    template_fields = ("started",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, gate: str, started: Any, settles: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate = gate
        self.started = started
        self.settles = settles

    def execute(self, context: Context) -> None:
        """Hand over to the trigger at once."""
        from sluice.airflow.triggers import GateTrigger  # noqa: PLC0415

        with _airflow_errors():
            project = self.project()
            desired = project.desired(self.job)
        flink_job_id = self.started["flink_job_id"]
        context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, flink_job_id))
        timeout = desired.health.start_timeout
        trigger = GateTrigger(
            gate=self.gate,
            flink_url=project.flink_url,
            flink_job_id=flink_job_id,
            topics=[topic.topic for topic in desired.reads.values()],
            group=desired.group,
            kafka_connection=project.content.kafka.connection,
            health=desired.health.model_dump(mode="json"),
            deadline=time.time() + timeout.total_seconds(),
        )
        self.defer(trigger=trigger, method_name="resume", timeout=timeout + _BACKSTOP)

    def resume(self, context: Context, event: dict[str, Any]) -> str:
        """What the trigger has seen."""
        self.log.info("%s: %s", self.gate, event["words"])
        if not event["passed"]:
            self._finish(context, "failed", f"{self.gate}: {event['words']}")
            raise AirflowFailException(f"{self.job}: {self.gate}: {event['words']}")
        if self.settles:
            self._finish(context, "unchanged" if self.started["unchanged"] else "healthy", None)
        return str(event["words"])

    def _finish(self, context: Context, outcome: Any, reason: str | None) -> None:
        with _airflow_errors():
            try:
                self.deploy(self.project(), context).finish(self.started["operation"], outcome, reason)
            except BusyError as error:
                # The task was cleared after the deploy had ended: the gate was looked at again, and that is all.
                self.log.info("%s", error)


def _truth(value: bool | str) -> bool:  # noqa: FBT001 - a templated flag comes back as text
    return value if isinstance(value, bool) else value.strip().lower() in ("true", "1", "yes")
