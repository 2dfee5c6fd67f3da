"""The trigger form of deploy.<job>: what may be said of a run, and the job's own settings from its model.

Made from annotations alone: the DAG processor builds it for every job, and pydantic's schemas cost too much for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import ParamsDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sluice.deployment.explain import allowed_range
from sluice.job.config import JobConfig, secret_settings
from sluice.plan.model import Kind, Mode

if TYPE_CHECKING:
    from sluice.plan.request import Request

SETTING = "config_"
"""What the names of a job's own settings begin with in the form."""
_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number"}


def deploy_params(config: type[JobConfig]) -> dict[str, Param]:
    """The form's fields."""
    return {
        "operation": Param(
            default="deploy",
            type="string",
            enum=list(get_args(Kind)),
            title="Operation",
            description="deploy: what is desired now. rollback: a former release, from the state of now. suspend: stop "
            "with the state kept. resume: go on from there.",
        ),
        "to_release": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            title="Release to roll back to",
            description="Empty: the healthy one before.",
        ),
        "seen_release": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            title="Only if this release is deployed",
            description="Refused if somebody has deployed another one meanwhile. Empty: whichever it is.",
        ),
        "mode": Param(
            default="as planned",
            type="string",
            enum=["as planned", *get_args(Mode)],
            title="Hand-over",
            description="How the running job hands over to the new one.",
        ),
        "allow_state_loss": tick(
            "Allow state loss", "Approves ahead what loses state or has no way back; otherwise it waits."
        ),
        "unattended": tick(
            "Unattended", "What needs an approval fails the run at once, instead of waiting for a person."
        ),
        "reason": Param(
            default=None,
            type=["null", "string"],
            title="Reason",
            description="Kept with the operation.",
            format="multiline",
        ),
        "wake": tick("Start if suspended", "From the state it stopped with."),
        "confirm_lost_cluster": tick(
            "Confirm that the former cluster is lost",
            "Nothing of the job runs any more on the cluster where it was started, which can't be asked.",
        ),
        "grow_partitions": tick("Add partitions", "Where a topic has too few. Keys move.", section="Topics"),
        "change_topics": tick("Change topic settings", "To those that the job declares.", section="Topics"),
        "clear_overrides": tick(
            "Clear former overrides", "Take back settings that former runs gave.", section="Settings of the job"
        ),
        **setting_params(config),
    }


def give_params(dag: DAG, params: dict[str, Param]) -> None:
    """Give a DAG its parameters, once its tasks are there: Airflow copies those it has for each task, several times."""
    dag.params = ParamsDict(params)


def setting_params(config: type[JobConfig]) -> dict[str, Param]:
    """A field for each of a job's own settings but secrets: what a form gives is kept and shown."""
    secrets = secret_settings(config)
    return {
        f"{SETTING}{name}": _param(name, field) for name, field in config.model_fields.items() if name not in secrets
    }


def given_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """The job's own settings that a run's parameters give."""
    return {
        name.removeprefix(SETTING): value
        for name, value in params.items()
        if name.startswith(SETTING) and value not in (None, "")
    }


def deploy_request(params: Mapping[str, Any]) -> Request:
    """What a run's parameters ask for; those that are missing ask for nothing."""
    from sluice.plan.request import Request  # noqa: PLC0415 - not for the DAG processor

    mode = params.get("mode")
    kind = params.get("operation", "deploy")
    return Request(
        kind=kind if kind in get_args(Kind) else "deploy",
        to=params.get("to_release"),
        seen=params.get("seen_release"),
        mode=mode if mode in get_args(Mode) else None,
        overrides=given_settings(params),
        clear_overrides=bool(params.get("clear_overrides")),
        wake=bool(params.get("wake")),
        confirm_lost_cluster=bool(params.get("confirm_lost_cluster")),
        grow_partitions=bool(params.get("grow_partitions")),
        change_topics=bool(params.get("change_topics")),
    )


def tick(title: str, description: str, **more: Any) -> Param:
    """A box that is not ticked unless somebody does."""
    return Param(default=False, type="boolean", title=title, description=description, **more)


def _param(name: str, field: FieldInfo) -> Param:
    default = "" if field.default is PydanticUndefined else f"Default: {_words(field.default)}. "
    bounds = allowed_range(field)
    choices = _choices(field.annotation)
    listed: dict[str, Any] = {"enum": [None, *choices]} if choices else {}
    return Param(
        default=None,
        type=["null", _type(field.annotation)],
        title=name,
        description=f"{default}{f'Allowed: {bounds}. ' if bounds else ''}Empty: as the deployment file says.",
        section="Settings of the job",
        **listed,
    )


def _type(annotation: Any) -> str:
    inner = _required(annotation)
    if get_origin(inner) in (list, tuple, set, frozenset):
        return "array"
    kinds = {type(choice) for choice in _choices(inner)}
    return _TYPES.get(kinds.pop() if len(kinds) == 1 else inner, "string")


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values that a setting may have, where they are named one by one."""
    inner = _required(annotation)
    return tuple(choice for choice in get_args(inner) if choice is not None) if get_origin(inner) is Literal else ()


def _required(annotation: Any) -> Any:
    """What is behind `X | None`, and behind what is annotated."""
    if get_origin(annotation) is Annotated:
        return _required(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    members = [member for member in get_args(annotation) if member is not NoneType]
    return _required(members[0]) if len(members) == 1 else annotation


def _words(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
