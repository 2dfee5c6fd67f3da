"""The client that submits without Python: what is compiled already starts from its stored graph, as it was compiled."""

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from sluice.client import submitter
from sluice.client.address import rest_options
from sluice.client.archive import NoJobs, cluster, make_for_submitter
from sluice.client.process import JVM_ARGS, TEMPORARY, ClientProcess
from sluice.client.protocol import RELEASE, Load, Submit
from sluice.errors import FlinkError, OperationError, StateError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import cancel
from sluice.local.flink import gather_jars
from sluice.operation.topics import create_topics
from sluice.plan.target import desired_target
from tests.integration import sources
from tests.support.running import deploy, operate
from tests.support.shared_client import write_environment
from tests.support.stacks import local_stack
from tests.support.waiting import wait_for
from tests.support.windowed import start_with_state

PYTHON = Path(sys.executable)


def find(lab):
    return submitter.find(PYTHON, lab.project.flink_lib, {})


@pytest.fixture
def submits(lab, tmp_path):
    """A client that submits."""
    found, log = find(lab), tmp_path / "client.log"
    with ClientProcess(PYTHON, log, command=found.command(JVM_ARGS), variables=found.variables) as process:
        yield process


@pytest.fixture
def compiles(lab, tmp_path):
    """A client that compiles."""
    variables = {"FLINK_LIB_DIR": str(lab.project.flink_lib)}
    with ClientProcess(PYTHON, tmp_path / "python.log", variables=variables) as process:
        yield process


@pytest.fixture
def new_id():
    """A Flink job id."""
    return uuid4().hex


def graph(lab, job):
    """The graph of a job."""
    with lab.project.compiler(job, print) as compiler:
        return compiler.prepare(desired_target(lab.project, job, {})).content


def load(lab, content, job="any", url=None):
    return Load(job=job, content=content, options=rest_options(url or lab.local.flink_url))


def test_rollback_resume_and_recovery_start_no_python(lab, tmp_path):
    noted = tmp_path / "calls"
    # It notes its arguments.
    command = f'echo "$@" >> "{noted}"; exec "{PYTHON}" "$@"'
    lab.client_python = write_environment(tmp_path / "environment", command)
    lab.job("plain", sources.source("plain", sources.SQL))
    deploy(lab.project, "plain")
    lab.job("plain", sources.source("plain", sources.SQL.replace("'!'", "'?'")))
    deploy(lab.project, "plain")
    assert "sluice.client" in noted.read_text()
    noted.unlink()
    for kind in ("rollback", "suspend", "resume"):
        result = operate(lab.project, "plain", kind=kind)
        assert result.error is None
    with FlinkClient(lab.local.flink_url) as flink:
        cancel(flink, result.flink_job_id, within=60)
    recovered = deploy(lab.project, "plain")
    assert f"/{result.flink_job_id}/chk-" in recovered.restored_from
    assert not noted.exists()


SERIALIZED = "    pipeline.serialization-config: '[{name}: {{type: kryo}}]'\n"


def test_release_that_names_a_class_of_the_connector_starts_again(lab):
    name = "org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit"
    lab.deployment(SERIALIZED.format(name=name))
    lab.job("plain", sources.source("plain", sources.SQL))
    deploy(lab.project, "plain")
    for kind in ("suspend", "resume"):
        assert operate(lab.project, "plain", kind=kind).error is None


def test_graph_whose_classes_are_missing_is_compiled_again_before_the_stop(lab, tmp_path):
    """The submitter's jars lack the connector here, as they may lack a job's own jar."""
    name = "org.apache.flink.connector.kafka.source.split.KafkaPartitionSplit"
    lab.deployment(SERIALIZED.format(name=name))
    content = sample(lab)
    found = find(lab)
    fewer = replace(found, jars=tuple(jar for jar in found.jars if "connector" not in jar.name))
    with ClientProcess(PYTHON, tmp_path / "log", command=fewer.command(JVM_ARGS), variables=found.variables) as process:
        with pytest.raises(OperationError, match="any: the graph can't be read: .*KafkaPartitionSplit"):
            process.load(load(lab, content), timeout=60)


def test_client_started_to_compile_gives_way_if_the_graph_is_stored(lab):
    lab.job("any", sources.source("any", sources.SQL))
    graph(lab, "any")
    with lab.project.compiler("any", print, ahead="compile") as compiler:
        compiler.prepare(desired_target(lab.project, "any", {}))
        compiler.load()
        commands = [" ".join(child.cmdline()) for child in psutil.Process().children()]
    assert [command for command in commands if command.endswith("sluice.client.Submitter")]
    assert not [command for command in commands if command.endswith("-m sluice.client")]


def test_checkpoint_is_read_alike_with_and_without_python(lab, submits, compiles):
    start_with_state(lab, "read")
    suspended = operate(lab.project, "read", kind="suspend")
    path = suspended.savepoint
    found = submits.inspect(path)
    assert found == compiles.inspect(path)
    assert found.positions
    assert found.operators
    directory = path.rpartition("/")[0]
    assert submits.find(directory) == compiles.find(directory)
    assert submits.find(directory).path == path
    assert submits.find(f"{directory}/none").path is None


def test_checkpoint_that_is_missing_has_the_same_message_with_and_without_python(submits, compiles, tmp_path):
    messages = []
    for process in (submits, compiles):
        with pytest.raises(StateError) as caught:
            process.inspect(str(tmp_path / "none"))
        messages.append(caught.value.message)
        # It takes further orders.
        assert process.find(str(tmp_path)).path is None
    assert messages[0] == messages[1]
    assert "the checkpoint can't be read: " in messages[0]


def test_several_graphs_are_submitted_by_one_process(lab, submits):
    for name in ("one", "two"):
        lab.job(name, sources.source(name, sources.SQL))
        create_topics(lab.project, name)
    with FlinkClient(lab.local.flink_url) as flink:
        for name in ("one", "two"):
            submits.load(load(lab, graph(lab, name), name), timeout=60)
            job = uuid4().hex
            assert submits.submit(Submit(flink_job_id=job, release=7), timeout=60).flink_job_id == job
            wait_for(lambda job=job: flink.send(calls.job_config(job)).parameters)
            assert flink.send(calls.job_config(job)).parameters[RELEASE] == "7"
            flink.send(calls.cancel(job))


def test_graph_is_submitted_once(lab, submits, new_id):
    with cluster() as url:
        submits.load(load(lab, sample(lab), url=url), timeout=60)
        submits.submit(Submit(flink_job_id=new_id), timeout=60)
        with pytest.raises(OperationError, match="expected load, got submit"):
            submits.submit(Submit(flink_job_id=new_id), timeout=60)


def sample(lab):
    """The graph of any job."""
    lab.job("any", sources.source("any", sources.SQL))
    return graph(lab, "any")


@pytest.mark.parametrize("compiling", [False, True], ids=["submitter", "compiling client"])
def test_files_of_a_submission_are_private_and_end_with_the_client(lab, tmp_path, new_id, compiling):
    content = sample(lab)
    seen = []

    class Killing(NoJobs):
        """A cluster that kills the client while it submits."""

        def do_POST(self):  # noqa: N802 - its name
            java = next(each for each in (process, *process.children(recursive=True)) if each.name() == "java")
            option = next(word for word in java.cmdline() if word.startswith(TEMPORARY))
            directory = Path(option.removeprefix(TEMPORARY))
            mode, files = stat.S_IMODE(directory.stat().st_mode), list(directory.glob("flink-*"))
            seen.append((directory, mode, files))
            process.kill()

    found = find(lab)
    command = None if compiling else found.command(JVM_ARGS)
    variables = {"FLINK_LIB_DIR": str(lab.project.flink_lib)} if compiling else found.variables
    with (
        cluster(Killing) as url,
        ClientProcess(PYTHON, tmp_path / "log", command=command, variables=variables) as client,
    ):
        process = psutil.Process(client.pid)
        client.load(load(lab, content, url=url), timeout=60)
        with pytest.raises(OperationError, match="client process ended with status -9"):
            client.submit(Submit(flink_job_id=new_id), timeout=60)
    ((directory, mode, files),) = seen
    assert mode == 0o700
    assert files
    assert not directory.exists()


def test_graph_of_many_megabytes_is_read(lab, submits):
    # It is no graph, and is read as a whole to find that.
    with pytest.raises(OperationError, match="any: the graph can't be read: "):
        submits.load(load(lab, "AAAA" * 6_000_000), timeout=60)
    assert not submits.has_ended


@pytest.mark.parametrize("content", ["", "AAAA", "no base64!"])
def test_damaged_graph_is_refused_with_its_job(lab, submits, content):
    with pytest.raises(OperationError, match="any: the graph can't be read: "):
        submits.load(load(lab, content), timeout=60)


def test_missing_file_of_a_graph_is_named_at_once(lab, submits, new_id):
    lab.job("python", sources.source("python", sources.UDF, "id: str | None"))
    with lab.project.compiler("python", print) as compiler:
        ready = compiler.prepare(desired_target(lab.project, "python", {}))
    file = Path(ready.files[0])
    submits.load(load(lab, ready.content, "python"), timeout=60)
    file.rename(file.with_suffix(".away"))
    with pytest.raises(FlinkError, match=f"{file.name} can't be read, which the job needs"):
        submits.submit(Submit(flink_job_id=new_id), timeout=60)
    with pytest.raises(OperationError, match=f"python: the graph can't be read: .*{file.name} can't be read"):
        submits.load(load(lab, ready.content, "python"), timeout=60)


def test_cluster_that_does_not_answer_is_named(lab, submits, tmp_path):
    content = sample(lab)
    with pytest.raises(UnreachableError, match=r"^any: .*Connection refused: .*127\.0\.0\.1:1") as caught:
        submits.load(load(lab, content, url="http://127.0.0.1:1"), timeout=60)
    assert "\tat " not in caught.value.message
    assert "\tat " in (tmp_path / "client.log").read_text()


def test_reason_of_the_cluster_for_a_refusal_is_in_the_message(lab, submits, new_id):
    submits.load(load(lab, sample(lab)), timeout=60)
    submits.submit(Submit(flink_job_id=new_id), timeout=60)
    submits.load(load(lab, sample(lab)), timeout=60)
    with pytest.raises(FlinkError, match=r"any: (.|\n)*already been submitted") as caught:
        submits.submit(Submit(flink_job_id=new_id), timeout=60)
    assert "\tat " not in caught.value.message
    with FlinkClient(lab.local.flink_url) as flink:
        flink.send(calls.cancel(new_id))


def test_archive_of_its_classes_shortens_the_start(lab, tmp_path, monkeypatch):
    cache, lib = tmp_path / "cache", gather_jars(local_stack(tmp_path / "home"))
    cache.mkdir()
    monkeypatch.setenv("FLINK_LIB_DIR", str(lib))
    archive = make_for_submitter(cache, os.environ)
    assert make_for_submitter(cache, os.environ) == archive
    found = submitter.find(PYTHON, lib, {})
    classes = tmp_path / "classes"
    content = sample(lab)

    def loaded():
        command = found.command(f"{JVM_ARGS} -Xlog:class+load:file={classes}", cache)
        with ClientProcess(PYTHON, tmp_path / "log", command=command, variables=found.variables) as process:
            process.load(load(lab, content), timeout=60)
        lines = [line for line in classes.read_text().splitlines() if " org.apache.flink." in line]
        assert len(lines) > 200
        return sum("shared objects file (top)" in line for line in lines) / len(lines)

    assert loaded() > 0.9
    # A damaged archive is left out.
    with archive.open("r+b") as file:
        file.seek(archive.stat().st_size // 2)
        file.write(bytes(4096))
    assert loaded() == 0
