"""The changes between the running release and the target. Pure, except that it reads two artifacts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.client.protocol import State
from sluice.deployment.secrets import redact_like, redact_release
from sluice.ledger.tables import Release
from sluice.plan.model import Category, Change
from sluice.release.artifact import artifact_file
from sluice.release.target import Target
from sluice.release.versions import FLINK, KAFKA_CONNECTOR, PIPELINE
from sluice.state.change import StateChange
from sluice.state.compatibility import is_positions_alone

_AT_A_RESTART = {
    "options": "a Flink option takes effect at a restart",
    "jars": "the job runs with the jars that it was started with",
    "credentials": "the job holds the brokers' credentials that it was started with",
}


def compare_releases(store: Path, former: Release | None, target: Target) -> list[Change]:
    """The changes from the running release to the target; empty if both have the same fingerprint.

    Args:
        store: The artifact store.
        former: The running release; None: there is none.
        target: The target.
    """
    if former is None or former.fingerprint == target.fingerprint:
        return []
    old, new = (redact_release(values, target.config) for values in (former.resolved, target.resolved))
    found = [
        *compare_values(old, new, target.meanings),
        *compare_code(artifact_file(store, former.artifact), artifact_file(store, target.artifact)),
    ]
    return found or [other_versions()]


def compare_values(old: Mapping[str, Any], new: Mapping[str, Any], meanings: Mapping[str, str]) -> list[Change]:
    """The changes between two releases' resolved values; a value that is a secret in either one is shown as a digest.

    Args:
        old: `Release.resolved` of the running release.
        new: `Release.resolved` of the target.
        meanings: The settings whose change alters the meaning of state, each with what changes.
    """
    # A release from before secrets were hidden stores them in clear.
    was, becomes = redact_release(old), redact_release(new)
    before, after = dict(_flat(redact_like(was, becomes))), dict(_flat(redact_like(becomes, was)))
    changes = []
    for path in sorted({*before, *after}):
        if before.get(path) == after.get(path):
            continue
        category, why = _meaning(path, meanings)
        changes.append(Change(path=path, old=before.get(path), new=after.get(path), category=category, why=why))
    return changes


def compare_code(old: Path, new: Path) -> list[Change]:
    """The files that differ between two artifacts, with their number of lines."""
    before, after = _files(old), _files(new)
    return [
        Change(
            path=f"code.{name}",
            old=_lines(before.get(name)),
            new=_lines(after.get(name)),
            category="metadata",
            why="code; whether the job restarts is decided by what it compiles to",
        )
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def categorise(held: State | None, change: StateChange, *, breaks: bool) -> Category:
    """The category of a restart.

    Args:
        held: The state of the old job; None: it has none.
        change: What happens to each operator's state.
        breaks: The state is abandoned, or its meaning changes.
    """
    if held is None or is_positions_alone(change):
        return Category.STATELESS
    return Category.STATE_BREAKING if breaks else Category.STATE_COMPATIBLE


def other_versions() -> Change:
    """The change between two releases with the same code and values, compiled or run by other versions."""
    return Change(
        path="versions",
        old="those of its compilation",
        new=f"generated code {PIPELINE}, Flink {FLINK}, connector {KAFKA_CONNECTOR}",
        category="metadata",
        why="it is compiled again, by this version of Sluice",
    )


def _meaning(path: str, meanings: Mapping[str, str]) -> tuple[Category, str]:
    section, _, name = path.partition(".")
    if path == "state_version":
        return Category.STATE_BREAKING, "the job abandons its state on purpose"
    if section == "config" and (meaning := meanings.get(name.partition(".")[0])):
        return Category.STATE_BREAKING, f"alters what the state means: {meaning}"
    if section == "reads" and name.endswith(".topic"):
        return Category.STATE_BREAKING, "Flink continues to read the topic whose positions are in the state"
    if path == "parallelism":
        return Category.STATELESS, "state is spread over other subtasks"
    if section in _AT_A_RESTART:
        return Category.STATELESS, _AT_A_RESTART[section]
    return Category.METADATA, "takes effect where it changes what the job compiles to"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{prefix}{name}"
        # A Flink option's name contains dots, which don't separate sections.
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _files(artifact: Path) -> dict[str, bytes]:
    if not artifact.is_file():
        return {}
    with zipfile.ZipFile(artifact) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _lines(content: bytes | None) -> str | None:
    return None if content is None else f"{len(content.splitlines())} lines"
