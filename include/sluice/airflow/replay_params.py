"""The trigger form of backfill.<job>: the range, the chunks, where the rows go, and the job's own settings.

Made from annotations alone, as that of deploy.<job>.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from sluice.airflow.params import given_settings, setting_params, tick
from sluice.errors import ConfigError
from sluice.job.config import JobConfig

if TYPE_CHECKING:
    from sluice.replay.model import ReplayRequest


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
        overrides=given_settings(params),
        release=params.get("release"),
        accept_missing=bool(params.get("accept_missing")),
        accept_differences=bool(params.get("accept_differences")),
    )
