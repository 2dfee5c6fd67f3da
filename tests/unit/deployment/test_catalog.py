import sys
import textwrap
from pathlib import Path

import pytest

from sluice.deployment.catalog import Catalog, read_catalog
from sluice.errors import ConfigError

GOOD = """
    '''Copies.'''
    from sluice import Job, Kafka, Record
    class Row(Record):
        a: int
    job = Job(name="{name}", reads={{"rows": Kafka("in", record=Row)}}, writes=Kafka("out", record=Row))
    @job.pipeline
    def build(rows):
        return rows
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(**files: str) -> Catalog:
        jobs = tmp_path / "flink_jobs"
        jobs.mkdir(exist_ok=True)
        (jobs / "__init__.py").touch()
        for stem, text in files.items():
            (jobs / f"{stem}.py").write_text(textwrap.dedent(text))
        return read_catalog(tmp_path)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_each_file_is_a_job(project):
    catalog = project(one=GOOD.format(name="one"), two=GOOD.format(name="two"))
    assert sorted(catalog.jobs) == ["one", "two"]
    assert catalog.broken == ()
    assert catalog.job("one").description == "Copies."


def test_a_broken_file_hides_none_of_the_others(project):
    catalog = project(good=GOOD.format(name="good"), bad="x = 1\nraise RuntimeError('no')\n", worse="def (:\n")
    assert list(catalog.jobs) == ["good"]
    errors = {file.name: file.error for file in catalog.broken}
    assert errors["bad"].endswith("bad.py:2: RuntimeError: no")
    assert "worse.py:1: SyntaxError" in errors["worse"]
    with pytest.raises(ConfigError, match="RuntimeError: no"):
        catalog.job("bad")


def test_two_jobs_of_one_name_are_both_refused(project):
    catalog = project(one=GOOD.format(name="same"), two=GOOD.format(name="same"))
    assert catalog.jobs == {}
    assert len(catalog.broken) == 2
    assert "2 jobs are named same" in catalog.broken[0].error
    assert "one.py:6" in catalog.broken[0].error
    assert "two.py:6" in catalog.broken[0].error


def test_a_file_without_a_job_says_where_shared_code_lies(project):
    (file,) = project(helper="x = 1\n").broken
    assert "expected one job, found none" in file.error
    assert "flink_jobs/shared/" in file.error


def test_pyflink_at_module_level_is_refused(project):
    (file,) = project(eager="import pyflink\n" + textwrap.dedent(GOOD.format(name="eager"))).broken
    assert "import pyflink inside the pipeline function" in file.error
    assert "pyflink" not in sys.modules


def test_a_job_without_a_pipeline_is_refused(project):
    text = textwrap.dedent(GOOD.format(name="bare")).split("@job")[0]
    (file,) = project(bare=text).broken
    assert "has no pipeline" in file.error


def test_an_unknown_job_names_the_known_ones(project):
    catalog = project(one=GOOD.format(name="one"))
    with pytest.raises(ConfigError, match="there is no job 'two'; the project has: one"):
        catalog.job("two")


def test_another_project_is_loaded_afresh(project, tmp_path):
    project(one=GOOD.format(name="one"))
    other: Path = tmp_path / "other"
    (other / "flink_jobs").mkdir(parents=True)
    (other / "flink_jobs" / "__init__.py").touch()
    (other / "flink_jobs" / "one.py").write_text(textwrap.dedent(GOOD.format(name="else")))
    assert list(read_catalog(other).jobs) == ["else"]
