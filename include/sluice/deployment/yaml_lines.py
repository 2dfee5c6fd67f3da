"""Read YAML with the line number of each value, for error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sluice.errors import ConfigError

Path_ = tuple[str, ...]
_FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C, if this PyYAML has it: it takes a fifth of the time."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Document:
    """A YAML file's values and the line of each.

    Attributes:
        file: The file.
        values: Its content.
        lines: Line (from 1) by path, e.g. ("jobs", "event_metrics", "config", "window").
    """

    file: Path
    values: dict[str, Any]
    lines: Mapping[Path_, int]

    def place(self, path: Path_) -> str:
        """`file:line` of the value, or of the nearest enclosing value that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.file}:{self.lines.get(path, 1)}"


def read_document(file: Path, variables: Mapping[str, str] = os.environ) -> Document:
    """Read a YAML mapping; `${NAME}` and `${NAME:-default}` in a value are replaced by environment variables.

    Raises:
        ConfigError: no such file, not YAML, not a mapping, a duplicate key, or an unset variable; with the line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", remedy="write it, or choose another --environment") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not UTF-8: {error.reason} at byte {error.start}", remedy="save it as UTF-8"
        ) from error
    try:
        node = _compose(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{file}:{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    lines: dict[Path_, int] = {}
    values = {} if node is None else _value(_Reading(file, variables, lines), node, ())
    if not isinstance(values, dict):
        raise ConfigError(f"{file}:1: expected a mapping at the top, got {type(values).__name__}")
    return Document(file, values, lines)


def _compose(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_FAST_LOADER)
    except yaml.YAMLError:
        # The messages of the loader in Python name the character, and the line of its mistake.
        return yaml.compose(text, Loader=yaml.SafeLoader)


def named_variables(file: Path) -> set[str]:
    """The environment variables that a file names as `${NAME}`, also in comments."""
    return {match[1] for match in _VARIABLE.finditer(file.read_text(encoding="utf-8", errors="replace"))}


@dataclass(frozen=True)
class _Reading:
    file: Path
    variables: Mapping[str, str]
    lines: dict[Path_, int]


def _value(reading: _Reading, node: yaml.Node, path: Path_) -> Any:
    reading.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(reading, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_value(reading, item, (*path, str(index))) for index, item in enumerate(node.value)]
    written = node.value
    if isinstance(node, yaml.ScalarNode) and isinstance(node.value, str) and "${" in node.value:
        node, written = _replaced(reading, node), node.value
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        # An unknown tag, or text that looks like a date but is none.
        place = f"{reading.file}:{node.start_mark.line + 1}"
        words = getattr(error, "problem", None) or (error if written == node.value else "no such date or number")
        raise ConfigError(f"{place}: {written!r} can't be read: {words}", remedy="quote it, if it is text") from error


def _mapping(reading: _Reading, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in result:
            raise ConfigError(f"{reading.file}:{line}: duplicate key {key!r}", remedy="keep one of them")
        reading.lines[(*path, key)] = line
        result[key] = _value(reading, value_node, (*path, key))
    return result


def _replaced(reading: _Reading, node: yaml.ScalarNode) -> yaml.ScalarNode:
    def value_of(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        value = reading.variables.get(name) or default
        if value is None:
            line = node.start_mark.line + 1
            raise ConfigError(
                f"{reading.file}:{line}: the environment variable {name} is not set",
                remedy=f"set it, or give a default: ${{{name}:-...}}",
            )
        return value

    text = _VARIABLE.sub(value_of, node.value)
    # The resulting text gets the type that YAML gives it: a port becomes a number.
    try:
        plain = yaml.compose(text, Loader=yaml.SafeLoader) if not node.style else None
    except yaml.YAMLError:
        plain = None  # YAML syntax in the variable's value: keep it as text
    tag = plain.tag if isinstance(plain, yaml.ScalarNode) else "tag:yaml.org,2002:str"
    return yaml.ScalarNode(tag, text, node.start_mark, node.end_mark, node.style)
