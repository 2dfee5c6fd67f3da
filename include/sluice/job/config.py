"""The settings that a job defines for itself."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Secret, SecretBytes, SecretStr


class ChangesState:
    """Marks a setting that changes the meaning of the job's state: `Annotated[Duration, ChangesState("...")]`.

    For example, the state of a window of another size would be restored without an error and give wrong rows. A plan
    treats the change of such a setting as state-breaking: it needs an approval, and the job starts without its state.

    Args:
        meaning: What happens to the state, as a text for the plan.
    """

    def __init__(self, meaning: str) -> None:
        self.meaning = meaning


class JobConfig(BaseModel):
    """Base of a job's settings: frozen, without unknown fields, defaults validated as well.

    Give every field a default and bounds, so that a job can be deployed without a section in the deployment file, and a
    wrong value is refused before any change. Windows, gaps and delays are `Duration`s; a password is a `SecretStr`.
    """

    # Schemas are built at first use, since the DAG processor imports every job and validates none. Errors don't show
    # the input: it may be a secret, and tracebacks end up in logs.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, defer_build=True, hide_input_in_errors=True
    )


class NoConfig(JobConfig):
    """The settings of a job that has none."""


def state_settings(config: type[JobConfig]) -> dict[str, str]:
    """The settings that are marked with `ChangesState`, each with its text."""
    return {
        name: mark.meaning
        for name, field in config.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, ChangesState)
    }


def secret_settings(config: type[BaseModel]) -> set[str]:
    """The settings that are secrets or contain secrets."""
    return {name for name, field in config.model_fields.items() if _holds_secret(field.annotation)}


def _holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type):
        if issubclass(annotation, Secret | SecretStr | SecretBytes):
            return True
        if issubclass(annotation, BaseModel):
            return bool(secret_settings(annotation))
    return any(_holds_secret(part) for part in get_args(annotation))
