"""Which cluster it is that answers: what it keeps across restarts of its JobManager, and its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sluice.errors import UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient

_TYPE = ("high-availability.type", "high-availability")
_NO_HA = ("", "none")
_OF_HA = (
    "high-availability.cluster-id",
    "high-availability.storageDir",
    "high-availability.zookeeper.quorum",
    "high-availability.zookeeper.path.root",
    "kubernetes.cluster-id",
    "kubernetes.namespace",
)
_DIRECTORIES = (
    "execution.checkpointing.dir",
    "state.checkpoints.dir",
    "execution.checkpointing.savepoint-dir",
    "state.savepoints.dir",
)


@dataclass(frozen=True)
class Identity:
    """What tells one Flink cluster from another.

    Attributes:
        url: The address of its REST API, without a login.
        name: As the deployment file declares it; None: it declares none.
        availability: The options by which its JobManagers find each other; empty: it has no high availability.
        directories: Its options that say where it keeps checkpoints and savepoints.
    """

    url: str
    name: str | None = None
    availability: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Self | None:
        """From what `values` gave; None: nothing was kept."""
        if not values:
            return None
        return cls(
            str(values["url"]), values.get("name"), values.get("availability") or {}, values.get("directories") or {}
        )

    @property
    def values(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def is_same(self, other: Identity) -> bool:
        """Whether both are one cluster as far as can be told without asking it for a job.

        JobManagers with the same high availability are one cluster, at whatever address. Without that, two clusters may
        share a configuration: only the same address is the same cluster.
        """
        return self.resembles(other) and (self.url == other.url or bool(self.availability))

    def resembles(self, other: Identity) -> bool:
        """Whether all but the address is the same; a name counts where both have one."""
        names = {self.name, other.name} - {None}
        is_alike = (self.availability, self.directories) == (other.availability, other.directories)
        return len(names) <= 1 and is_alike

    @property
    def words(self) -> str:
        """For a person."""
        known = {**self.availability, **self.directories}
        more = ", ".join(f"{key}: {value}" for key, value in known.items())
        return f"{self.name + ' at ' if self.name else ''}{self.url}{f' ({more})' if more else ''}"


def identify(flink: FlinkClient, name: str | None = None) -> Identity:
    """The cluster that answers now.

    Args:
        flink: The cluster.
        name: As the deployment file declares it.

    Raises:
        UnreachableError: it doesn't answer.
        FlinkError: it refuses to.
    """
    options = {entry.key: entry.value for entry in flink.send(calls.cluster_config())}
    if not options:
        # A JobManager always has some: what has answered is none, or one that isn't ready.
        raise UnreachableError(
            f"Flink at {flink.url} shows no configuration of its JobManager, by which clusters are told apart",
            remedy="look at /jobmanager/config there",
        )
    return identity_of(options, flink.url, name)


def identity_of(options: Mapping[str, str], url: str, name: str | None = None) -> Identity:
    """The cluster of which these are the JobManager's options. Pure."""
    kind = next((options[key] for key in _TYPE if key in options), "").lower()
    availability = {} if kind in _NO_HA else {_TYPE[0]: kind, **{key: options[key] for key in _OF_HA if key in options}}
    return Identity(url, name, availability, {key: options[key] for key in _DIRECTORIES if key in options})
