"""A replay writes the right rows after any process of it was killed, and leaves no Flink job if it is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.traffic import oracle, wire
from sluice.local.traffic.generator import Traffic
from sluice.operation.topics import create_topics
from tests.support import counted
from tests.support.running import deploy, slots
from tests.support.waiting import wait_for

JOB, TOPIC = "counted", "mortal_events"
START = datetime.fromtimestamp(int(time.time() - 86_400) // 3600 * 3600, UTC)
END = START + timedelta(minutes=30)
WINDOW = timedelta(seconds=5)
WHOLE = os.environ.get("SLUICE_AUDIT_REPLAYS") == "all"


@pytest.fixture
def lab(lab):
    lab.product_jobs()
    lab.job(JOB, counted.SOURCE)
    lab.deployment(f"jobs:\n  {JOB}:\n    reads: {{events: {{topic: {TOPIC}, idle_timeout: null}}}}\n")
    return lab


@pytest.fixture(scope="module")
def messages():
    return Traffic(seed=3, rate=1, start_ms=int(START.timestamp() * 1000), partitions=3).bounded(2_400)


@pytest.fixture
def deployed(lab, messages, written):
    create_topics(lab.project, JOB)
    if TOPIC not in written:
        wire.produce(lab.local.kafka_servers, TOPIC, messages)
        written.add(TOPIC)
    deploy(lab.project, JOB)
    if WHOLE:
        lab.use_own_clients()
    return lab


def backfill(lab, *more):
    """A replay of two chunks side by side that take some ten seconds each, as the shell does it."""
    words = [str(Path(sys.executable).parent / "sluice"), "backfill", JOB, "--json", *more]
    # Where the tests run in the background of a shell they ignore Ctrl-C, and what they start inherits that.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(words, env=lab.variables, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def ordered(lab):
    asked = ["--start", START.isoformat(), "--end", END.isoformat(), "--chunk", "15min", "--parallel", "2"]
    return backfill(lab, *asked, "--set", "pause_ms=10")


def in_the_middle(lab):
    """Wait until both chunks read; the replay."""

    def found():
        replays = lab.project.ledger.replays
        newest = next(iter(replays.of(JOB)), None)
        return newest if newest and [row for row in replays.chunks(newest.id) if row.records] else None

    return wait_for(found)


def alive(lab):
    with FlinkClient(lab.local.flink_url) as flink:
        found = flink.send(calls.jobs()).jobs
    return [job.name for job in found if not job.state.is_terminal and ".replay." in job.name]


def assert_right(lab, report, messages):
    want = {
        key: count
        for key, count in oracle.counts(messages, 5_000).items()
        if key[0] >= START and key[0] + WINDOW <= END
    }
    rows = wire.rows(lab.local.kafka_servers, report["output_topic"])
    found = {(row["window_start"], row["event_type"]): row["event_count"] for row in rows}
    assert found == want
    assert report["rows"] == len(want)


@pytest.mark.parametrize("victim", ["flink-taskmanager", *(["flink-jobmanager"] if WHOLE else [])])
def test_replay_writes_the_right_rows_after_a_cluster_process_was_killed(deployed, messages, victim):
    process = ordered(deployed)
    in_the_middle(deployed)
    deployed.kill_service(victim)
    wait_for(lambda: slots(deployed.local.flink_url))
    output, _ = process.communicate()
    assert process.returncode == 0
    assert_right(deployed, json.loads(output), messages)


def test_replay_of_a_killed_shell_can_be_resumed(deployed, messages):
    deployed.use_own_clients()
    process = ordered(deployed)
    replay = in_the_middle(deployed)
    process.kill()
    process.wait()
    attempts = [row.attempt for row in deployed.project.ledger.replays.chunks(replay.id)]
    again = backfill(deployed, "--resume", replay.id[:8])
    output, _ = again.communicate()
    assert again.returncode == 0
    report = json.loads(output)
    # Those that were running were found, and not submitted once more.
    assert [chunk["attempts"] for chunk in report["chunks"]] == attempts
    assert_right(deployed, report, messages)


@pytest.mark.parametrize("word", [signal.SIGTERM, *([signal.SIGINT] if WHOLE else [])])
def test_interrupted_shell_cancels_its_replay_and_leaves_no_flink_job(deployed, word):
    process = ordered(deployed)
    replay = in_the_middle(deployed)
    begun = time.monotonic()
    process.send_signal(word)
    process.communicate()
    assert process.returncode != 0
    assert alive(deployed) == []
    assert time.monotonic() - begun < 30
    assert deployed.project.ledger.replays.find(replay.id).outcome == "cancelled"
