"""An Airflow API server of a test's own, with users who log in, on a metadata database that is there."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.stacks import ROOT, free_ports

PASSWORDS = {"admin": "admin's own", "viewer": "viewer's own"}
"""By user; each has the role of that name."""
AIRFLOW = ROOT / ".venv" / "bin" / "airflow"


@contextmanager
def api_server(directory: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that serves while the context lasts.

    Args:
        directory: Where its passwords and its log lie.
        variables: Airflow's settings; those of users and addresses are laid over them.
    """
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    directory.mkdir(parents=True, exist_ok=True)
    passwords = directory / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS), encoding="utf-8")
    given = {
        **os.environ,
        **variables,
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{user}" for user in PASSWORDS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    command = [str(AIRFLOW), "api-server", "--host", "127.0.0.1", "--port", str(port), "--apps", "core"]
    log = directory / "api-server.log"
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(command, env=given, stdout=output, stderr=output, start_new_session=True)
    try:
        _await(url, server, log)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def _await(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            if httpx.get(f"{url}/api/v2/version", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        assert server.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)


def token(url: str, user: str) -> str:
    """What a user gets for logging in."""
    answer = httpx.post(f"{url}/auth/token", json={"username": user, "password": PASSWORDS[user]}, timeout=30)
    return answer.raise_for_status().json()["access_token"]
