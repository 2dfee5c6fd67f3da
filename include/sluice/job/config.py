"""A job's own settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class JobConfig(BaseModel):
    """Base of a job's settings: frozen, no unknown fields, defaults validated as well.

    Every field carries a default and its bounds, so that a job deploys without a deployment file and a wrong
    value is refused before anything is touched. Windows, gaps and delays are `Duration`s.
    """

    # Schemas are built at first use: the DAG processor imports every job and validates none.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


class NoConfig(JobConfig):
    """The settings of a job that has none."""
