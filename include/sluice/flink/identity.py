"""The identity of a Flink cluster: its address, and the options that stay across restarts of its JobManager."""

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
    """The properties that distinguish one Flink cluster from another.

    Attributes:
        url: The address of its REST API, without a login.
        name: The name in the deployment file; None: the file has none.
        availability: The high-availability options that identify the cluster; empty: it has no high availability.
        directories: The options with the directories of checkpoints and savepoints.
    """

    url: str
    name: str | None = None
    availability: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Self | None:
        """The identity from its JSON values; None: none was stored."""
        if not values:
            return None
        return cls(
            str(values["url"]), values.get("name"), values.get("availability") or {}, values.get("directories") or {}
        )

    @property
    def values(self) -> dict[str, Any]:
        """The identity as JSON values."""
        return asdict(self)

    def is_same(self, other: Identity) -> bool:
        """Whether both are the same cluster, as far as the options show.

        JobManagers with equal high-availability options are one cluster, whatever their address. Without high
        availability two clusters may have the same configuration, so that the address must be equal, too.
        """
        return self.resembles(other) and (self.url == other.url or bool(self.availability))

    def resembles(self, other: Identity) -> bool:
        """Whether all but the address is equal; the name counts only if both have one."""
        names = {self.name, other.name} - {None}
        is_alike = (self.availability, self.directories) == (other.availability, other.directories)
        return len(names) <= 1 and is_alike

    @property
    def words(self) -> str:
        """A description for messages."""
        known = {**self.availability, **self.directories}
        more = ", ".join(f"{key}: {value}" for key, value in known.items())
        return f"{self.name + ' at ' if self.name else ''}{self.url}{f' ({more})' if more else ''}"


def identify(flink: FlinkClient, name: str | None = None) -> Identity:
    """Ask the cluster for its identity.

    Args:
        flink: The cluster.
        name: Its name in the deployment file.

    Raises:
        UnreachableError: the cluster doesn't answer.
        FlinkError: the cluster refused the request.
    """
    options = {entry.key: entry.value for entry in flink.send(calls.cluster_config())}
    if not options:
        # A JobManager always has options: this isn't one, or it isn't ready.
        raise UnreachableError(
            f"Flink at {flink.url} answers with an empty JobManager configuration, which identifies a cluster",
            remedy=f"check what answers at {flink.url}/jobmanager/config",
        )
    return identity_of(options, flink.url, name)


def identity_of(options: Mapping[str, str], url: str, name: str | None = None) -> Identity:
    """The identity of a cluster with these JobManager options."""
    kind = next((options[key] for key in _TYPE if key in options), "").lower()
    availability = {} if kind in _NO_HA else {_TYPE[0]: kind, **{key: options[key] for key in _OF_HA if key in options}}
    return Identity(url, name, availability, {key: options[key] for key in _DIRECTORIES if key in options})
