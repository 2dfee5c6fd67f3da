"""Time and memory to parse dags/, for the project's jobs and for 1,000 generated ones, against import airflow.sdk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Measure, against, report

ROOT = Path(__file__).resolve().parents[1]
RUNS = 5
SCRIPT = """
import importlib, json, pathlib, resource, sys, time
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
begun = time.perf_counter()
from airflow.sdk import DAG, BaseOperator, Param
base, base_peak = time.perf_counter() - begun, peak()
if len(sys.argv) > 1:
    sys.path.insert(0, sys.argv[1])
    files, each = [], {}
    for file in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
        begun = time.perf_counter()
        # Airflow parses each file in a new process, which has imported no job.
        for name in [name for name in sys.modules if name.split(".")[0] == "flink_jobs"]:
            del sys.modules[name]
        files.append(importlib.import_module(file.stem))
        each[file.name] = time.perf_counter() - begun
    found = len({value.dag_id for file in files for value in vars(file).values() if isinstance(value, DAG)})
    heavy = {"pyflink", "py4j"} & set(sys.modules)
    assert not heavy, heavy
    print(json.dumps([base, each, base_peak, peak(), found]))
"""


def main() -> None:
    """Measure, print and write the results."""
    with tempfile.TemporaryDirectory() as directory:
        many = Path(directory) / "many"
        generate(many, 1_000)
        measures = [*measure("4 jobs and the dead letters", ROOT, directory), *measure("1,000 jobs", many, directory)]
    report("dag_parse", measures)


def measure(name: str, root: Path, home: str) -> list[Measure]:
    variables = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    runs = []
    for _ in range(RUNS + 1):
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(root / "dags")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    runs = runs[1:]  # the first fills the caches of the disk
    bases, each, base_peaks, peaks = ([run[index] for run in runs] for index in range(4))
    files = [
        against(f"parse dags/{file}, {name}", [times[file] for times in each], "s", "import airflow.sdk", bases)
        for file in each[0]
    ]
    whole = [sum(times.values()) for times in each]
    return [
        *files,
        against(f"parse dags/, {name}", whole, "s", "import airflow.sdk", bases),
        against(f"memory with dags/, {name}", peaks, "MiB", "import airflow.sdk", base_peaks),
    ]


def generate(root: Path, count: int) -> None:
    """Write a project of `count` jobs, each a copy of event_metrics under another name."""
    shutil.copytree(ROOT / "dags", root / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "flink_jobs" / "shared", root / "flink_jobs" / "shared")
    source = (ROOT / "flink_jobs" / "event_metrics.py").read_text(encoding="utf-8")
    for number in range(count):
        text = source.replace('"event_metrics"', f'"job_{number:04}"')
        (root / "flink_jobs" / f"job_{number:04}.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
