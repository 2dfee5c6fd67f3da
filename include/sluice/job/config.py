"""A job's own settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ChangesState:
    """Marks a setting whose change alters what the job's state means: `Annotated[Duration, ChangesState("...")]`.

    The state of a window of another size, say, would restore without an error and give wrong rows. A plan treats a
    change of such a setting as state-breaking: it needs an approval, and the job starts without its old state.

    Args:
        meaning: What becomes of the state, in words for the plan.
    """

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning


class JobConfig(BaseModel):
    """Base of a job's settings: frozen, no unknown fields, defaults validated as well.

    Every field carries a default and its bounds, so that a job deploys without a deployment file and a wrong
    value is refused before anything is touched. Windows, gaps and delays are `Duration`s.
    """

    # Schemas are built at first use: the DAG processor imports every job and validates none.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)


class NoConfig(JobConfig):
    """The settings of a job that has none."""


def state_settings(config: type[JobConfig]) -> dict[str, str]:
    """The settings whose change alters what state means, with what becomes of it."""
    return {
        name: mark.meaning
        for name, field in config.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, ChangesState)
    }
