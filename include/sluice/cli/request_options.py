"""The options of the commands that make a request, generated from the fields of `DeployRequest`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
import yaml

from sluice.errors import ConfigError
from sluice.plan.model import Kind
from sluice.plan.request import DeployRequest, Option

_SETTINGS = "settings"
_ONLY_ON = ("allow_state_loss",)
"""Flags without a `--no-` counterpart."""


def takes_request(kind: Kind, *, for_plan: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a request, which it gets as its parameter `request`.

    Args:
        kind: The operation that the command requests.
        for_plan: Give it only the options that change a plan.
    """
    fields = {
        name: option
        for name, option in DeployRequest.options()
        if option.flag and kind in option.kinds and (option.changes_plan or not for_plan)
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in _parameters(command) if each.name != "request"]
        options = [_parameter(name, option) for name, option in fields.items()]
        if kind == "deploy":
            options.append(_settings())

        def run(**given: Any) -> None:
            values = {name: given.pop(name) for name in fields}
            settings = dict(map(setting, given.pop(_SETTINGS, None) or ()))
            command(**given, request=DeployRequest.of(kind=kind, overrides=settings, **values))

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        parameters = [*own, *options]
        # typer reads the parameters from these two.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def setting(text: str) -> tuple[str, Any]:
    """Name and value of a `--set NAME=VALUE`.

    Raises:
        ConfigError: the text has another form.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set: expected NAME=VALUE, got {text!r}")
    return name, yaml.safe_load(value)


def _parameters(command: Callable[..., None]) -> Sequence[inspect.Parameter]:
    signature = inspect.signature(command, eval_str=True)
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in signature.parameters.values()]


def _parameter(name: str, option: Option) -> inspect.Parameter:
    field, flag = DeployRequest.model_fields[name], str(option.flag)
    # The request itself checks which texts are allowed.
    kind: Any = field.annotation if field.annotation in (bool, int | None) else str | None
    if kind is bool and name not in _ONLY_ON:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    shown = typer.Option(flag, help=option.help or option.description)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[kind, shown]
    )


def _settings() -> inspect.Parameter:
    shown = typer.Option(
        "--set", metavar="NAME=VALUE", help="A setting of the job, which overrides the deployment file's."
    )
    kind = Annotated[list[str] | None, shown]
    return inspect.Parameter(_SETTINGS, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
