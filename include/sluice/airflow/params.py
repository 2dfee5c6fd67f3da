"""The trigger forms of deploy.<job> and backfill.<job>, and the request for a replay from a form's fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import ParamsDict
from annotated_types import Ge
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sluice.deployment.explain import allowed_range
from sluice.errors import ConfigError
from sluice.job.config import JobConfig, secret_settings
from sluice.plan.request import AS_PLANNED, SETTING, DeployRequest, Option, settings_of_params

if TYPE_CHECKING:
    from sluice.replay.model import ReplayRequest


_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number"}


def deploy_params(config: type[JobConfig]) -> dict[str, Param]:
    """The form of deploy.<job>: a field for each of `DeployRequest`, and for each of the job's own settings."""
    fields = DeployRequest.model_fields
    form = {option.param: _option(option, fields[name]) for name, option in DeployRequest.options()}
    return {**form, **setting_params(config)}


def _option(option: Option, field: FieldInfo) -> Param:
    choices = list(_choices(field.annotation))
    if field.annotation is bool:
        kind: dict[str, Any] = {"default": False, "type": "boolean"}
    elif choices and field.default is None:
        kind = {"default": AS_PLANNED, "type": "string", "enum": [AS_PLANNED, *choices]}
    elif choices:
        kind = {"default": field.default, "type": "string", "enum": choices}
    else:
        kind = {"default": None, "type": ["null", _type(field.annotation)]}
    if least := next((each.ge for each in field.metadata if isinstance(each, Ge)), None):
        kind["minimum"] = least
    if option.section:
        kind["section"] = option.section
    return Param(title=option.title, description=option.description, **kind, **(option.schema or {}))


def set_params(dag: DAG, params: dict[str, Param]) -> None:
    """Set a DAG's parameters after its tasks exist: Airflow copies a DAG's parameters for each task that it adds."""
    dag.params = ParamsDict(params)


def setting_params(config: type[JobConfig]) -> dict[str, Param]:
    """A field for each of a job's own settings, except secrets: Airflow stores and shows the values of a form."""
    secrets = secret_settings(config)
    return {
        f"{SETTING}{name}": _param(name, field) for name, field in config.model_fields.items() if name not in secrets
    }


def checkbox(title: str, description: str, **more: Any) -> Param:
    """A checkbox, off by default."""
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
        description=f"{default}{f'Allowed: {bounds}. ' if bounds else ''}Empty: the deployment file's value.",
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
    """The values of a `Literal` annotation or of an enum; empty: it is another annotation."""
    inner = _required(annotation)
    if isinstance(inner, type) and issubclass(inner, Enum):
        return tuple(member.value for member in inner)
    return tuple(choice for choice in get_args(inner) if choice is not None) if get_origin(inner) is Literal else ()


def _required(annotation: Any) -> Any:
    """The annotation without `Annotated` and without `| None`."""
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


def replay_params(config: type[JobConfig]) -> dict[str, Param]:
    """The fields of the form of backfill.<job>."""
    return {
        "start": Param(
            default=None,
            type=["null", "string"],
            format="date-time",
            title="From",
            description="Begin of the range of event time. Empty: the data interval of the run, if a backfill or a "
            "schedule created it.",
        ),
        "end": Param(
            default=None, type=["null", "string"], format="date-time", title="To", description="End of the range."
        ),
        "chunk": Param(
            default=None,
            type=["null", "string"],
            title="Length of a chunk",
            description="For example 1h or 30min. Empty: the whole range is one chunk.",
        ),
        "parallel": Param(
            default=1,
            type="integer",
            minimum=1,
            maximum=100,
            title="Chunks at the same time",
            description="Each takes task slots of its own.",
        ),
        "output": Param(
            default="separate",
            type="string",
            enum=["separate", "other", "live"],
            title="Output",
            description="separate: a new topic for this replay. other: the topic named below. live: the live topic, "
            "whose rows with the same keys are overwritten; it requires Accept differences.",
        ),
        "output_topic": Param(
            default=None,
            type=["null", "string"],
            title="Other topic",
            description="It must exist, with as many partitions as the live topic.",
        ),
        "release": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            title="Release to run",
            description="Empty: the running release.",
        ),
        "replay": Param(
            default=None,
            type=["null", "string"],
            title="Resume a replay",
            description="The id of a replay, instead of a range: its unfinished chunks run, then Promote applies.",
        ),
        "accept_missing": checkbox(
            "Accept missing records", "Replays the range even if Kafka may have deleted some of its records."
        ),
        "promote": checkbox("Promote", "Then writes the rows into the live topic, by key, in one transaction."),
        "accept_differences": checkbox("Accept differences", "Allows to overwrite and delete rows of the live topic."),
        "reason": Param(
            default=None,
            type=["null", "string"],
            title="Reason",
            description="Stored with the replay.",
            format="multiline",
        ),
        **setting_params(config),
    }


def replay_request(params: Mapping[str, Any], interval: tuple[datetime, datetime] | None) -> ReplayRequest:
    """The replay that a run's parameters request.

    Args:
        params: The run's parameters.
        interval: The run's data interval, used if the parameters have no range; None: the run has none.

    Raises:
        ConfigError: there is no range, or a value is invalid.
    """
    from sluice.replay.model import ReplayRequest, read_length, read_moment  # noqa: PLC0415

    start, end = (read_moment(name, text) if (text := params.get(name)) else None for name in ("start", "end"))
    if start is None and end is None and interval is not None:
        start, end = interval
    if start is None or end is None:
        raise ConfigError("the run has no range", remedy="fill in From and To in the trigger form")
    output = params.get("output") or "separate"
    if output == "live" and params.get("promote"):
        raise ConfigError("a replay into the live topic has nothing to promote", remedy="leave Promote off")
    if output == "other" and not params.get("output_topic"):
        raise ConfigError("the output is another topic, but no topic is named", remedy="fill in Other topic")
    return ReplayRequest(
        start=start,
        end=end,
        chunk=read_length("chunk", text) if (text := params.get("chunk")) else None,
        parallel=int(params.get("parallel") or 1),
        output=str(params["output_topic"]) if output == "other" else output,
        overrides=settings_of_params(params),
        release=params.get("release"),
        accept_missing=bool(params.get("accept_missing")),
        accept_differences=bool(params.get("accept_differences")),
    )
