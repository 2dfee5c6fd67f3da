"""`sluice doctor`: check the requirements of a deploy, with a remedy for each one that is not met."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx
import psutil
from confluent_kafka import KafkaException

from sluice.deployment.jars import jar_urls
from sluice.errors import SluiceError
from sluice.flink import calls
from sluice.flink.models import Overview
from sluice.flink.stale_metrics import fetch_timeout
from sluice.kafka.brokers import TIMEOUT, connect
from sluice.local.layout import Local
from sluice.local.survivors import survivors
from sluice.project import Project
from sluice.release.versions import FLINK, KAFKA_CONNECTOR
from sluice.settings import Settings

_STALE = timedelta(minutes=1)
_MEMORY_GIB = 6
"""The memory that Kafka, Flink, Airflow and a client process need together on one machine."""


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    state: Literal["ok", "warning", "failed"]
    found: str
    remedy: str | None = None


def examine(settings: Settings) -> list[Check]:
    """Run every check, also after one that fails."""
    project = Project(settings)
    runs = bool(survivors(settings.home))
    checks = [_python(), _java(), _maven(), _pyflink(settings.client_python), *_client_jars(project)]
    checks += [_memory(runs=runs), _airflow(Local(root=settings.root, home=settings.home), runs=runs), _jobs(project)]
    try:
        checks += [*_shipped_jars(project), _kafka(project), *_flink(project), *_logins(project)]
    except SluiceError as error:
        checks.append(Check("deployment file", "failed", error.message, error.remedy))
    return [*checks, _ledger(project)]


def _python() -> Check:
    found = sys.version.split()[0]
    if sys.version_info[:2] == (3, 11):
        return Check("Python", "ok", found)
    return Check("Python", "failed", found, "install Python 3.11, which PyFlink and Airflow are tested with")


def _java() -> Check:
    if shutil.which("java") is None:
        return Check("Java", "failed", "not found", "install a JDK, 17 or newer: apt-get install default-jdk-headless")
    words = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', words)
    if match and int(match[1]) >= 17:
        return Check("Java", "ok", words.splitlines()[0])
    found = words.splitlines()[0] if words else "no answer"
    return Check("Java", "failed", found, "install a JDK, 17 or newer: apt-get install openjdk-17-jdk-headless")


def _maven() -> Check:
    found = shutil.which("mvn")
    if found:
        return Check("Maven", "ok", found)
    return Check("Maven", "failed", "not found", "apt-get install maven (it fetches the jars of the local stack)")


def _pyflink(python: Path) -> Check:
    """The version of PyFlink, from the client's interpreter, which may differ from this one."""
    question = "import sluice.client.protocol; from importlib.metadata import version; print(version('apache-flink'))"
    try:
        done = subprocess.run([str(python), "-c", question], capture_output=True, text=True, check=False)
    except OSError as error:
        return Check(
            "PyFlink", "failed", f"{python}: {error.strerror}", "set SLUICE_CLIENT_PYTHON to the interpreter's path"
        )
    if done.returncode:
        words = f"{python}: {done.stderr.strip().splitlines()[-1]}"
        return Check(
            "PyFlink", "failed", words, "make env, or set SLUICE_CLIENT_PYTHON to a Python with PyFlink and Sluice"
        )
    found = done.stdout.strip()
    if found == FLINK:
        return Check("PyFlink", "ok", f"{found} in {python}")
    return Check("PyFlink", "failed", f"{found} in {python}", f"install apache-flink=={FLINK} there")


def _client_jars(project: Project) -> list[Check]:
    """The jars that the client needs to compile a job, in addition to Flink's own."""
    lib = project.flink_lib
    wanted = {
        "Kafka connector": f"flink-sql-connector-kafka-{KAFKA_CONNECTOR}.jar",
        "JSON format": "flink-strict-json-*.jar",
    }
    checks = []
    for what, name in wanted.items():
        found = next(iter(lib.glob(name)), None) if lib else None
        if found and found.exists():
            checks.append(Check(what, "ok", str(found)))
        else:
            words = f"{name} is not in {lib or 'the lib/ of PyFlink'}"
            checks.append(Check(what, "failed", words, "make up, or set SLUICE_FLINK_LIB to a directory that has it"))
    return checks


def _shipped_jars(project: Project) -> list[Check]:
    """The jars that the deployment file ships with each job; no check if it names none."""
    jars = jar_urls(project.content.flink.jars, project.settings.root)
    missing = [jar for jar in jars if jar.startswith("file:") and not Path(url2pathname(urlsplit(jar).path)).is_file()]
    if missing:
        return [Check("flink.jars", "failed", f"no such file: {', '.join(missing)}", "correct the deployment file")]
    return [Check("flink.jars", "ok", ", ".join(jars))] if jars else []


def _memory(*, runs: bool) -> Check:
    free = psutil.virtual_memory().available / 2**30
    words = f"{free:.1f} GiB free{' beside the running stack' if runs else ''}"
    if runs or free >= _MEMORY_GIB:
        return Check("memory", "ok", words)
    return Check("memory", "failed", words, f"free {_MEMORY_GIB} GiB for the whole local stack")


def _airflow(local: Local, *, runs: bool) -> Check:
    """The version, and whether the API server of the local stack answers; the address of any other is unknown."""
    try:
        found = metadata.version("apache-airflow")
    except metadata.PackageNotFoundError:
        return Check("Airflow", "ok", "not installed: only the DAGs need it")
    wanted = [text for text in metadata.requires("sluice") or () if text.startswith("apache-airflow==")]
    if wanted and wanted != [f"apache-airflow=={found}"]:
        return Check("Airflow", "failed", found, f"install {wanted[0]}")
    if not runs or not (local.home / "airflow").is_dir():
        return Check("Airflow", "ok", found)
    try:
        httpx.get(f"{local.airflow_url}/api/v2/version", timeout=TIMEOUT).raise_for_status()
    except httpx.HTTPError as error:
        words = f"{found}, {local.airflow_url}: {error}"
        return Check("Airflow", "failed", words, f"make up, or see {local.logs}/airflow-api-server.log")
    return Check("Airflow", "ok", f"{found}, {local.airflow_url}")


def _jobs(project: Project) -> Check:
    broken = project.catalog.broken
    if broken:
        return Check("jobs", "failed", "\n".join(file.error for file in broken), "fix these files")
    return Check("jobs", "ok", ", ".join(sorted(project.catalog.jobs)) or "none")


def _kafka(project: Project) -> Check:
    servers = project.kafka_servers
    try:
        found = connect(project.kafka).list_topics(timeout=TIMEOUT)
    except KafkaException as error:
        words = f"{servers}: {error.args[0].str()}"
        return Check("Kafka", "failed", words, "start the broker (make up), or correct kafka.config")
    except SluiceError as error:
        return Check("Kafka", "failed", error.message, error.remedy)
    return Check("Kafka", "ok", f"{servers}: {len(found.brokers)} brokers, {len(found.topics)} topics")


def _flink(project: Project) -> list[Check]:
    try:
        with project.connect() as flink:
            found, timeout = flink.send(calls.overview()), fetch_timeout(flink.send(calls.cluster_config()))
    except SluiceError as error:
        return [Check("Flink", "failed", error.message, error.remedy)]
    return [_version(project, found), *_stale_metrics(timeout)]


def _stale_metrics(timeout: timedelta) -> list[Check]:
    """A warning if the loss of a TaskManager stops the cluster's metrics for long."""
    if timeout <= _STALE:
        return []
    words = f"after the loss of a TaskManager, the cluster may fetch no metrics for {timeout} (web.timeout)"
    return [Check("Flink's metrics", "warning", words, "set web.timeout: 1 min on the JobManager")]


def _version(project: Project, found: Overview) -> Check:
    words = f"{project.flink_url}: {found.flink_version}, {found.slots_available} of {found.slots_total} slots free"
    if found.flink_version != FLINK:
        return Check(
            "Flink", "failed", words, f"use a cluster of Flink {FLINK}, or the version of Sluice for this cluster"
        )
    return Check("Flink", "ok", words)


def _logins(project: Project) -> list[Check]:
    """A warning for each login that others on the network can read."""
    sentences = (sentence.partition("; ") for sentence in project.exposed_logins)
    return [Check("login", "warning", found, remedy) for found, _, remedy in sentences]


def _ledger(project: Project) -> Check:
    try:
        project.ledger.operations("")
    except SluiceError as error:
        return Check("ledger", "failed", error.message, error.remedy)
    return Check("ledger", "ok", project.settings.ledger.partition("@")[2] or project.settings.ledger)
