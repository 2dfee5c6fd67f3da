"""Waiting at a gate in the triggerer: no worker slot is held, and the deadline is in here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.base import project_of
from sluice.health.gates import Gate
from sluice.job.limits import Health
from sluice.operation.gate import GateOrder, readings
from sluice.project import Project


class GateTrigger(BaseTrigger):
    """Fires when a gate is passed, or can't be passed any more.

    Args:
        gate: `running`, `checkpoint`, `consumer_lag` or `watermark`.
        flink_job_id: The job.
        topics: What it reads.
        group: Its consumer group.
        health: The job's limits, as JSON values.
        deadline: Unix time, seconds.
        restored_from: What the job must have been restored from; None: not looked at.
        positions: Per topic and partition the offset before which it must not read; None: not looked at.
        untimed: Which of the topics it reads without event time.
        must_count: See `sluice.health.gates.judge`.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT. It names brokers and cluster: their
            secrets are none of the trigger's arguments.
    """

    def __init__(  # noqa: PLR0913 - Airflow keeps a trigger as plain values
        self,
        *,
        gate: str,
        flink_job_id: str,
        topics: list[str],
        group: str,
        health: dict[str, Any],
        deadline: float,
        restored_from: str | None = None,
        positions: dict[str, dict[str, int]] | None = None,
        untimed: Sequence[str] = (),
        must_count: bool = True,
        root: str | None = None,
        environment: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.gate = gate
        self.flink_job_id = flink_job_id
        self.topics = topics
        self.group = group
        self.health = health
        self.deadline = deadline
        self.restored_from = restored_from
        self.positions = positions
        self.untimed = list(untimed)
        self.must_count = must_count
        self.root = root
        self.environment = environment

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        names = (
            "gate",
            "flink_job_id",
            "topics",
            "group",
            "health",
            "deadline",
            "restored_from",
            "positions",
            "untimed",
            "must_count",
            "root",
            "environment",
        )
        return "sluice.airflow.triggers.GateTrigger", {name: getattr(self, name) for name in names}

    def order(self, project: Project) -> GateOrder:
        """What to wait for.

        Args:
            project: Whose brokers and cluster are asked.
        """
        return GateOrder(
            gates=(cast("Gate", self.gate),),
            flink=project.flink,
            flink_job_id=self.flink_job_id,
            topics=tuple(self.topics),
            kafka=project.kafka,
            group=self.group,
            health=Health.model_validate(self.health),
            deadline=self.deadline,
            restored_from=self.restored_from,
            positions=self.positions,
            untimed=tuple(self.untimed),
            must_count=self.must_count,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: {passed, words}."""
        order = self.order(await sync_to_async(project_of)(self.root, self.environment))
        async for _, reading in readings(order):
            self.log.info("%s", reading.words)
            if reading.passed or reading.hopeless:
                yield TriggerEvent({"passed": reading.passed, "words": reading.words})  # type: ignore[no-untyped-call]
                return
