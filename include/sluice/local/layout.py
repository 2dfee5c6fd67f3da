"""The directories and ports of the local stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sluice.settings import Directory, Variables, find_root

Port = Annotated[int, Field(ge=1, le=65_535)]
HOST = "127.0.0.1"
"""The address that all services bind to."""


class Local(Variables):
    """The local stack's settings."""

    root: Directory = Field(default_factory=find_root)
    home: Directory = Field(default_factory=lambda data: data["root"] / ".sluice")
    jars: Directory = Field(default_factory=lambda data: data["root"] / ".sluice" / "jars")
    """The jars that Maven has downloaded, in kafka/ and flink/."""
    kafka_port: Port = 9092
    kafka_controller_port: Port = 9093
    flink_port: Port = 8081
    flink_rpc_port: Port = 6123
    airflow_port: Port = 8080
    airflow_database: str | None = None
    """The SQLAlchemy URL of Airflow's database, e.g. postgresql+psycopg://airflow@127.0.0.1/airflow. None: SQLite, with
    which only one process writes at a time: on a busy machine requests may wait for a minute."""
    slots: Annotated[int, Field(ge=1, le=512)] = 24
    """Task slots of the one TaskManager."""
    java_options: Annotated[str, AfterValidator(lambda text: "" if text == "none" else text)] = (
        "-XX:TieredStopAtLevel=1"
    )
    """Further options for the JVMs of Kafka and Flink, separated by spaces. The default turns the second compiler off,
    which takes a third of the time in which a stack and its jobs start. `none`: the JVM's own defaults."""
    flink_options: dict[str, Any] = Field(default_factory=dict)
    """More of the Flink cluster's configuration, over the stack's own."""
    airflow_options: dict[str, str] = Field(default_factory=dict)
    """More of Airflow's settings, as AIRFLOW__* environment variables, over the stack's own."""
    traffic_rate: Annotated[float, Field(gt=0, le=100_000)] = 50
    """Events per second of the traffic of `make up`."""
    traffic_seed: int | None = None
    """The same seed gives the same events. None: another seed at each start."""

    @property
    def kafka_servers(self) -> str:
        """The broker's address."""
        return f"{HOST}:{self.kafka_port}"

    @property
    def flink_url(self) -> str:
        """The Flink cluster's REST address."""
        return f"http://{HOST}:{self.flink_port}"

    @property
    def airflow_url(self) -> str:
        """Airflow's UI and API."""
        return f"http://{HOST}:{self.airflow_port}"

    @property
    def logs(self) -> Path:
        """The directory of all logs."""
        return self.home / "logs"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which Sluice and the deployment file find this stack."""
        return {
            "SLUICE_ROOT": str(self.root),
            "SLUICE_HOME": str(self.home),
            "SLUICE_KAFKA_PORT": str(self.kafka_port),
            "SLUICE_FLINK_PORT": str(self.flink_port),
            "SLUICE_FLINK_LIB": str(self.home / "flink" / "lib"),
        }
