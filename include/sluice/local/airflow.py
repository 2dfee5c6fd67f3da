"""Airflow for one machine: API server, scheduler, DAG processor, triggerer."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote

import httpx

from sluice.errors import ConfigError, OperationError
from sluice.local.layout import HOST, Local
from sluice.local.service import Service


def prepare(local: Local) -> tuple[Service, ...]:
    """Create Airflow's home and migrate its database."""
    directory = local.home / "airflow"
    directory.mkdir(parents=True, exist_ok=True)
    variables = environment(local)
    with (local.logs / "airflow-migrate.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            [_airflow(), "db", "migrate"], env={**os.environ, **variables}, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise OperationError("Airflow's database can't be migrated", remedy=f"see {local.logs}/airflow-migrate.log")
    api_server = ("api-server", "--host", HOST, "--port", str(local.airflow_port))
    commands: dict[str, tuple[str, ...]] = {
        "airflow-api-server": api_server,
        # The log servers would listen on every address; all logs are on this machine anyway.
        "airflow-scheduler": ("scheduler", "--skip-serve-logs"),
        "airflow-dag-processor": ("dag-processor",),
        "airflow-triggerer": ("triggerer", "--skip-serve-logs"),
    }
    return tuple(
        Service(
            name=name,
            command=(_airflow(), *command),
            is_ready=(lambda: _healthy(local)) if name == "airflow-triggerer" else None,
            ports={"SLUICE_AIRFLOW_PORT": local.airflow_port} if name == "airflow-api-server" else {},
            variables=variables,
        )
        for name, command in commands.items()
    )


def environment(local: Local) -> dict[str, str]:
    """Airflow's settings as environment variables."""
    directory = local.home / "airflow"
    keys = _keys(directory / "keys.json")
    kafka = json.dumps({"bootstrap.servers": local.kafka_servers})
    return {
        **local.variables,
        # `airflow` finds the programs that it starts on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "AIRFLOW_HOME": str(directory),
        "AIRFLOW_CONN_KAFKA_DEFAULT": f"kafka://?__extra__={quote(kafka)}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(local.root / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "6",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{local.airflow_url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": keys["fernet"],
        "AIRFLOW__API__BASE_URL": local.airflow_url,
        "AIRFLOW__API__SECRET_KEY": keys["api"],
        "AIRFLOW__API__WORKERS": "1",
        # On a busy machine a response takes longer than the default of 5 s. The worker then repeats its request, gets
        # the answer that the state has changed already, and the task fails.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
        **_database(local, directory),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(local.logs / "airflow"),
        # A new file in flink_jobs/ or dags/ appears within seconds.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        # A run has about eight tasks in a row, and the scheduler sleeps so long between two of them.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        **local.airflow_options,
    }


def _database(local: Local, directory: Path) -> dict[str, str]:
    url = local.airflow_database
    if url is None:
        # Seconds that a process waits while another one writes to the database. With SQLite's default of 5, requests
        # and tasks fail on a busy machine ("database is locked").
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{directory / 'airflow.db'}?timeout=60"}
    if not url.startswith("postgresql+psycopg://"):
        raise ConfigError(
            "SLUICE_AIRFLOW_DATABASE is not the URL of a PostgreSQL database with the driver psycopg",
            remedy="set it to postgresql+psycopg://user:password@host/database, or unset it for SQLite",
        )
    # By default Airflow's asynchronous connections need another driver.
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": url}


def _airflow() -> str:
    return str(Path(sys.executable).parent / "airflow")


def _healthy(local: Local) -> bool:
    """Whether scheduler, DAG processor and triggerer have reported to the database."""
    try:
        health = httpx.get(f"{local.airflow_url}/api/v2/monitor/health", timeout=5)
        parts = health.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return False
    wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
    return all((parts.get(part) or {}).get("status") == "healthy" for part in wanted)


def _keys(file: Path) -> dict[str, str]:
    """This machine's secrets, generated once."""
    if not file.exists():
        keys = {
            "fernet": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "api": secrets.token_urlsafe(32),
            "jwt": secrets.token_urlsafe(48),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(keys), encoding="utf-8")
    keys = json.loads(file.read_text(encoding="utf-8"))
    return {name: str(value) for name, value in keys.items()}
