"""The hook of connections of type `flink`: a session cluster's REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from sluice.errors import FlinkError, NotFlinkError, SluiceError

if TYPE_CHECKING:
    from sluice.flink.access import Access
    from sluice.flink.client import FlinkClient

_NOT_FOUND = 404


class FlinkHook(BaseHook):
    """Connects to a Flink session cluster by its REST API.

    Args:
        flink_conn_id: The Airflow connection.
    """

    conn_name_attr = "flink_conn_id"
    default_conn_name = "flink_default"
    conn_type = "flink"
    hook_name = "Flink"

    def __init__(self, flink_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.flink_conn_id = flink_conn_id

    def access(self) -> Access:
        """The cluster's address and credentials.

        Raises:
            ConfigError: a field of the connection is missing or wrong.
        """
        from sluice.flink.connection import Connection  # noqa: PLC0415

        connection = self.get_connection(self.flink_conn_id)
        return Connection(
            self.flink_conn_id,
            connection.conn_type,
            connection.host,
            connection.port,
            connection.schema,
            connection.login,
            connection.password,
            connection.extra_dejson,
        ).access()

    def get_conn(self) -> FlinkClient:
        """A client of the cluster; the caller closes it.

        Raises:
            ConfigError: see `access`; or a certificate file can't be used.
        """
        from sluice.flink.client import FlinkClient  # noqa: PLC0415

        return FlinkClient(self.access())

    def test_connection(self) -> tuple[bool, str]:
        """Whether the cluster answers, with its version and slots, or the error and the next step."""
        from sluice.flink import calls  # noqa: PLC0415
        from sluice.release.versions import FLINK  # noqa: PLC0415

        try:
            with self.get_conn() as flink:
                found = flink.send(calls.overview())
        except SluiceError as error:
            if isinstance(error, FlinkError | NotFlinkError) and error.status == _NOT_FOUND:
                return False, f"{error}; no Flink REST API at this address: check host, port and path"
            return False, str(error)
        text = f"Flink {found.flink_version}: {found.slots_available} of {found.slots_total} slots free"
        return (
            True,
            text if found.flink_version == FLINK else f"{text}; this version of Sluice supports Flink {FLINK}",
        )
