"""The steps of docs/adding-a-job.md work as documented."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

from sluice.kafka.brokers import connect
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from tests.support.stacks import ROOT
from tests.support.waiting import wait_for

PAGE = (ROOT / "docs" / "adding-a-job.md").read_text()
BIN = Path(sys.executable).parent
FIVE_MINUTES = 300_000
TOPIC = "event_progress_events"


def files():
    """What the page has to be written, by path."""
    blocks = re.findall(r"^\*\*`(.+)`\*\*\n\n((?:(?: {4}.*)?\n)+)", PAGE, re.MULTILINE)
    return {path: dedent(text).strip() + "\n" for path, text in blocks}


def commands():
    """What it has to be typed after that."""
    return [line.split() for line in re.findall(r"^ {4}\.venv/bin/(.+)$", PAGE, re.MULTILINE)]


def event(kind, at_ms, partition=0):
    body = {
        "event": {"id": "e", "type": kind},
        "device": {},
        "user": {"id": "u"},
        "context": {"url": "/", "session_id": "s"},
        "properties": {},
        "metrics": {},
        "timestamp": at_ms,
    }
    return Message(b"u", json.dumps(body).encode(), at_ms, partition)


def test_job_of_the_adding_a_job_page_works_as_documented(lab):
    shutil.copytree(ROOT / "flink_jobs" / "shared", lab.root / "flink_jobs" / "shared")
    shutil.copy(ROOT / "pyproject.toml", lab.root)
    assert list(files()) == ["flink_jobs/event_progress.py", "tests/jobs/test_event_progress.py"]
    for path, text in files().items():
        (lab.root / path).parent.mkdir(parents=True, exist_ok=True)
        (lab.root / path).write_text(text)
    # A topic of its own: other tests count the events of the usual one.
    lab.deployment(f"jobs:\n  event_progress:\n    reads: {{events: {{topic: {TOPIC}}}}}\n")
    said = {}
    assert [command[0] for command in commands()] == ["pytest", "sluice", "sluice"]
    for program, *arguments in commands():
        done = subprocess.run(
            [BIN / program, *arguments], cwd=lab.root, env=lab.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said[program, arguments[0]] = done.stdout + done.stderr
    assert "1 passed" in said["pytest", "tests/jobs/test_event_progress.py"]
    assert "event_progress" in said["sluice", "plan"]
    assert "healthy" in said["sluice", "deploy"]
    assert len(connect(lab.project.kafka).list_topics(timeout=10).topics["event_progress"].partitions) == 3

    # A window of the past; what comes after it, in every partition, closes it.
    begins = (int(time.time() * 1000) - 6 * FIVE_MINUTES) // FIVE_MINUTES * FIVE_MINUTES
    partitions = connect(lab.project.kafka).list_topics(timeout=10).topics[TOPIC].partitions
    events = [event("click", begins + 20_000), event("click", begins + 40_000), event("page_view", begins + 30_000)]
    events += [event("click", begins + 2 * FIVE_MINUTES, partition) for partition in partitions]
    wire.produce(lab.local.kafka_servers, TOPIC, events)
    wait_for(lambda: len(_rows(lab, begins)) == 2, "the window's rows do not come")
    assert _rows(lab, begins) == {"click": 2, "page_view": 1}


def _rows(lab, begins):
    rows = wire.rows(lab.local.kafka_servers, "event_progress")
    return {row["event_type"]: row["event_count"] for row in rows if row["window_start"].timestamp() * 1000 == begins}
