"""A Flink session cluster from the PyFlink wheel: one JobManager, one TaskManager."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from sluice.errors import SluiceError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.layout import HOST, Local
from sluice.local.service import Service, configured_by


def prepare(local: Local) -> tuple[Service, Service]:
    """Write the cluster's configuration and link its jars."""
    flink_home, directory = distribution(), local.home / "flink"
    for name in ("conf", "lib", "checkpoints", "savepoints", "tmp"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    _write_configuration(local, flink_home, directory)
    gather_jars(local)
    variables = {
        "FLINK_HOME": str(flink_home),
        "FLINK_CONF_DIR": str(directory / "conf"),
        "FLINK_LIB_DIR": str(directory / "lib"),
        "FLINK_LOG_DIR": str(local.logs),
        "FLINK_PID_DIR": str(directory / "tmp"),
        # The scripts add a Hadoop that is installed on the machine to the class path, unless this is empty.
        "HADOOP_CLASSPATH": "",
        **configured_by(directory / "conf" / "config.yaml"),
    }
    return (
        Service(
            name="flink-jobmanager",
            command=(str(flink_home / "bin" / "jobmanager.sh"), "start-foreground"),
            is_ready=lambda: _answers(local.flink_url, slots=0),
            ports={"SLUICE_FLINK_PORT": local.flink_port, "SLUICE_FLINK_RPC_PORT": local.flink_rpc_port},
            variables=variables,
        ),
        Service(
            name="flink-taskmanager",
            command=(str(flink_home / "bin" / "taskmanager.sh"), "start-foreground"),
            is_ready=lambda: _answers(local.flink_url, slots=1),
            variables=variables,
        ),
    )


def distribution() -> Path:
    """The directory of the Flink distribution in the PyFlink wheel."""
    spec = find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise SluiceError("PyFlink is not installed", remedy="run make env")
    return Path(spec.origin).parent


def _answers(url: str, *, slots: int) -> bool:
    try:
        with FlinkClient(url) as client:
            return client.send(calls.overview()).slots_total >= slots
    except SluiceError:
        return False


def _write_configuration(local: Local, flink_home: Path, directory: Path) -> None:
    shipped: dict[str, Any] = yaml.safe_load((flink_home / "conf" / "config.yaml").read_text(encoding="utf-8"))
    configuration = {
        # The list of Java modules to open comes with the distribution.
        "env.java.opts.all": f"{shipped['env']['java']['opts']['all']} {local.java_options}".strip(),
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": local.flink_rpc_port,
        "jobmanager.bind-host": HOST,
        "jobmanager.memory.process.size": "1024m",
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": local.flink_port,
        "rest.bind-port": str(local.flink_port),
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.numberOfTaskSlots": local.slots,
        "taskmanager.memory.process.size": "2560m",
        "taskmanager.memory.network.min": "192m",
        "taskmanager.memory.network.max": "192m",
        "state.backend.type": "hashmap",
        "execution.checkpointing.dir": (directory / "checkpoints").as_uri(),
        "execution.checkpointing.savepoint-dir": (directory / "savepoints").as_uri(),
        "execution.checkpointing.num-retained": 3,
        "io.tmp.dirs": str(directory / "tmp"),
        "python.executable": sys.executable,
        # Any page in a browser can send requests to this machine. The default, `*`, lets it read the responses, too,
        # and /jars/upload would run its code. Sluice submits compiled graphs to /jobs.
        "web.access-control-allow-origin": local.flink_url,
        "web.submit.enable": False,
        # See sluice.rest.SameOriginFactory in include/java.
        "sluice.rest.hosts": f"{HOST};localhost",
        # Checks get fresh metrics within one second instead of ten.
        "web.refresh-interval": 1000,
        "metrics.fetcher.update-interval": 1000,
        # How long no metrics may be fetched after a TaskManager was killed: see sluice.flink.stale_metrics.
        "web.timeout": 60_000,
        **local.flink_options,
    }
    (directory / "conf" / "config.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    for name in ("log4j-console.properties", "logback-console.xml"):
        (directory / "conf" / name).write_bytes((flink_home / "conf" / name).read_bytes())


def gather_jars(local: Local) -> Path:
    """One directory with Flink's own jars, the connectors and the Python runtime, for the cluster and the client."""
    flink_home, lib = distribution(), local.home / "flink" / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    wanted = [
        *(flink_home / "lib").glob("*.jar"),
        *(flink_home / "opt").glob("flink-python-*.jar"),
        *(local.jars / "flink").glob("*.jar"),
    ]
    links = {jar.name: jar for jar in wanted}
    for link in lib.iterdir():
        # A running cluster reads these jars: correct links stay, and so do files that a user has added.
        if link.is_symlink() and links.get(link.name) != link.readlink():
            link.unlink()
    for name, jar in links.items():
        if not (lib / name).exists():
            (lib / name).symlink_to(jar)
    return lib
