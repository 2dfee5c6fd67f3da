"""The DAGs of DAG files, serialized as Airflow's database has them.

As a program it prints them, and which modules that tasks alone need were imported while the files were parsed.
"""

import json
import runpy
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

HEAVY = {"pyflink", "py4j", "confluent_kafka"}


def dags_of_project(root):
    """The DAGs of the three files in a project's `dags/`, by their ids."""
    found = {}
    for file in ("backfill", "deploy", "redeploy_and_verify"):
        values = runpy.run_path(str(Path(root) / "dags" / f"{file}.py"), run_name=file).values()
        found |= {dag.dag_id: dag for dag in values if isinstance(dag, DAG)}
    return _serialized(found)


def dags_of_folder(folder):
    """The DAGs of a folder, as Airflow finds them there."""
    bag = DagBag(str(folder))
    assert not bag.import_errors, bag.import_errors
    return _serialized(bag.dags)


def _serialized(dags):
    # By JSON, as a program prints them.
    written = {name: DagSerialization.to_dict(dag) for name, dag in dags.items()}
    return json.loads(json.dumps(written, default=str))


if __name__ == "__main__":
    kind, directory = sys.argv[1:]
    dags = dags_of_project(directory) if kind == "project" else dags_of_folder(directory)
    print(json.dumps({"dags": dags, "heavy": sorted(HEAVY & set(sys.modules))}))
