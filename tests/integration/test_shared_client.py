"""A graph that a shared JVM compiles equals, byte for byte, that of a client with a JVM of its own.

The other tests deploy by a shared client (tests/support/shared_client.py) because a build then costs a second.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluice.plan.target import desired_target
from sluice.release.compiler import Compiler
from tests.integration import sources

JOBS = ("dead_letters", "event_metrics", "performance_metrics", "processing_metrics", "session_metrics")
EVERY_JOB = "SLUICE_AUDIT_CLIENTS" in os.environ
"""Compile all of them with separate clients, too; otherwise one of each kind: SQL, Python functions, a stream."""
FEW = ("performance_metrics", "python_udf", "data_stream")
SMALL = {
    "table_api": (sources.TABLE_API, "id: str"),
    "python_udf": (sources.UDF, "id: str | None"),
    "pandas_udf": (sources.PANDAS, "id: str | None"),
    "data_stream": (sources.DATA_STREAM, "id: str | None"),
}


@pytest.fixture
def compiled(lab):
    """Compiles a job, and gives the graph with the digest of all that the cluster would run."""
    lab.product_jobs()
    for name, (body, fields) in SMALL.items():
        lab.job(name, sources.source(name, body, fields))

    def compile_job(job):
        project = lab.project
        with Compiler(project, job, print) as compiler:
            graph = compiler.prepare(desired_target(project, job, {})).graph
        # Flink writes the moment into the graph of a table that comes from a stream.
        return graph.model_copy(update={"digest": ""}) if job == "data_stream" else graph

    return compile_job


def test_shared_client_compiles_the_same_graph_as_a_separate_client(lab, compiled):
    jobs = [*JOBS, *SMALL]
    with ThreadPoolExecutor(2) as pool:
        # In either order, some after others and two at a time.
        shared = dict(zip(jobs, pool.map(compiled, jobs), strict=True))
        again = dict(zip(jobs[::-1], pool.map(compiled, jobs[::-1]), strict=True))
        assert lab.client_python != Path(sys.executable)
        lab.use_own_clients()
        few = jobs if EVERY_JOB else FEW
        own = dict(zip(few, pool.map(compiled, few), strict=True))
    assert shared == again == {**shared, **own}
