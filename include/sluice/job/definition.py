"""A job: one value, one file."""

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
"""Parameter names of a pipeline that are not reads: its settings and Flink's two environments."""


class Job:
    """A streaming job: what it reads, computes and writes, and inside which limits it is healthy.

    Args:
        name: The job's name everywhere: Flink, Airflow, consumer group, transactional ids. `[a-z][a-z0-9_]*`.
        reads: Topics by the name under which the pipeline asks for their table.
        writes: The topic of the returned table, or topics by name for a pipeline that returns a dict of tables.
        config: The settings' model.
        health: The limits inside which the job counts as healthy.
        replay: How history may be replayed; None: it may not.
        state_version: Raise it to abandon the old state on purpose.
        owner: Who is asked when the job fails; shown in Airflow.
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
            ConfigError: none was given.
        """
        if self._build is None:
            raise ConfigError(
                f"{self.place}: job {self.name} has no pipeline",
                remedy=f"decorate its function with @job.pipeline, asking for {', '.join(self.reads)}",
            )
        return self._build

    def pipeline(self, build: _PipelineT) -> _PipelineT:
        """Take a function as the job's pipeline: tables in, a table (or a dict of tables by sink) out.

        The function asks for what it needs by parameter name: a read's name (its Table), `config`, `t_env`, `env`.

        Raises:
            ConfigError: a second pipeline, a parameter that is none of these, or a read that the function can't reach.
        """
        place = f"{build.__code__.co_filename}:{build.__code__.co_firstlineno}"
        if self._build is not None:
            raise ConfigError(f"{place}: job {self.name} has a pipeline already", remedy="keep one")
        known = {*self.reads, *RESERVED}
        asked = inspect.signature(build).parameters
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise ConfigError(
                f"{place}: pipeline of {self.name} asks for {', '.join(unknown)}, which is nothing it can have",
                remedy=f"ask for any of {', '.join(sorted(known))}",
            )
        # With t_env it may name its reads in SQL; without, what it doesn't ask for is never read.
        unused = [name for name in self.reads if name not in asked]
        if unused and "t_env" not in asked:
            raise ConfigError(
                f"{place}: read {', '.join(unused)} of {self.name} is not used: its pipeline asks for "
                f"{', '.join(asked) or 'nothing'}",
                remedy=f"ask for {', '.join(unused)}, or take it out of reads",
            )
        self._build = build
        return build

    def _check_reads(self) -> None:
        for name in self.reads:
            if not name.isidentifier() or name in RESERVED:
                raise ConfigError(
                    f"{self.place}: {self.name} reads something by the name {name!r}, which a parameter can't have",
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
                        f"{self.place}: {self.name}: Replay({role}={name!r}): {topic.record.__name__}, which it writes "
                        f"to {sink}, has no field of that name with a datetime",
                        remedy=f"name one of {', '.join(moments) or 'its moments, once it has some'}",
                    )
