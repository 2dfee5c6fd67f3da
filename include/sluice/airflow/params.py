"""The trigger forms of deploy.<job> and backfill.<job>, and the requests that their fields make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
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


def give_params(dag: DAG, params: dict[str, Param]) -> None:
    """Give a DAG its parameters, once its tasks are there: Airflow copies those it has for each task, several times."""
    dag.params = ParamsDict(params)


def setting_params(config: type[JobConfig]) -> dict[str, Param]:
    """A field for each of a job's own settings but secrets: what a form gives is kept and shown."""
    secrets = secret_settings(config)
    return {
        f"{SETTING}{name}": _param(name, field) for name, field in config.model_fields.items() if name not in secrets
    }


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


def replay_params(config: type[JobConfig]) -> dict[str, Param]:
    """The form's fields."""
    return {
        "start": Param(
            default=None,
            type=["null", "string"],
            format="date-time",
            title="From",
            description="Where the range of event time begins. Empty: the data interval of a run that a backfill or a "
            "schedule has made.",
        ),
        "end": Param(
            default=None, type=["null", "string"], format="date-time", title="To", description="Where it ends."
        ),
        "chunk": Param(
            default=None,
            type=["null", "string"],
            title="Length of a chunk",
            description="E.g. 1h or 30min. Empty: the whole range is one.",
        ),
        "parallel": Param(
            default=1,
            type="integer",
            minimum=1,
            maximum=100,
            title="Chunks side by side",
            description="Each takes its own task slots.",
        ),
        "output": Param(
            default="separate",
            type="string",
            enum=["separate", "other", "live"],
            title="Output",
            description="separate: a topic of the replay's own. other: the topic named below. live: the live one, "
            "where rows of the same key are overwritten: tick Accept differences.",
        ),
        "output_topic": Param(
            default=None,
            type=["null", "string"],
            title="Other topic",
            description="Must exist, with the live topic's partitions.",
        ),
        "release": Param(
            default=None,
            type=["null", "integer"],
            minimum=1,
            title="Release to run",
            description="Empty: the one that runs now.",
        ),
        "replay": Param(
            default=None,
            type=["null", "string"],
            title="Go on with a replay",
            description="Its id, instead of a range: runs what has not finished, and promotes where that is ticked.",
        ),
        "accept_missing": tick("Accept missing records", "Also where Kafka may have deleted some of the range."),
        "promote": tick("Promote", "Writes the rows into the live topic afterwards, by key, all or none."),
        "accept_differences": tick("Accept differences", "Rows of the live topic may be overwritten and deleted."),
        "reason": Param(
            default=None,
            type=["null", "string"],
            title="Reason",
            description="Kept with the replay.",
            format="multiline",
        ),
        **setting_params(config),
    }


def replay_request(params: Mapping[str, Any], interval: tuple[datetime, datetime] | None) -> ReplayRequest:
    """What a run's parameters ask for.

    Args:
        params: The run's.
        interval: The run's data interval, for what it doesn't say.

    Raises:
        ConfigError: no range, or a value that can't be read.
    """
    from sluice.replay.model import ReplayRequest, read_length, read_moment  # noqa: PLC0415

    start, end = (read_moment(name, given) if (given := params.get(name)) else None for name in ("start", "end"))
    if start is None and end is None and interval is not None:
        start, end = interval
    if start is None or end is None:
        raise ConfigError("the run has no range", remedy="fill in From and To in the trigger form")
    output = params.get("output") or "separate"
    if output == "live" and params.get("promote"):
        raise ConfigError("a replay into the live topic has nothing to promote", remedy="leave Promote unticked")
    if output == "other" and not params.get("output_topic"):
        raise ConfigError("the output is another topic, and none is named", remedy="fill in Other topic")
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
