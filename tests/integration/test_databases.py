"""The databases of docker-compose.yml's PostgreSQL, made by the script that its image runs, on a real one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import inspect

from sluice.ledger.database import open_database
from tests.support.postgres import needs_server, postgres

ROOT = Path(__file__).resolve().parents[2]
pytestmark = needs_server
PASSWORDS = {"AIRFLOW_DATABASE_PASSWORD": 'it\'s a \\ "secret" $HOME', "SLUICE_LEDGER_PASSWORD": "another"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres("postgres") as directory:
        variables = {**os.environ, **PASSWORDS, "PGHOST": directory, "POSTGRES_USER": "postgres"}
        command = [ROOT / "scripts/make-databases.sh"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        yield directory


def test_each_database_user_can_connect_only_to_its_own_database(server):
    for user, other in (("airflow", "sluice"), ("sluice", "airflow")):
        with psycopg.connect(host=server, user=user, dbname=user) as connection:
            connection.execute("CREATE TABLE own (a int)")
            connection.execute("DROP TABLE own")
        for closed in (other, "postgres"):
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(host=server, user=user, dbname=closed).close()


def test_database_passwords_are_exactly_the_given_ones(server):
    with psycopg.connect(host=server, user="postgres", dbname="postgres") as connection:
        # Where passwords are asked for; this server trusts whoever comes by its socket.
        file = Path(connection.execute("SHOW hba_file").fetchone()[0])
        file.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    for user, password in zip(("airflow", "sluice"), PASSWORDS.values(), strict=True):
        psycopg.connect(host=server, user=user, dbname=user, password=password).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host=server, user=user, dbname=user, password="x").close()


def test_airflow_migrates_its_database_with_the_ledgers_driver(server, tmp_path):
    url = f"postgresql+psycopg://airflow@/airflow?host={server}"
    variables = {
        **os.environ,
        "PGPASSWORD": PASSWORDS["AIRFLOW_DATABASE_PASSWORD"],
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": url,
    }
    airflow = Path(sys.executable).parent / "airflow"
    for command in (("db", "migrate"), ("db", "check-migrations"), ("db", "check")):
        done = subprocess.run([airflow, *command], env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_ledger_opens_its_database(server):
    engine = open_database(f"postgresql+psycopg://sluice:{PASSWORDS['SLUICE_LEDGER_PASSWORD']}@/sluice?host={server}")
    assert "placements" in inspect(engine).get_table_names()
    engine.dispose()
