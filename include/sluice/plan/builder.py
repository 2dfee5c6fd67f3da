"""Builds the plan from what the planner has read and the operations in the ledger."""

from __future__ import annotations

import statistics

from sluice.deployment.desired import override_secret_warnings
from sluice.kafka.topic_steps import Step
from sluice.ledger.ledger import Ledger
from sluice.ledger.tables import Placement
from sluice.plan import stages
from sluice.plan.model import Action, Category, Change, Mode, Plan, TopicAction
from sluice.plan.request import DeployRequest
from sluice.plan.target import healthy_before
from sluice.release.target import Target
from sluice.state.change import StateChange
from sluice.state.situation import Absent, Situation, Suspended


class PlanBuilder:
    """Makes the plans of one request.

    Args:
        ledger: The ledger.
        job: The job's name.
        request: The request.
        warnings: See `Plan.warnings`.
    """

    def __init__(self, ledger: Ledger, job: str, request: DeployRequest, warnings: tuple[str, ...] = ()) -> None:
        self._ledger = ledger
        self._job = job
        self._request = request
        self._warnings = warnings

    def plan(
        self,
        action: Action,
        category: Category,
        situation: Situation,
        target: Target,
        steps: tuple[Step, ...],
        *,
        mode: Mode | None = None,
        doing: tuple[stages.Stage, ...] = (),
        changes: list[Change] | None = None,
        state: StateChange | None = None,
        reasons: tuple[str, ...] = (),
    ) -> Plan:
        """The plan with the stages of `doing`; those before and after them follow from the other arguments."""
        place: Placement | None = None if isinstance(situation, Absent) else situation.place
        before: list[stages.Stage] = [stages.AddRelease()] if target.number is None else []
        if to_do := tuple(step for step in steps if step.action != "keep"):
            before.append(stages.CreateTopics.of(to_do))
        config = target.desired.job.config if target.desired else None
        secret_warnings = override_secret_warnings(config, target.overrides) if config else ()
        is_down = action == "suspend" or (isinstance(situation, Suspended) and action == "none")
        after = (stages.Settle(suspended=True),) if is_down else (stages.Verify(), stages.Settle())
        return Plan(
            job=self._job,
            kind=self._request.kind,
            action=action,
            category=category,
            reasons=(*reasons, *secret_warnings),
            warnings=self._warnings,
            mode=mode,
            release=target.number,
            former_release=self._former_release(target, place.release) if place else None,
            fingerprint=target.fingerprint,
            changes=tuple(changes or ()),
            topics=tuple(TopicAction(topic=step.declared.name, action=step.action, words=step.words) for step in steps),
            state=state or StateChange(),
            overrides=target.shown_overrides,
            needs_approval=category == Category.STATE_BREAKING,
            expected_downtime_ms=self._expected_downtime(mode) if action == "redeploy" else None,
            stages=(*before, *doing, *after),
        )

    def _former_release(self, target: Target, placed: int) -> int:
        """The release for a rollback: the placed one; if that is an unhealthy target, the healthy one before it."""
        release = self._ledger.release(self._job, placed)
        if release.fingerprint != target.fingerprint or release.healthy_at is not None:
            return placed
        before = healthy_before(self._ledger.releases(self._job), placed)
        return before.number if before else placed

    def _expected_downtime(self, mode: Mode | None) -> int | None:
        seen = [
            operation.downtime_ms
            for operation in self._ledger.operations(self._job)
            if operation.downtime_ms is not None and operation.mode == mode
        ]
        return round(statistics.median(seen)) if seen else None
