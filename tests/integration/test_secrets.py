"""Secrets are written nowhere: planted ones are searched in all output, logs and files of good and bad deploys."""

import hmac
import json
import secrets
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, Producer

from sluice.client.address import login_variables
from sluice.flink.access import Access
from tests.support.file_contents import file_contents
from tests.support.guarded import guarded_broker, login
from tests.support.proxy import proxy_before
from tests.support.shared_client import SharedClient
from tests.support.waiting import wait_for

SLUICE = str(Path(sys.executable).parent / "sluice")
JOB = """
from datetime import timedelta

from pydantic import SecretStr

from sluice import Job, JobConfig, Kafka, Record


class Line(Record):
    id: str
    at: int


class Out(Record):
    id: str


class Config(JobConfig):
    key: SecretStr
    least: int = 0


job = Job(
    name="signed",
    config=Config,
    reads={"lines": Kafka("signed_lines", record=Line, event_time="at", watermark_delay=timedelta(seconds=1))},
    writes=Kafka("signed_out", record=Out),
)


@job.pipeline
def build(lines, config):
    import hmac

    from pyflink.table import DataTypes
    from pyflink.table.expressions import col
    from pyflink.table.udf import udf

    key = config.key.get_secret_value().encode()

    def signed(text):
        return hmac.new(key, text.encode(), "sha256").hexdigest()

    return lines.select(udf(signed, result_type=DataTypes.STRING().not_null())(col("id")).alias("id"))
"""
DEPLOYMENT = """
kafka:
  config:
    bootstrap.servers: ${GUARDED_KAFKA}
    security.protocol: SASL_PLAINTEXT
    sasl.mechanism: PLAIN
    sasl.username: sluice
    sasl.password: ${PLANTED_KAFKA}
flink: {connection: guarded}
defaults:
  flink:
    execution.checkpointing.interval: 1 s
    execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
    s3.secret-key: ${PLANTED_OPTION}
jobs:
  signed:
    config: {key: "${PLANTED_KEY}"}
"""


class Planted:
    """A project with secrets in every place, and all that its commands have said.

    Attributes:
        secrets: By the name of where they are planted.
        former: Those that were there before, and wrong ones.
        said: What was printed.
        lines: Command lines of processes that held one.
        borrowing: An interpreter whose clients have a JVM that has logged in already.
    """

    def __init__(self, lab, kafka, proxy, given, borrowing):
        self.lab, self.kafka, self.proxy, self.secrets, self.borrowing = lab, kafka, proxy, given, borrowing
        self.said, self.lines, self.former = [], set(), []
        (lab.root / "deployments" / "test.yaml").write_text(DEPLOYMENT)
        lab.job("signed", JOB)

    @property
    def variables(self):
        connection = {
            "conn_type": "flink",
            "host": "127.0.0.1",
            "port": self.proxy.port,
            "schema": "https",
            "login": "deployer",
            "password": self.secrets["flink"],
            "extra": {"ca_bundle": str(self.proxy.ca)},
        }
        return self.lab.variables | {
            "AIRFLOW_CONN_GUARDED": json.dumps(connection),
            "GUARDED_KAFKA": self.kafka,
            **{f"PLANTED_{name.upper()}": self.secrets[name] for name in ("kafka", "option", "key")},
        }

    def run(self, *arguments, status=0, **variables):
        """A command of the shell; what it printed as JSON, where it was asked to."""
        is_over = threading.Event()
        watching = threading.Thread(target=self._watch, args=(is_over,))
        watching.start()
        try:
            done = subprocess.run(
                [SLUICE, *arguments], env={**self.variables, **variables}, capture_output=True, text=True, check=False
            )
        finally:
            is_over.set()
            watching.join()
        self.said.append(done.stdout + done.stderr)
        assert status in (None, done.returncode), done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr

    def _watch(self, is_over):
        """Look at every command line there is, as any user of the machine can."""
        while not is_over.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = file.read_text(errors="replace")
                except OSError:
                    continue
                if any(secret in line for secret in self.every):
                    self.lines.add(line)

    @property
    def every(self):
        """What was planted, now and before, and the header with which Flink is asked."""
        return [*self.secrets.values(), *self.former, self.proxy.authorization.removeprefix("Basic ")]

    def replace(self, name):
        self.former.append(self.secrets[name])
        self.secrets[name] = f"planted-{secrets.token_hex(12)}"


@pytest.fixture
def planted(lab, tmp_path_factory, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    given = {name: f"planted-{secrets.token_hex(12)}" for name in ("kafka", "flink", "option", "key")}
    login_at_flink = Access("", "deployer", given["flink"])
    directory = tmp_path_factory.mktemp("guarded")
    with (
        guarded_broker(directory, given["kafka"]) as (kafka, _tls, _ca),
        proxy_before(directory / "proxy", lab.local.flink_url, login_at_flink.authorization) as proxy,
        SharedClient(lab.local.home / "flink" / "lib", login_variables(login_at_flink)) as shared,
    ):
        yield Planted(lab, kafka, proxy, given, shared.python)
        # Before its broker is gone, with which it would wait.
        lab.cancel_all()


def test_secrets_are_not_written_to_output_logs_or_files(planted):
    run, lab = planted.run, planted.lab
    lab.use_own_clients()
    [first] = run("deploy", "signed", "--json")
    assert first["outcome"] == "healthy"
    lab.client_python = planted.borrowing
    # Flink's own client came in by the proxy as well.
    assert ("POST", "/v1/jobs", True) in planted.proxy.asked
    assert all(may for *_, may in planted.proxy.asked)
    _reads_and_signs(planted)

    # A changed secret is a change, shown without its value.
    planted.replace("key")
    planted.replace("option")
    changed = ["config.key", "options.s3.secret-key"]
    [plan] = run("plan", "signed", "--json")
    assert sorted(change["path"] for change in plan["changes"]) == changed
    said = run("plan", "signed")
    assert [path for path in changed if path in said] == changed
    [second] = run("deploy", "signed", "--json")
    assert (second["outcome"], second["release"]) == ("healthy", 2)
    # The release before, with today's key.
    assert run("rollback", "signed", "--to", "1", "--allow-state-loss", "--json")[0]["outcome"] == "healthy"

    # What goes wrong tells much, and none of them.
    lab.job("signed", JOB.replace('col("id")).alias', 'col("nosuch")).alias'))
    assert "nosuch" in run("deploy", "signed", status=2)
    assert "a secret" in run("deploy", "signed", "--set", "key=x", status=2)
    planted.former += ["planted-wrong-for-kafka", "planted-wrong-for-flink"]
    assert "Authentication failed" in run("deploy", "signed", status=1, PLANTED_KAFKA="planted-wrong-for-kafka")
    wrong = json.loads(planted.variables["AIRFLOW_CONN_GUARDED"])
    wrong["password"] = "planted-wrong-for-flink"
    assert "denies access: 401" in run("plan", "signed", status=1, AIRFLOW_CONN_GUARDED=json.dumps(wrong))
    for command in (["status"], ["history", "signed"], ["savepoints", "signed"], ["doctor"]):
        for more in ([], ["--json"]):
            run(*command, *more, status=None)
    _look_everywhere(planted)


def _reads_and_signs(planted):
    """The job works with what it was given: brokers and cluster let it in, its function has the key."""
    producer = Producer(login(planted.kafka, planted.secrets["kafka"]))
    producer.produce("signed_lines", json.dumps({"id": "a", "at": 1_000}).encode(), timestamp=1_000)
    assert producer.flush(10) == 0
    consumer = Consumer(
        {**login(planted.kafka, planted.secrets["kafka"]), "group.id": "test", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["signed_out"])
    try:
        row = wait_for(lambda: consumer.poll(1.0), "no row was signed")
    finally:
        consumer.close()
    expected = hmac.new(planted.secrets["key"].encode(), b"a", "sha256").hexdigest()
    assert json.loads(row.value()) == {"id": expected}


def _look_everywhere(planted):
    lab = planted.lab
    places = {"what was printed": "\n".join(planted.said)}
    database = sqlite3.connect(lab.root / ".sluice" / "ledger.db")
    places["the ledger"] = "\n".join(database.iterdump())
    assert "signed" in places["the ledger"]
    database.close()
    for directory in (lab.root, lab.local.logs):
        places |= {str(file): content.decode(errors="replace") for file, content in file_contents(directory)}
    with httpx.Client(base_url=lab.local.flink_url) as flink:
        for job in flink.get("/jobs").json()["jobs"]:
            for path in ("", "/config", "/plan", "/exceptions", "/checkpoints/config"):
                places[f"Flink's /jobs{path}"] = flink.get(f"/jobs/{job['id']}{path}").text
        places["Flink's configuration"] = flink.get("/jobmanager/config").text
    found = {place: secret for place, text in places.items() for secret in planted.every if secret in text}
    assert not found
    assert not planted.lines
