"""What a trigger keeps over a restart of the triggerer; in a process of its own, as the DAGs."""

import os
import subprocess
import sys

SCRIPT = """
from types import SimpleNamespace
from sluice.airflow.gates import gate_trigger
from sluice.airflow.triggers import GateTrigger
from sluice.job.limits import Health
given = {"gate": "watermark", "flink_url": "http://flink", "flink_job_id": "a" * 32, "topics": ["t", "u"],
         "group": "g", "kafka_connection": "kafka", "health": Health().model_dump(mode="json"), "deadline": 1.0}
path, kept = GateTrigger(**given, untimed=["t"]).serialize()
assert path.endswith(GateTrigger.__name__)
assert GateTrigger(**kept).order({}).untimed == ("t",), kept
# What the operator hands over.
job = SimpleNamespace(reads={"lines": SimpleNamespace(has_watermark=False)}, health=Health())
release = SimpleNamespace(job="copy", resolved={"reads": {"lines": {"topic": "t"}}})
project = SimpleNamespace(
    desired=lambda _: job, flink_url="http://flink", content=SimpleNamespace(kafka=SimpleNamespace(connection="kafka")),
    catalog=SimpleNamespace(jobs={"copy": job}), ledger=SimpleNamespace(release=lambda *_: release), group=str,
)
started = {"flink_job_id": "a", "deadline": 1.0, "restored_from": None, "positions": None, "release": 1}
assert gate_trigger(project, "copy", "watermark", started, print).untimed == ["t"]
# One that an earlier version has kept.
assert GateTrigger(**given).order({}).untimed == ()
"""


def test_a_trigger_keeps_which_topics_have_no_event_time(tmp_path):
    variables = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
