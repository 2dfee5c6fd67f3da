"""A job's own settings."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Secret, SecretBytes, SecretStr


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
    value is refused before anything is touched. Windows, gaps and delays are `Duration`s; a password is a `SecretStr`.
    """

    # Schemas are built at first use: the DAG processor imports every job and validates none. What was given may be a
    # secret, and the trace of an error ends up in logs.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, defer_build=True, hide_input_in_errors=True
    )


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


def secret_settings(config: type[BaseModel]) -> set[str]:
    """The settings that are secrets, or hold some."""
    return {name for name, field in config.model_fields.items() if _holds_secret(field.annotation)}


def _holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type):
        if issubclass(annotation, Secret | SecretStr | SecretBytes):
            return True
        if issubclass(annotation, BaseModel):
            return bool(secret_settings(annotation))
    return any(_holds_secret(part) for part in get_args(annotation))
