"""Flink options that a deployment file can't set for a job: Sluice sets them itself, or they would have no effect."""

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
    "execution.attached": "the client always submits in detached mode",
    "execution.state-recovery.path": _STATE,
    "execution.state-recovery.ignore-unclaimed-state": _STATE,
    "execution.state-recovery.claim-mode": _STATE,
    # The deprecated names of these options, which Flink still accepts.
    "execution.savepoint.path": _STATE,
    "execution.savepoint.ignore-unclaimed-state": _STATE,
    "execution.savepoint-restore-mode": _STATE,
    "pipeline.jars": "use `jars:` under `flink:` at the top of the file",
    "pipeline.classpaths": "use `jars:` under `flink:` at the top of the file",
    "pipeline.fixed-job-id": _JOB_ID,
    "web.port": _ADDRESS,
}
"""By option: what to do instead."""
_RESERVED_PREFIXES = {
    "rest.": _ADDRESS,
    "jobmanager.rpc.": _ADDRESS,
    "$internal.": "Flink sets its internal options itself",
}


def refuse_reserved(options: Iterable[tuple[str, ...]], place: Callable[[tuple[str, ...]], str]) -> None:
    """Refuse Flink options whose values Sluice would overwrite or Flink would ignore.

    Args:
        options: The path of each option in the deployment file, e.g. ("defaults", "flink", "pipeline.name").
        place: Returns `file:line` of a path.

    Raises:
        ConfigError: the file sets such an option; names it with file and line, and what to use instead.
    """
    for path in options:
        if (instead := _instead(path[-1])) is not None:
            raise ConfigError(
                f"{place(path)}: {path[-1]}: Sluice sets this Flink option itself, so that a value here would "
                "have no effect",
                remedy=f"remove it; {instead}",
            )


def _instead(option: str) -> str | None:
    """What to do instead of setting the option; None: a job may set it."""
    by_prefix = (instead for prefix, instead in _RESERVED_PREFIXES.items() if option.startswith(prefix))
    return _RESERVED.get(option) or next(by_prefix, None)
