"""What a trigger keeps over a restart of the triggerer; in a process of its own, as the DAGs."""

import os
import subprocess
import sys

SCRIPT = """
from types import SimpleNamespace
from sluice.airflow.gates import gate_trigger
from sluice.airflow.triggers import GateTrigger
from sluice.flink.access import Access
from sluice.job.limits import Health
given = {"gate": "watermark", "flink_job_id": "a" * 32, "topics": ["t", "u"],
         "group": "g", "health": Health().model_dump(mode="json"), "deadline": 1.0}
path, kept = GateTrigger(**given, untimed=["t"]).serialize()
assert path.endswith(GateTrigger.__name__)
cluster = SimpleNamespace(flink=Access.of("http://me:planted@flink"), kafka={"sasl.password": "planted"})
assert GateTrigger(**kept).order(cluster).untimed == ("t",), kept
# What the operator hands over.
job = SimpleNamespace(reads={"lines": SimpleNamespace(has_watermark=False)}, health=Health())
release = SimpleNamespace(job="copy", resolved={"reads": {"lines": {"topic": "t"}}})
project = SimpleNamespace(
    desired=lambda _: job, flink=cluster.flink, kafka=cluster.kafka,
    catalog=SimpleNamespace(jobs={"copy": job}), ledger=SimpleNamespace(release=lambda *_: release), group=str,
)
started = {"flink_job_id": "a", "deadline": 1.0, "restored_from": None, "positions": None, "release": 1}
where = {"root": "/here", "environment": "there"}
trigger = gate_trigger(project, "copy", "watermark", started, print, where=where)
assert trigger.untimed == ["t"]
# The triggerer finds brokers and cluster by itself: what it keeps is in Airflow's database for all to read.
_, kept = trigger.serialize()
assert (kept["root"], kept["environment"]) == ("/here", "there")
assert "planted" not in str(kept)
# One that an earlier version has kept.
assert GateTrigger(**given).order(cluster).untimed == ()
"""


def test_a_trigger_keeps_which_topics_have_no_event_time(tmp_path):
    variables = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
