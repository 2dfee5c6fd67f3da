"""`sluice doctor`: what is needed, what is there, and what to do about the difference."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import psutil
from confluent_kafka import KafkaException

from sluice.errors import SluiceError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka.brokers import TIMEOUT, connect
from sluice.project import Project
from sluice.release.versions import FLINK, KAFKA_CONNECTOR
from sluice.settings import Settings

_MEMORY_GIB = 6
"""What Kafka, Flink, Airflow and a client process take together on one machine."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "failed"]
    found: str
    remedy: str | None = None


def examine(settings: Settings) -> list[Check]:
    """Every check; none of them stops another."""
    project = Project(settings)
    checks = [_python(), _java(), _maven(), _pyflink(), _connector(settings), _memory(), _jobs(project)]
    try:
        checks += [_kafka(project), _flink(project)]
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


def _pyflink() -> Check:
    try:
        found = metadata.version("apache-flink")
    except metadata.PackageNotFoundError:
        return Check("PyFlink", "failed", "not installed", "make env, or set SLUICE_CLIENT_PYTHON to where it is")
    if found == FLINK:
        return Check("PyFlink", "ok", found)
    return Check("PyFlink", "failed", found, f"install apache-flink=={FLINK}")


def _connector(settings: Settings) -> Check:
    lib = Project(settings).flink_lib
    name = f"flink-sql-connector-kafka-{KAFKA_CONNECTOR}.jar"
    if lib and (lib / name).exists():
        return Check("Kafka connector", "ok", str(lib / name))
    return Check("Kafka connector", "failed", f"{name} is not in {lib}", "make up, or set SLUICE_FLINK_LIB")


def _memory() -> Check:
    free = psutil.virtual_memory().available / 2**30
    words = f"{free:.1f} GiB free"
    if free >= _MEMORY_GIB:
        return Check("memory", "ok", words)
    return Check("memory", "failed", words, f"free {_MEMORY_GIB} GiB for the whole local stack")


def _jobs(project: Project) -> Check:
    broken = project.catalog.broken
    if broken:
        return Check("jobs", "failed", "\n".join(file.error for file in broken), "mend these files")
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


def _flink(project: Project) -> Check:
    try:
        with FlinkClient(project.flink_url) as flink:
            found = flink.send(calls.overview())
    except SluiceError as error:
        return Check("Flink", "failed", error.message, error.remedy)
    words = f"{project.flink_url}: {found.flink_version}, {found.slots_available} of {found.slots_total} slots free"
    if found.flink_version != FLINK:
        return Check("Flink", "failed", words, f"use a cluster of Flink {FLINK}, or the Sluice made for this one")
    return Check("Flink", "ok", words)


def _ledger(project: Project) -> Check:
    try:
        project.ledger.operations("")
    except SluiceError as error:
        return Check("ledger", "failed", error.message, error.remedy)
    return Check("ledger", "ok", project.settings.ledger.partition("@")[2] or project.settings.ledger)
