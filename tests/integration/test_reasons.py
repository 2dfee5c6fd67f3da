"""A job of which a figure can't be read has a verdict with the reason, and is never taken for a lost one."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice.errors import SluiceError, UnreachableError
from sluice.fleet.status import fleet_status, sweep_and_record
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import read_held
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.project import Project
from tests.integration import sources
from tests.support.guarded import PASSWORD, guarded_broker, login
from tests.support.running import deploy
from tests.support.waiting import wait_for

GENERATED = '''
from sluice import Job, Kafka, Record

class Out(Record):
    id: str

job = Job(name="{name}", reads={{}}, writes=Kafka("{name}_out", record=Out))

@job.pipeline
def build(t_env):
    t_env.execute_sql("""
        CREATE TEMPORARY TABLE made (n BIGINT NOT NULL) WITH ('connector' = 'datagen', 'rows-per-second' = '5')
    """)
    return t_env.sql_query("SELECT CAST(n AS STRING) AS id FROM made")
'''
TIMELESS = sources.HEAD.replace(', event_time="at"', "") + sources.SQL


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with guarded_broker(tmp_path_factory.mktemp("guarded")) as addresses:
        yield addresses


def refusal(config):
    with pytest.raises(UnreachableError) as refused:
        read_held(connect(config), ["any"], config["bootstrap.servers"])
    return str(refused.value)


def test_error_contains_the_brokers_reason_for_refusing(guarded):
    secured, tls, authority = guarded
    trusted = {"bootstrap.servers": tls, "security.protocol": "SSL", "ssl.ca.location": str(authority)}
    assert read_held(connect(login(secured, PASSWORD)), ["any"], secured).missing
    assert read_held(connect(trusted), ["any"], tls).missing
    # Not ours to trust; TLS to where there is none. None to where there is, the broker answers with silence.
    wrong_login, no_trust = login(secured, "wrong"), {"bootstrap.servers": tls, "security.protocol": "SSL"}
    tls_to_none, none_to_tls = {**trusted, "bootstrap.servers": secured}, {"bootstrap.servers": tls}
    # Those of different addresses side by side: each waits for its time-out.
    with ThreadPoolExecutor(2) as pool:
        login_refused, untrusted = pool.map(refusal, (wrong_login, no_trust))
        no_tls, no_plain = pool.map(refusal, (tls_to_none, none_to_tls))
    assert "Authentication failed" in login_refused
    assert "wrong" not in login_refused.replace("wrong version", "")
    assert "certificate verify failed" in untrusted
    assert "SSL handshake failed" in no_tls
    assert "correct bootstrap.servers and the credentials" in no_plain


def test_job_whose_brokers_refuse_access_is_unknown_with_the_reason(lab, guarded):
    lab.job("locked", sources.source("locked", sources.SQL))
    deploy(lab.project, "locked")
    settings = lab.project.settings
    (row,) = fleet_status(Project(settings, kafka=login(guarded[0], "wrong")), ["locked"])
    assert (row.state, row.verdict) == ("RUNNING", "unknown")
    assert "Authentication failed" in " ".join(row.reasons)


def test_job_without_topics_is_judged_by_its_other_figures(lab):
    lab.job("made", GENERATED.format(name="made"))
    deploy(lab.project, "made")
    row = wait_for(lambda: next((r for r in fleet_status(lab.project, ["made"]) if r.verdict == "healthy"), None))
    assert (row.consumer_lag, row.watermark_lag_ms) == (0, None)


def test_job_without_event_time_is_not_judged_by_its_watermark(lab):
    lab.job("timeless", TIMELESS.format(name="timeless", fields="id: str"))
    deploy(lab.project, "timeless")
    wire.produce(lab.local.kafka_servers, "timeless_lines", [Message(b"", b'{"id": "x", "at": 1}', 1, 0)])
    row = wait_for(lambda: next((r for r in fleet_status(lab.project, ["timeless"]) if r.consumer_lag == 0), None))
    assert row.verdict in ("healthy", "idle")
    assert row.watermark_lag_ms is None


def test_deleted_topic_of_a_running_job_is_named(lab):
    lab.job("bereft", sources.source("bereft", sources.SQL))
    deploy(lab.project, "bereft")
    assert fleet_status(lab.project, ["bereft"])[0].state == "RUNNING"
    connect(lab.project.kafka).delete_topics(["bereft_lines"])["bereft_lines"].result()

    def named():
        (row,) = fleet_status(lab.project, ["bereft"])
        return row if "bereft_lines" in " ".join(row.reasons) else None

    row = wait_for(named)
    assert row.verdict in ("unknown", "failed", "degraded")
    assert "nknown topic" in " ".join(row.reasons) or "the broker does not know this topic" in " ".join(row.reasons)
    try:
        found = {each.status.job: each.status for each in sweep_and_record(lab.project)}
    except SluiceError as error:
        pytest.fail(f"a sweep must not end for it: {error}")
    assert found["bereft"].reasons
