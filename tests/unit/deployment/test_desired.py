from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from sluice import Duration, Job, JobConfig, Kafka, Record
from sluice.deployment.desired import CHECKPOINTS, DesiredJob, desired_job
from sluice.deployment.file import read_deployment_file
from sluice.errors import ConfigError
from sluice.flink.access import Access
from sluice.job.limits import Health
from sluice.project import Project
from sluice.settings import Settings


class Row(Record):
    at: int


class Config(JobConfig):
    window: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = timedelta(seconds=60)


def make(**more) -> Job:
    given = {
        "reads": {"rows": Kafka("in", record=Row, event_time="at", partitions=3)},
        "writes": Kafka("out", record=Row),
    }
    job = Job(name="copy", config=Config, **{**given, **more})
    job.pipeline(lambda t_env: t_env)
    return job


def desire(tmp_path: Path, jobs: str = "", head: str = "", job: Job | None = None) -> DesiredJob:
    file = tmp_path / "local.yaml"
    file.write_text(f"flink: {{url: 'http://127.0.0.1:8081'}}\n{head}jobs:\n  copy:\n{jobs}")
    job = job or make()
    return desired_job(job, "local", *read_deployment_file(file, {"copy": job}))


def test_job_without_section_runs_with_its_defaults(tmp_path):
    desired = desire(tmp_path)
    assert (desired.enabled, desired.parallelism) == (True, 1)
    assert desired.config == Config()
    assert desired.values()["config"] == {"window": "PT1M"}
    assert list(desired.topics) == ["out", "in"]


def test_topic_is_untimed_if_no_read_of_it_has_a_watermark(tmp_path):
    timed, untimed = Kafka("timed", record=Row, event_time="at"), Kafka("untimed", record=Row)
    arrivals, both = Kafka("arrivals", record=Row).with_malformed(), {"a": Kafka("both", record=Row)}
    both["b"] = Kafka("both", record=Row, event_time="at")
    job = make(reads={"rows": untimed, "again": untimed, "timed": timed, "arrivals": arrivals, **both})
    assert desire(tmp_path, "    enabled: true\n", job=job).untimed == ("untimed",)


def test_default_health_limits_apply_if_job_and_section_set_none(tmp_path):
    head = "defaults: {health: {late: 0.05, malformed: 0.05, restarts: 9}}\n"
    job = make(health=Health(malformed=0.2, restarts=1))
    health = desire(tmp_path, "    health: {restarts: 7}\n", head, job).health
    assert (health.late, health.malformed, health.restarts) == (0.05, 0.2, 7)
    assert health.consumer_lag == Health().consumer_lag


def test_wrong_default_health_limit_is_named_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"local\.yaml:2: defaults\.health\.late"):
        desire(tmp_path, head="defaults: {health: {late: 2}}\n")


def test_section_values_replace_defaults(tmp_path):
    desired = desire(
        tmp_path,
        "    parallelism: 2\n    config: {window: 5 min}\n    reads: {rows: {watermark_delay: 2s}}\n"
        "    writes: {partitions: 4}\n    flink: {a: 3, b: true}\n",
        "defaults: {flink: {a: 1, c: x}, replication: 2}\n",
    )
    assert desired.parallelism == 2
    assert desired.config.window == timedelta(minutes=5)
    assert desired.reads["rows"].watermark_delay == timedelta(seconds=2)
    assert desired.writes["copy"].partitions == 4
    assert {topic.replication for topic in desired.topics.values()} == {2}
    assert desired.options == {**CHECKPOINTS, "a": "3", "b": "true", "c": "x"}


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        (
            "    config:\n      window: 2d\n",
            ["copy: config.window: ", "(allowed: >= 1s and <= 1d)", "local.yaml:5"],
        ),
        ("    config:\n      windw: 2s\n", ["copy: config.windw: no such field; did you mean window?", "local.yaml:5"]),
        ("    config:\n      window: 5\n", ["a duration needs a unit"]),
        ("    paralelism: 2\n", ["jobs.copy.paralelism: no such field; did you mean parallelism?", "local.yaml:4"]),
        ("    parallelism: 0\n", ["jobs.copy.parallelism", "got 0", "allowed: >= 1", "local.yaml:4"]),
        ("    reads:\n      row: {}\n", ["reads.row: the job has no such name", "name one of rows", "local.yaml:5"]),
        ("    reads:\n      rows: {record: x}\n", ["reads.rows.record: not a setting of a topic", "local.yaml:5"]),
        (
            "    reads:\n      rows: {watermark_delay: 2000d}\n",
            ["copy: reads.rows.watermark_delay", "(allowed: >= 0s and <= 999d)", "local.yaml:5"],
        ),
        ("    writes:\n      partitions: 0\n", ["copy: writes.partitions", "got 0", "local.yaml:5"]),
        ("    health:\n      consumer_lag: -1\n", ["copy: health.consumer_lag", "local.yaml:5"]),
        (
            "    parallelism: 4\n",
            ["parallelism 4 is more than the 3 partitions of reads.rows (in)", "set parallelism to 3", "local.yaml:4"],
        ),
    ],
)
def test_wrong_value_names_job_field_line_and_range(tmp_path, jobs, words):
    with pytest.raises(ConfigError) as caught:
        desire(tmp_path, jobs)
    for word in words:
        assert word in str(caught.value)


def test_section_of_an_unknown_job_names_the_known_jobs(tmp_path):
    file = tmp_path / "local.yaml"
    file.write_text("flink: {url: 'http://127.0.0.1:8081'}\njobs:\n  cpy: {}\n")
    with pytest.raises(ConfigError, match=r"local.yaml:3: there is no job 'cpy'; the project has copy"):
        read_deployment_file(file, {"copy": make()})


def test_deployment_file_without_a_cluster_is_refused(tmp_path):
    file = tmp_path / "local.yaml"
    file.write_text("jobs: {}\n")
    with pytest.raises(ConfigError, match="flink: field required"):
        read_deployment_file(file, {})


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://flink.example.org", True),
        ("https://flink.example.org/team", True),
        ("flink.example.org:8081", False),
        ("http://flink:8081/?x", False),
    ],
)
def test_cluster_address_may_omit_the_port_and_have_a_path(tmp_path, url, taken):
    file = tmp_path / "local.yaml"
    file.write_text(f"flink: {{url: '{url}'}}\n")
    if taken:
        assert read_deployment_file(file, {})[0].flink.url == url
    else:
        with pytest.raises(ConfigError, match=r"local.yaml:1: flink.url: string should match pattern"):
            read_deployment_file(file, {})


@pytest.mark.parametrize(
    ("section", "given"), [("{jars: []}", "jars"), ("{url: 'http://f', connection: c}", "url, connection")]
)
def test_cluster_is_given_by_address_or_connection(tmp_path, section, given):
    file = tmp_path / "local.yaml"
    file.write_text("flink: {connection: flink_default}\n")
    assert read_deployment_file(file, {})[0].flink.connection == "flink_default"
    file.write_text(f"jobs: {{}}\nflink: {section}\n")
    with pytest.raises(
        ConfigError, match=rf"local.yaml:2: flink: expected one of url and connection, got a mapping of {given}$"
    ):
        read_deployment_file(file, {})


def test_connections_cluster_is_used_unless_one_is_passed(tmp_path, monkeypatch):
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "local.yaml").write_text("flink: {connection: team}\n")
    (tmp_path / "flink_jobs").mkdir()
    settings = Settings(root=tmp_path, home=tmp_path, environment="local")
    monkeypatch.delenv("AIRFLOW_CONN_TEAM", raising=False)
    with pytest.raises(ConfigError, match="AIRFLOW_CONN_TEAM is not set"):
        Project(settings).flink  # noqa: B018
    monkeypatch.setenv("AIRFLOW_CONN_TEAM", "flink://me:planted@flink:8443/https")
    project = Project(settings)
    assert (project.flink.password, project.flink_url) == ("planted", "https://flink:8443")
    given = Access("http://other")
    assert Project(settings, flink=given).reread().flink is given


def test_login_in_a_cluster_address_is_shown_in_no_message(tmp_path):
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "local.yaml").write_text("flink: {url: 'http://me:planted@flink:8081'}\n")
    project = Project(Settings(root=tmp_path, home=tmp_path, environment="local"))
    assert (project.flink.user, project.flink.password, project.flink_url) == ("me", "planted", "http://flink:8081")


def test_read_limits_parallelism_unless_it_has_an_idle_timeout(tmp_path):
    wide = Kafka("in", record=Row, event_time="at", partitions=8)
    idle = make(reads={"rows": wide, "side": Kafka("side", record=Row, event_time="at")})
    assert desire(tmp_path, "    parallelism: 8\n", job=idle).parallelism == 8
    strict = make(reads={"rows": wide, "side": Kafka("side", record=Row, event_time="at", idle_timeout=None)})
    with pytest.raises(ConfigError, match="more than the 1 partitions"):
        desire(tmp_path, "    parallelism: 8\n", job=strict)
