"""The request for an operation of one job: the only list of a request's fields.

The trigger form of `deploy.<job>`, the `conf` of its runs, the arguments of the operators and the options of the
command line are made from these fields, each by its `Option`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice.errors import ConfigError
from sluice.plan.model import Kind, Mode

SETTING = "config_"
"""The prefix of the names of a job's own settings in the trigger form."""
AS_PLANNED = "as planned"
"""The form's choice that lets the plan decide the mode."""


@dataclass(frozen=True)
class Option:
    """How a field of a request appears to people.

    Attributes:
        param: Its name in the trigger form and in a run's `conf`; stable, since users' scripts give it.
        title: Its label in the form.
        description: One or two sentences, for the form.
        flag: Its option on the command line; None: it has none.
        help: The option's help; None: the description.
        kinds: The operations whose commands have the option.
        changes_plan: `sluice plan` has the option too.
        section: The section of the form; None: the first.
        schema: More of the form field's JSON schema.
    """

    param: str
    title: str
    description: str
    flag: str | None = None
    help: str | None = None
    kinds: tuple[Kind, ...] = ("deploy",)
    changes_plan: bool = False
    section: str | None = None
    schema: Mapping[str, Any] | None = None


class DeployRequest(BaseModel):
    """One operation of one job, as a person, a DAG or the sweep requests it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[
        Kind,
        Option(
            "operation",
            "Operation",
            "deploy: the desired release. rollback: a former release, from the current state. suspend: stop, and keep "
            "the state. resume: start from that state.",
        ),
    ] = "deploy"
    target_release: Annotated[
        int | None,
        Field(ge=1),
        Option(
            "to_release",
            "Release to roll back to",
            "Empty: the healthy one before.",
            "--to",
            "The release; default: the healthy one before.",
            ("rollback",),
        ),
    ] = None
    expected_release: Annotated[
        int | None,
        Field(ge=1),
        Option(
            "seen_release",
            "Only if this release is deployed",
            "Refused if another release has been deployed since. Empty: whichever it is.",
        ),
    ] = None
    mode: Annotated[
        Mode | None,
        Option(
            "mode",
            "Hand-over",
            "How the running job hands over to the new one.",
            "--mode",
            "How the old job hands over: savepoint, last-state or stateless.",
            ("deploy", "rollback", "suspend"),
            changes_plan=True,
        ),
    ] = None
    allow_state_loss: Annotated[
        bool,
        Option(
            "allow_state_loss",
            "Allow state loss",
            "Approves ahead a plan that loses state or has no way back; otherwise it waits for a person.",
            "--allow-state-loss",
            "Approve a plan that loses state or has no way back.",
            ("deploy", "rollback"),
        ),
    ] = False
    unattended: Annotated[
        bool,
        Option(
            "unattended",
            "Unattended",
            "A plan that needs an approval fails the run at once, instead of waiting for a person.",
        ),
    ] = False
    reason: Annotated[
        str | None,
        Option(
            "reason",
            "Reason",
            "Kept with the operation.",
            "--reason",
            "Why; kept with the operation.",
            get_args(Kind),
            schema={"format": "multiline"},
        ),
    ] = None
    resume_suspended: Annotated[
        bool,
        Option(
            "wake", "Start if suspended", "From the state it stopped with.", "--wake", "Also start a suspended job."
        ),
    ] = False
    confirm_lost_cluster: Annotated[
        bool,
        Option(
            "confirm_lost_cluster",
            "Confirm that the former cluster is lost",
            "Nothing of the job runs any more on the cluster where it was started, which does not answer.",
            "--confirm-lost-cluster",
            "Confirm that nothing of the job runs any more on the cluster where it was started, if that is another one "
            "than today's and does not answer.",
            get_args(Kind),
            changes_plan=True,
        ),
    ] = False
    grow_partitions: Annotated[
        bool,
        Option(
            "grow_partitions",
            "Add partitions",
            "Where a topic has too few. Keys move.",
            "--grow-partitions",
            "Add partitions where a topic has too few.",
            changes_plan=True,
            section="Topics",
        ),
    ] = False
    change_topics: Annotated[
        bool,
        Option(
            "change_topics",
            "Change topic settings",
            "To those that the job declares.",
            "--change-topics",
            "Change a topic's settings to the declared ones.",
            changes_plan=True,
            section="Topics",
        ),
    ] = False
    clear_overrides: Annotated[
        bool,
        Option(
            "clear_overrides",
            "Clear former overrides",
            "Remove settings that former runs gave.",
            "--clear-overrides",
            changes_plan=True,
            section="Settings of the job",
        ),
    ] = False
    overrides: Mapping[str, Any] = Field(default_factory=dict)
    """The job's own settings over the deployment file's: `config_<name>` in the form, `--set NAME=VALUE` in a shell."""

    @classmethod
    def options(cls) -> Iterator[tuple[str, Option]]:
        """The fields with their options, in the order of the form; `overrides` has none."""
        for name, field in cls.model_fields.items():
            if option := next((each for each in field.metadata if isinstance(each, Option)), None):
                yield name, option

    @classmethod
    def of(cls, **given: Any) -> Self:
        """A request of these fields.

        Raises:
            ConfigError: a value is invalid for its field; names the option.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            first = error.errors()[0]
            options = dict(cls.options())
            name = str(first["loc"][0]) if first["loc"] else "request"
            option = options.get(name)
            if name == "mode":
                allowed = ", ".join(Mode)
                raise ConfigError(f"--mode: expected one of {allowed}, got {first['input']!r}") from error
            shown = (option.flag or option.param) if option else name
            raise ConfigError(f"{shown}: not a value of this option: {first['msg']}, got {first['input']!r}") from error

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """The request of a run's parameters or `conf`; those that are missing, empty or unknown are ignored."""
        given: dict[str, Any] = {}
        for name, option in cls.options():
            value = params.get(option.param)
            if value not in (None, "", AS_PLANNED):
                given[name] = bool(value) if cls.model_fields[name].annotation is bool else value
        if given.get("mode") not in tuple(Mode):
            given.pop("mode", None)
        if given.get("kind") not in get_args(Kind):
            given.pop("kind", None)
        return cls.of(**given, overrides=settings_of_params(params))

    @classmethod
    def split(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split an operator's arguments into a request's parameters, by their names in the form, and the others.

        `config` is a mapping of the job's own settings. Values aren't validated, since they may be templates.
        """
        names = {option.param for _, option in cls.options()}
        others = {name: value for name, value in given.items() if name not in names and name != "config"}
        settings = {f"{SETTING}{name}": value for name, value in (given.get("config") or {}).items()}
        return {**{name: value for name, value in given.items() if name in names}, **settings}, others

    def params(self) -> dict[str, Any]:
        """The parameters or `conf` of a run that requests this; defaults are left out."""
        fields = self.model_dump(mode="json", exclude={"overrides"})
        values = {option.param: fields[name] for name, option in self.options()}
        defaults = {option.param: type(self).model_fields[name].default for name, option in self.options()}
        given = {param: value for param, value in values.items() if value != defaults[param] or param == "operation"}
        return {**given, **{f"{SETTING}{name}": value for name, value in self.overrides.items()}}


def settings_of_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """The job's own settings that a run's parameters give."""
    return {
        name.removeprefix(SETTING): value
        for name, value in params.items()
        if name.startswith(SETTING) and value not in (None, "")
    }
