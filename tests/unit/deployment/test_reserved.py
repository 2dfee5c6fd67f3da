"""Flink options that Sluice sets itself are refused, with their place in the file."""

import re

import pytest

from sluice.deployment.file import read_deployment_file
from sluice.errors import ConfigError

HEAD = "flink: {url: 'http://127.0.0.1:8081'}\n"


def read(tmp_path, text):
    file = tmp_path / "local.yaml"
    file.write_text(HEAD + text)
    return read_deployment_file(file, {"copy"})


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("parallelism.default", "use `parallelism:`"),
        ("execution.runtime-mode", "STREAMING"),
        ("table.local-time-zone", "UTC"),
        ("pipeline.name", "its file's job"),
        ("execution.target", "flink.url"),
        ("execution.state-recovery.path", "a deploy chooses the state"),
        ("execution.savepoint.path", "a deploy chooses the state"),
        ("execution.savepoint-restore-mode", "a deploy chooses the state"),
        ("pipeline.jars", "`jars:`"),
        ("pipeline.fixed-job-id", "id of its own"),
        ("$internal.pipeline.job-id", "internal"),
        ("rest.address", "flink.url"),
        ("jobmanager.rpc.address", "flink.url"),
    ],
)
def test_flink_option_that_sluice_sets_is_refused_with_its_line(tmp_path, option, instead):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, f"defaults:\n  flink:\n    a: 1\n    {option}: 4\n")
    assert re.fullmatch(
        rf".*/local\.yaml:5: {re.escape(option)}: Sluice sets this Flink option itself, so that a value here would "
        "have no effect",
        refused.value.message,
    )
    assert instead in refused.value.remedy


def test_reserved_flink_option_of_one_job_is_refused_at_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"local\.yaml:5: pipeline\.name"):
        read(tmp_path, "jobs:\n  copy:\n    flink:\n      pipeline.name: x\n")


def test_other_flink_options_are_accepted(tmp_path):
    content, _ = read(tmp_path, "defaults: {flink: {execution.checkpointing.interval: 10 s, python.files: a.py}}\n")
    assert content.defaults.flink == {"execution.checkpointing.interval": "10 s", "python.files": "a.py"}
