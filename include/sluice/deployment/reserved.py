"""Flink options that a deployment file can't set for a job: Sluice sets them itself, or they have no effect there."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sluice.errors import ConfigError

_STATE = "a deploy chooses the state that the job starts from: see sluice deploy --help (--mode), and sluice savepoints"
_JOB_ID = "each start of a job has a Flink job id of its own"
_ADDRESS = "the cluster's address is flink.url or flink.connection"
_RESERVED = {
    "parallelism.default": "use `parallelism:` beside `flink:`",
    "execution.runtime-mode": "every job runs in STREAMING mode",
    "table.local-time-zone": "every job runs in UTC; convert in the pipeline, or write instants",
    "pipeline.name": "a Flink job has the name of its file's job",
    "execution.target": _ADDRESS,
    "execution.attached": "the client submits and leaves",
    "execution.state-recovery.path": _STATE,
    "execution.state-recovery.ignore-unclaimed-state": _STATE,
    "execution.state-recovery.claim-mode": _STATE,
    # The names that Flink has deprecated and still takes for them.
    "execution.savepoint.path": _STATE,
    "execution.savepoint.ignore-unclaimed-state": _STATE,
    "execution.savepoint-restore-mode": _STATE,
    "pipeline.jars": "use `jars:` under `flink:` at the top of the file",
    "pipeline.classpaths": "use `jars:` under `flink:` at the top of the file",
    "pipeline.fixed-job-id": _JOB_ID,
    "web.port": _ADDRESS,
}
"""The options by their names, each with what to do instead."""
_RESERVED_PREFIXES = {
    "rest.": _ADDRESS,
    "jobmanager.rpc.": _ADDRESS,
    "$internal.": "Flink sets its internal options itself",
}


def refuse_reserved(options: Iterable[tuple[str, ...]], place: Callable[[tuple[str, ...]], str]) -> None:
    """Refuse Flink options whose values would be overwritten or never be read.

    Args:
        options: Where each option stands in the deployment file, e.g. ("defaults", "flink", "pipeline.name").
        place: Says file and line of that.

    Raises:
        ConfigError: there is one; names it with file and line, and what to use instead.
    """
    for path in options:
        if (instead := _instead(path[-1])) is not None:
            raise ConfigError(
                f"{place(path)}: {path[-1]}: Sluice sets this Flink option itself, so that a value here would "
                "have no effect",
                remedy=f"take it out; {instead}",
            )


def _instead(option: str) -> str | None:
    """What to do instead of setting the option; None: a job may set it."""
    by_prefix = (instead for prefix, instead in _RESERVED_PREFIXES.items() if option.startswith(prefix))
    return _RESERVED.get(option) or next(by_prefix, None)
