"""The definition of a job: one `Job` value in one file."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from sluice.errors import ConfigError
from sluice.job.config import JobConfig, NoConfig
from sluice.job.limits import Health, Replay
from sluice.job.names import is_job_name
from sluice.job.topic import Kafka

Pipeline = Callable[..., Any]
_PipelineT = TypeVar("_PipelineT", bound=Pipeline)

RESERVED = frozenset({"config", "t_env", "env"})
"""Parameters of a pipeline that are not reads: the job's settings and Flink's two environments."""


class Job:
    """A streaming job: what it reads, computes and writes, and the limits within which it is healthy.

    Args:
        name: The job's name in Flink, Airflow, its consumer group and transactional ids: `[a-z][a-z0-9_]*`.
        reads: Topics by read name; the pipeline gets a read's table as the parameter of that name.
        writes: The topic of the returned table, or topics by name for a pipeline that returns a dict of tables.
        config: The model of the job's settings.
        health: The limits within which the job is healthy.
        replay: How the job's history may be replayed; None: replays are not allowed.
        state_version: Raise it to start without the old state on purpose.
        owner: The team to contact when the job fails; shown in Airflow.
        tags: Shown in Airflow.

    Raises:
        ConfigError: a name that can't be used.
    """

    def __init__(
        self,
        *,
        name: str,
        reads: Mapping[str, Kafka],
        writes: Kafka | Mapping[str, Kafka],
        config: type[JobConfig] = NoConfig,
        health: Health | None = None,
        replay: Replay | None = None,
        state_version: int = 1,
        owner: str = "data-platform",
        tags: tuple[str, ...] = (),
    ) -> None:
        caller = sys._getframe(1)
        self.module: str = caller.f_globals.get("__name__", "")
        self.file = Path(caller.f_code.co_filename)
        self.line = caller.f_lineno
        self.description: str = inspect.cleandoc(caller.f_globals.get("__doc__") or "")
        if not is_job_name(name):
            raise ConfigError(
                f"{self.place}: job name {name!r} can't be used",
                remedy="name it with lower-case letters, digits and _, a letter first, at most 63 characters",
            )
        self.name = name
        self.reads: Mapping[str, Kafka] = MappingProxyType(dict(reads))
        self.sinks: Mapping[str, Kafka] = MappingProxyType(
            {name: writes} if isinstance(writes, Kafka) else dict(writes)
        )
        self.config = config
        self.health = health or Health()
        self.replay = replay
        self.state_version = state_version
        self.owner = owner
        self.tags = tags
        self._build: Pipeline | None = None
        self._check_reads()
        self._check_replay()

    def __repr__(self) -> str:
        return f"Job({self.name!r})"

    @property
    def place(self) -> str:
        """File and line of the definition, for messages."""
        return f"{self.file}:{self.line}"

    @property
    def build(self) -> Pipeline:
        """The pipeline function.

        Raises:
            ConfigError: the job has none.
        """
        if self._build is None:
            raise ConfigError(
                f"{self.place}: job {self.name} has no pipeline",
                remedy=f"decorate a function with @job.pipeline, with the parameters {', '.join(self.reads)}",
            )
        return self._build

    def pipeline(self, build: _PipelineT) -> _PipelineT:
        """Decorator of the job's pipeline: a function of tables that returns a table, or a dict of tables by sink.

        Its parameters are any of: the name of a read (its Table), `config`, `t_env`, `env`.

        Raises:
            ConfigError: a second pipeline, an unknown parameter, or a read that the function doesn't use.
        """
        place = f"{build.__code__.co_filename}:{build.__code__.co_firstlineno}"
        if self._build is not None:
            raise ConfigError(f"{place}: job {self.name} has a pipeline already", remedy="keep one of the two")
        known = {*self.reads, *RESERVED}
        asked = inspect.signature(build).parameters
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise ConfigError(
                f"{place}: the pipeline of {self.name} has an unknown parameter {', '.join(unknown)}",
                remedy=f"use any of {', '.join(sorted(known))}",
            )
        # With t_env the function can name a read in SQL. Without it, a read that is no parameter is never read.
        unused = [name for name in self.reads if name not in asked]
        if unused and "t_env" not in asked:
            raise ConfigError(
                f"{place}: read {', '.join(unused)} of {self.name} is not used: its pipeline has the parameters "
                f"{', '.join(asked) or 'none'}",
                remedy=f"add the parameter {', '.join(unused)}, or remove it from reads",
            )
        self._build = build
        return build

    def _check_reads(self) -> None:
        for name in self.reads:
            if not name.isidentifier() or name in RESERVED:
                raise ConfigError(
                    f"{self.place}: {self.name} has a read named {name!r}, which can't be a parameter name",
                    remedy=f"choose a Python identifier other than {', '.join(sorted(RESERVED))}",
                )
        if not self.sinks:
            raise ConfigError(f"{self.place}: {self.name} writes nothing", remedy="declare writes=Kafka(...)")

    def _check_replay(self) -> None:
        if self.replay is None:
            return
        for sink, topic in self.sinks.items():
            fields = topic.record.model_fields
            for role in ("begins", "ends"):
                name = getattr(self.replay, role)
                if name not in fields or fields[name].annotation is not datetime:
                    moments = [field for field, info in fields.items() if info.annotation is datetime]
                    raise ConfigError(
                        f"{self.place}: {self.name}: Replay({role}={name!r}): {topic.record.__name__}, the record of "
                        f"{sink}, has no datetime field of that name",
                        remedy=f"name one of {', '.join(moments)}" if moments else "add datetime fields to the record",
                    )
